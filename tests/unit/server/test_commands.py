from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from fakes.memory_editor import MemoryEditor
from fakes.scripted_engine import ScriptedEngine

from core.errors import NotFound, RejectedTask
from core.messages import Action, ExplainRequest, GenerateRequest, ModelsRequest, Phase, PhaseName, TeachRequest

URI = "file:///project/work.py"
TEXT = '# Sort a list.\ndef sort(x):\n    """Sort\n    it."""\n    return sorted(x)\n'
WHOLE = {"start": {"line": 1, "character": 0}, "end": {"line": 5, "character": 0}}
SELECTION = {"textDocument": {"uri": URI}, "range": WHOLE}
COMMENT = {"textDocument": {"uri": URI}, "position": {"line": 0, "character": 2}}

FULL = {
    "window": {"showDocument": {"support": True}},
    "workspace": {"applyEdit": True, "workspaceEdit": {"documentChanges": True}},
}

EXPLANATION = {
    "status": "answered",
    "conversationId": "c1",
    "text": "It sorts.",
    "model": "m",
    "memory": {"promptTokens": 1, "limit": 2, "summarised": 0},
    "timings": {},
}
GENERATED = {
    "status": "generated",
    "code": "y = sorted(x)",
    "sources": [],
    "threshold": 0.5,
    "grounded": True,
    "band": "grounded",
    "checks": {"syntax": True},
    "timings": {},
}
UNKNOWN = {
    "status": "unknown",
    "sources": [{"taskId": "t", "description": "Reverse a list", "similarity": 0.41, "origin": "builtin"}],
    "threshold": 0.5,
    "timings": {},
}


async def prepared(editor: MemoryEditor, capabilities: dict[str, Any]) -> None:
    editor.replies["window/showDocument"] = lambda _: {"success": True}
    editor.replies["workspace/applyEdit"] = lambda _: {"applied": True}
    await editor.initialize(capabilities)
    editor.open(URI, TEXT)


def shown_file(params: dict[str, Any]) -> str:
    return Path(unquote(urlparse(params["uri"]).path)).read_text("utf-8")


# --- explaining ---


async def test_an_explanation_is_shown_as_a_document(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    engine.answer("explain", EXPLANATION)
    await prepared(editor, FULL)
    await editor.command("assistant.explainSelection", SELECTION)
    text = shown_file(await editor.until_sent("window/showDocument"))
    assert "work.py, line 2" in text
    assert "```python\ndef sort(x):" in text
    assert "It sorts." in text


async def test_an_editor_that_shows_no_documents_is_told_the_path(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    engine.answer("explain", EXPLANATION)
    await prepared(editor, {})
    await editor.command("assistant.explainSelection", SELECTION)
    message = (await editor.until_sent("window/showMessage"))["message"]
    assert "It sorts." in Path(message.removeprefix("The explanation is in ")).read_text("utf-8")


async def test_an_editor_that_fails_to_show_a_document_is_told_the_path(
    editor: MemoryEditor, engine: ScriptedEngine
) -> None:
    engine.answer("explain", EXPLANATION)
    for reply in ({"success": False}, {"error": {"code": -32601, "message": "no"}}):
        if not editor.messages:
            await prepared(editor, FULL)
        editor.messages.clear()
        editor.replies["window/showDocument"] = lambda _, reply=reply: reply  # type: ignore[misc]
        await editor.command("assistant.explainSelection", SELECTION)
        assert "The explanation is in " in (await editor.until_sent("window/showMessage"))["message"]


async def test_explanations_of_a_document_are_one_conversation_until_a_new_one(
    editor: MemoryEditor, engine: ScriptedEngine
) -> None:
    engine.answer("explain", EXPLANATION)
    await prepared(editor, FULL)
    for count in (1, 2):
        await editor.command("assistant.explainSelection", SELECTION)
        await editor.until(lambda count=count: len(editor.sent("window/showDocument")) == count)
    assert shown_file(editor.sent("window/showDocument")[1]).count("It sorts.") == 2
    await editor.command("assistant.newConversation", {"textDocument": {"uri": URI}})
    await editor.until_sent("window/showMessage")
    await editor.command("assistant.explainSelection", SELECTION)
    await editor.until(lambda: len(editor.sent("window/showDocument")) == 3)
    assert [_conversation(request) for request in engine.requests] == [None, "c1", None]


async def test_a_conversation_that_was_forgotten_starts_anew(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    async def script(request: Any, _: object) -> dict[str, Any]:
        if request.conversation_id == "c1":
            raise NotFound("There is no conversation c1.")
        return EXPLANATION | {"conversationId": "c1" if len(engine.requests) == 1 else "c2"}

    engine.scripts["explain"] = script
    await prepared(editor, FULL)
    for count in (1, 2, 3):
        await editor.command("assistant.explainSelection", SELECTION)
        await editor.until(lambda count=count: len(editor.sent("window/showDocument")) == count)
    assert [_conversation(request) for request in engine.requests] == [None, "c1", None, "c2"]


def _conversation(request: object) -> str | None:
    assert isinstance(request, ExplainRequest)
    return request.conversation_id


# --- generating ---


async def test_generated_code_is_applied_as_one_edit_for_this_version(
    editor: MemoryEditor, engine: ScriptedEngine
) -> None:
    engine.answer("generate", GENERATED)
    await prepared(editor, FULL)
    await editor.command("assistant.generateFromComment", COMMENT)
    (change,) = (await editor.until_sent("workspace/applyEdit"))["edit"]["documentChanges"]
    assert change["textDocument"] == {"uri": URI, "version": 1}
    (edit,) = change["edits"]
    assert (edit["newText"], edit["range"]["start"]) == ("\ny = sorted(x)", {"line": 0, "character": 14})
    assert engine.requests == [GenerateRequest(prompt="Sort a list.")]
    assert editor.sent("window/showMessage") == []


async def test_an_editor_without_versioned_edits_gets_a_plain_one(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    engine.answer("generate", GENERATED)
    await prepared(editor, {"workspace": {"applyEdit": True}})
    await editor.command("assistant.generateFromComment", COMMENT)
    edit = (await editor.until_sent("workspace/applyEdit"))["edit"]
    assert list(edit["changes"]) == [URI]
    assert "documentChanges" not in edit


async def test_code_that_cannot_be_inserted_is_shown(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    engine.answer("generate", GENERATED)
    await prepared(editor, FULL | {"workspace": {}})
    await editor.command("assistant.generateFromComment", COMMENT)
    assert shown_file(await editor.until_sent("window/showDocument")) == "y = sorted(x)\n"


async def test_code_for_a_document_that_was_changed_is_not_inserted(
    editor: MemoryEditor, engine: ScriptedEngine
) -> None:
    async def script(*_: object) -> dict[str, Any]:
        editor.change(URI, 2, {"text": "x = 1\n"})
        return GENERATED

    engine.scripts["generate"] = script
    await prepared(editor, {"workspace": FULL["workspace"]})
    await editor.command("assistant.generateFromComment", COMMENT)
    message = (await editor.until_sent("window/showMessage"))["message"]
    assert "version 1 became 2" in message
    assert "The generated code is in " in message
    assert editor.sent("workspace/applyEdit") == []


async def test_an_edit_that_the_editor_refuses_is_not_lost(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    engine.answer("generate", GENERATED)
    await prepared(editor, {"workspace": FULL["workspace"]})
    editor.replies["workspace/applyEdit"] = lambda _: {"applied": False, "failureReason": "read-only"}
    await editor.command("assistant.generateFromComment", COMMENT)
    message = (await editor.until_sent("window/showMessage"))["message"]
    assert "read-only" in message
    assert "The generated code is in " in message


async def test_doubts_about_the_code_are_told(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    doubts = {"grounded": False, "checks": {"syntax": False, "problem": "line 1: invalid"}, "finish": "length"}
    engine.answer("generate", GENERATED | doubts)
    await prepared(editor, FULL)
    await editor.command("assistant.generateFromComment", COMMENT)
    message = (await editor.until_sent("window/showMessage"))["message"]
    assert "line 1: invalid" in message
    assert "generateMaxTokens" in message
    assert "No stored task" in message


async def test_an_unknown_task_may_be_generated_anyway(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    async def script(request: Any, _: object) -> dict[str, Any]:
        return GENERATED if request.force else UNKNOWN

    engine.scripts["generate"] = script
    editor.replies["window/showMessageRequest"] = lambda _: {"title": "Generate anyway"}
    await prepared(editor, FULL)
    await editor.command("assistant.generateFromComment", COMMENT)
    await editor.until_sent("workspace/applyEdit")
    (asked,) = editor.sent("window/showMessageRequest")
    assert "Reverse a list" in asked["message"]
    assert "0.41" in asked["message"]
    assert [one["title"] for one in asked["actions"]] == ["Generate anyway", "Teach…"]
    assert [one.force for one in engine.requests if isinstance(one, GenerateRequest)] == [False, True]


async def test_an_unknown_task_may_be_taught(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    engine.answer("generate", UNKNOWN)
    editor.replies["window/showMessageRequest"] = lambda _: {"title": "Teach…"}
    await prepared(editor, FULL)
    await editor.command("assistant.generateFromComment", COMMENT)
    assert "Teach this as a task" in (await editor.until_sent("window/showMessage"))["message"]


async def test_an_editor_that_offers_no_choices_shows_the_refusal(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    engine.answer("generate", UNKNOWN)
    editor.replies["window/showMessageRequest"] = lambda _: {"error": {"code": -32601, "message": "no"}}
    await prepared(editor, FULL)
    await editor.command("assistant.generateFromComment", COMMENT)
    assert "Reverse a list" in (await editor.until_sent("window/showMessage"))["message"]


# --- teaching ---


async def test_a_selection_is_taught_with_what_describes_it(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    engine.answer("teach", {"taskId": "t9", "similar": []})
    await prepared(editor, FULL)
    await editor.command("assistant.teachSelection", SELECTION)
    message = (await editor.until_sent("window/showMessage"))["message"]
    assert "Sort it." in message
    assert "t9" in message
    (request,) = engine.requests
    assert isinstance(request, TeachRequest)
    assert request.description == "Sort it."
    assert request.implementation == TEXT.split("\n", 1)[1].rstrip()


async def test_a_selection_that_nothing_describes_is_refused_with_the_way_out(
    editor: MemoryEditor, engine: ScriptedEngine
) -> None:
    await prepared(editor, FULL)
    chosen = {"start": {"line": 4, "character": 0}, "end": {"line": 5, "character": 0}}
    await editor.command("assistant.teachSelection", SELECTION | {"range": chosen})
    shown = await editor.until_sent("window/showMessage")
    assert shown["type"] == 1
    assert "docstring" in shown["message"]
    assert engine.requests == []


async def test_a_refusal_of_the_engine_is_shown(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    engine.answer("teach", RejectedTask("The implementation does not parse."))
    await prepared(editor, FULL)
    await editor.command("assistant.teachSelection", SELECTION)
    assert await editor.until_sent("window/showMessage") == {"type": 1, "message": "The implementation does not parse."}


# --- the rest ---


async def test_ask_shows_or_inserts_what_the_router_decided(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    await prepared(editor, FULL)
    engine.answer("ask", EXPLANATION)
    await editor.command("assistant.ask", {"query": "What is this?"})
    assert "## What is this?" in shown_file(await editor.until_sent("window/showDocument"))
    engine.answer("ask", GENERATED)
    await editor.command("assistant.ask", {"query": "Sort it", **COMMENT})
    await editor.until_sent("workspace/applyEdit")


async def test_status_is_shown_in_words(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    engine.answer("models", {"models": []})
    await prepared(editor, FULL)
    await editor.request("assistant/models", {"action": "list"})
    await editor.command("assistant.showStatus")
    assert "3 tasks" in (await editor.until_sent("window/showMessage"))["message"]


async def test_models_are_unloaded(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    engine.answer("models", {"models": []})
    await prepared(editor, FULL)
    await editor.command("assistant.unloadModels")
    await editor.until_sent("window/showMessage")
    assert engine.requests == [ModelsRequest(action=Action.UNLOAD)]


async def test_cancelling_a_command_stops_the_work_it_started(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    engine.hold("generate", Phase(name=PhaseName.GENERATING, message="Writing"))
    engine.answer("teach", {"taskId": "t9", "similar": []})
    editor.replies["window/workDoneProgress/create"] = lambda _: None
    await prepared(editor, {"window": {"workDoneProgress": True}})
    request = editor.start(
        "workspace/executeCommand", {"command": "assistant.generateFromComment", "arguments": [COMMENT]}
    )
    await editor.answer(request)
    await editor.until_sent("$/progress")
    editor.notify("$/cancelRequest", {"id": request})
    await editor.command("assistant.teachSelection", SELECTION)
    await editor.until_sent("window/showMessage")
    assert engine.cancelled == [GenerateRequest(prompt="Sort a list.")]
