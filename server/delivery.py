"""How results reach an editor that has only menus: as a file, an edit or a message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from core.messages import Explanation, Generation
from server import wording
from server.edits import unversioned
from server.insertion import Place
from server.server import AssistantServer

GENERATE_ANYWAY, TEACH = "Generate anyway", "Teach…"

HOW_TO_TEACH = (
    "To teach it: write a correct implementation with a docstring or a comment that describes the task, "
    "select it, and choose “Teach this as a task”."
)


async def show_explanation(ls: AssistantServer, turn: str, answer: Explanation) -> None:
    """Add a turn to the conversation's file and show it."""
    path = ls.files.append(answer.conversation_id, turn)
    await _show_file(ls, path, f"The explanation is in {path}")


async def deliver_code(
    ls: AssistantServer, generation: Generation, place: Place | None, generate_anyway: Callable[[], None]
) -> None:
    """Insert generated code, or show it where that cannot be; ask what to do about an unknown task."""
    if generation.code is None:
        # On its own, so that the progress of the work ends before the person has decided.
        ls.spawn(lambda: _offer_choices(ls, generation, generate_anyway), "offer-choices")
        return
    problem = "There is no document to insert it into." if place is None else await _insert(ls, place, generation.code)
    if problem is not None:
        path = ls.files.create("generated", ".py", generation.code + "\n")
        await _show_file(ls, path, f"{problem} The generated code is in {path}")
    remarks = wording.remarks(generation)
    if remarks is not None:
        ls.show(remarks, types.MessageType.Warning)


async def _insert(ls: AssistantServer, place: Place, code: str) -> str | None:
    """Apply the edit; return the reason if it was not applied."""
    refusal = place.refusal(ls.workspace)
    if refusal is not None:
        return refusal
    workspace = ls.client_capabilities.workspace
    if workspace is None or not workspace.apply_edit:
        return "This editor applies no edits."
    edit = place.edit(code)
    if workspace.workspace_edit is None or not workspace.workspace_edit.document_changes:
        edit = unversioned(edit)
    try:
        result = await ls.workspace_apply_edit_async(types.ApplyWorkspaceEditParams(edit=edit, label="Generated code"))
    except JsonRpcException as error:
        return f"The editor did not apply the edit: {error.message}."
    return (
        None if result.applied else f"The editor did not apply the edit: {result.failure_reason or 'no reason given'}."
    )


async def _offer_choices(ls: AssistantServer, generation: Generation, generate_anyway: Callable[[], None]) -> None:
    message = wording.unknown(generation)
    actions = [types.MessageActionItem(GENERATE_ANYWAY), types.MessageActionItem(TEACH)]
    request = types.ShowMessageRequestParams(types.MessageType.Warning, message, actions)
    try:
        choice = await ls.window_show_message_request_async(request)
    except JsonRpcException:
        # This editor shows no choices.
        ls.show(f"{message} {HOW_TO_TEACH}", types.MessageType.Warning)
        return
    if choice is not None and choice.title == GENERATE_ANYWAY:
        generate_anyway()
    elif choice is not None and choice.title == TEACH:
        ls.show(HOW_TO_TEACH)


async def _show_file(ls: AssistantServer, path: Path, words: str) -> None:
    """Open a file in the editor, or say in words where it is."""
    window = ls.client_capabilities.window
    if window is not None and window.show_document is not None and window.show_document.support:
        try:
            shown = await ls.window_show_document_async(types.ShowDocumentParams(uri=path.as_uri(), take_focus=True))
        except JsonRpcException:
            shown = types.ShowDocumentResult(success=False)
        if shown.success:
            return
    ls.show(words)
