"""The whole story from menus alone, with what real editors say they can do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types
from pytest_lsp import LanguageClient, client_capabilities, make_test_lsp_client
from rawlsp import LIMIT, START

pytestmark = pytest.mark.e2e

URI = "file:///project/temperatures.py"
TAUGHT = '''def fahrenheit_to_rankine(degrees):
    """Convert degrees Fahrenheit to degrees Rankine."""
    return degrees + 459.67
'''
TEXT = f"{TAUGHT}\n\ndef main():\n    # convert degrees Fahrenheit to degrees Rankine\n"
DEFINITION = types.Range(types.Position(0, 0), types.Position(3, 0))
COMMENT = types.Range(types.Position(6, 8), types.Position(6, 8))


@pytest.fixture(params=["visual_studio_code", "neovim", "emacs"])
async def editor(request: pytest.FixtureRequest, engine_home: Path) -> AsyncIterator[LanguageClient]:
    client = make_test_lsp_client()
    converter = client.protocol._converter
    # Its own hook takes every action that has a command for a command.
    converter.register_structure_hook(
        types.Command | types.CodeAction,
        lambda wire, _: converter.structure(wire, types.CodeAction if "kind" in wire else types.Command),
    )
    client.feature(types.CLIENT_REGISTER_CAPABILITY)(lambda _: None)
    await client.start_io(*START, env={**os.environ, "AI_CODEGEN_HOME": str(engine_home)})
    await client.initialize_session(
        types.InitializeParams(
            capabilities=client_capabilities(request.param),
            initialization_options={"explainMaxTokens": 16, "generateMaxTokens": 48},
        )
    )
    yield client
    try:
        await client.shutdown_session()
    finally:
        await client.stop()


@pytest.fixture
def edits(editor: LanguageClient) -> list[types.WorkspaceEdit]:
    """The edits that the server has asked the editor to apply."""
    applied: list[types.WorkspaceEdit] = []

    @editor.feature(types.WORKSPACE_APPLY_EDIT)
    def apply(params: types.ApplyWorkspaceEditParams) -> types.ApplyWorkspaceEditResult:
        applied.append(params.edit)
        return types.ApplyWorkspaceEditResult(applied=True)

    return applied


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(LIMIT):
        while not condition():  # noqa: ASYNC110 - the client keeps its lists without telling when they grow
            await asyncio.sleep(0.05)


async def choose(editor: LanguageClient, title: str, place: types.Range) -> None:
    """Take an action from the menu."""
    offered = await editor.text_document_code_action_async(
        types.CodeActionParams(
            text_document=types.TextDocumentIdentifier(URI),
            range=place,
            context=types.CodeActionContext(diagnostics=[]),
        )
    )
    (chosen,) = [one for one in offered or () if one.title == title]
    command = chosen if isinstance(chosen, types.Command) else chosen.command
    assert command is not None
    await editor.workspace_execute_command_async(types.ExecuteCommandParams(command.command, command.arguments))


async def test_teach_generate_and_explain_from_menus(editor: LanguageClient, edits: list[types.WorkspaceEdit]) -> None:
    document = types.TextDocumentItem(URI, "python", 1, TEXT)
    editor.text_document_did_open(types.DidOpenTextDocumentParams(document))

    await choose(editor, "Teach this as a task", DEFINITION)
    await until(lambda: any("Convert degrees Fahrenheit" in one.message for one in editor.messages))

    await choose(editor, "Generate code from this comment", COMMENT)
    await until(lambda: edits)
    changes = edits[0].changes or {}
    inserted = [edit for versioned in edits[0].document_changes or () for edit in versioned.edits]
    (edit,) = inserted or changes[URI]
    assert edit.range.start.line == 6
    assert "459.67" in edit.new_text

    shown = len(editor.messages)
    await choose(editor, "Explain selection", DEFINITION)
    await until(
        lambda: editor.shown_documents or any("The explanation is in" in one.message for one in editor.messages[shown:])
    )
