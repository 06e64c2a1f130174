from __future__ import annotations

from typing import Any

import pytest
from fakes.memory_editor import MemoryEditor
from fakes.scripted_engine import ScriptedEngine

INVALID_REQUEST, INVALID_PARAMS, NOT_INITIALIZED, NOT_FOUND = -32600, -32602, -32002, -32601

METHODS = {
    "assistant/ask": "query",
    "assistant/explain": "textDocument",
    "assistant/generate": "prompt",
    "assistant/teach": "description",
    "assistant/task": "taskId",
    "assistant/updateTask": "taskId",
    "assistant/forget": "taskId",
    "assistant/restoreTask": "taskId",
    "assistant/importTasks": "source",
    "assistant/exportTasks": "path",
    "assistant/models": "action",
    "assistant/conversation": "conversationId",
    "assistant/forgetConversation": "conversationId",
}
"""Every request that cannot do without a param, and that param."""

FREE = ["assistant/tasks", "assistant/conversations", "assistant/status"]

COMMANDS = [
    "assistant.explainSelection",
    "assistant.generateFromComment",
    "assistant.teachSelection",
    "assistant.ask",
    "assistant.showStatus",
    "assistant.unloadModels",
    "assistant.newConversation",
]


@pytest.mark.parametrize("params", [None, {}])
async def test_a_missing_param_is_named(editor: MemoryEditor, params: Any) -> None:
    await editor.initialize()
    for method, field in METHODS.items():
        error = await editor.refused(method, params)
        assert (error["code"], error["data"]) == (INVALID_PARAMS, {"code": "invalidParams", "field": field})
        assert error["message"].startswith(f"{field}: is required")


@pytest.mark.parametrize("params", [[], [1, 2], 5, "text", True])
async def test_params_that_are_no_object_are_refused(editor: MemoryEditor, params: Any) -> None:
    await editor.initialize()
    for method in [*METHODS, *FREE]:
        error = await editor.refused(method, params)
        assert (error["code"], error["data"]["field"]) == (INVALID_PARAMS, "params"), method


@pytest.mark.parametrize(
    ("method", "params", "field"),
    [
        ("assistant/ask", {"query": 5}, "query"),
        ("assistant/ask", {"query": "q", "intent": "guess"}, "intent"),
        ("assistant/ask", {"query": "q", "textDocument": "a.py"}, "textDocument"),
        ("assistant/ask", {"query": "q", "textDocument": {"uri": {}}}, "textDocument.uri"),
        ("assistant/ask", {"query": "q", "range": {"start": 1, "end": 2}}, "range.start"),
        ("assistant/generate", {"prompt": "p", "position": {"line": 1.5, "character": 0}}, "position.line"),
        ("assistant/teach", {"description": "d", "implementation": ["x"]}, "implementation"),
        ("assistant/tasks", {"limit": "many"}, "limit"),
        ("assistant/tasks", {"origin": "nowhere"}, "origin"),
        ("assistant/models", {"action": "explode"}, "action"),
        ("assistant/models", {"action": "load", "role": "paint"}, "role"),
        ("assistant/status", {"streamId": 7}, "streamId"),
    ],
)
async def test_a_param_of_another_type_is_named(editor: MemoryEditor, method: str, params: Any, field: str) -> None:
    await editor.initialize()
    error = await editor.refused(method, params)
    assert (error["code"], error["data"]["field"]) == (INVALID_PARAMS, field)


@pytest.mark.parametrize(
    ("params", "field"),
    [
        (None, "params"),
        ([], "textDocument"),
        ({}, "textDocument"),
        ({"textDocument": {"uri": "a"}, "range": 5, "context": {"diagnostics": []}}, "range.start"),
        (
            {
                "textDocument": {"uri": "a"},
                "range": {"start": {"line": "x", "character": 0}, "end": {"line": 0, "character": 0}},
                "context": {"diagnostics": []},
            },
            "range.start.line",
        ),
    ],
)
async def test_malformed_params_of_standard_requests_are_answered(
    editor: MemoryEditor, params: Any, field: str
) -> None:
    await editor.initialize()
    error = await editor.refused("textDocument/codeAction", params)
    assert (error["code"], error["data"]["field"]) == (INVALID_PARAMS, field)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("arguments", [[5], ["text"], [[1]], [{}, {}]])
async def test_malformed_arguments_of_commands_are_answered(editor: MemoryEditor, command: str, arguments: Any) -> None:
    await editor.initialize()
    error = await editor.refused("workspace/executeCommand", {"command": command, "arguments": arguments})
    assert error["code"] == INVALID_PARAMS


@pytest.mark.parametrize("params", [{"command": "assistant.nothing"}, {}, None, {"command": ["x"]}])
async def test_an_unknown_command_is_answered(editor: MemoryEditor, params: Any) -> None:
    await editor.initialize()
    assert (await editor.refused("workspace/executeCommand", params))["code"] == INVALID_PARAMS


@pytest.mark.parametrize("params", [None, {"a": 1}, [1]])
async def test_an_unknown_method_is_answered(editor: MemoryEditor, params: Any) -> None:
    await editor.initialize()
    for method in ("assistant/nothing", "textDocument/hover", "$/nothing", ""):
        assert (await editor.refused(method, params))["code"] == NOT_FOUND, method


async def test_a_request_without_any_params_is_answered(editor: MemoryEditor) -> None:
    await editor.initialize()
    for number, method in enumerate(["assistant/status", "assistant/nothing"], start=100):
        editor.send({"jsonrpc": "2.0", "id": number, "method": method})
    assert "result" in await editor.answer(100)
    assert (await editor.answer(101))["error"]["code"] == NOT_FOUND


@pytest.mark.parametrize(
    "message",
    [
        [],
        [{"jsonrpc": "2.0", "id": 1, "method": "assistant/status"}],
        5,
        None,
        {},
        {"method": "assistant/status"},
        {"jsonrpc": "1.0", "method": "assistant/status"},
        {"jsonrpc": "2.0", "id": None, "method": "assistant/status"},
        {"jsonrpc": "2.0", "id": [1], "method": "assistant/status"},
        {"jsonrpc": "2.0", "id": True, "method": "assistant/status"},
    ],
)
async def test_what_is_no_message_is_refused_without_an_id(editor: MemoryEditor, message: Any) -> None:
    await editor.initialize()
    editor.send(message)
    if isinstance(message, dict) and "method" in message and "id" not in message:
        assert not [one for one in editor.messages if "error" in one]  # A notification is never answered.
    else:
        assert editor.messages[-1]["id"] is None
        assert editor.messages[-1]["error"]["code"] == INVALID_REQUEST
    assert "result" in await editor.respond("assistant/status")


@pytest.mark.parametrize(
    "method", ["textDocument/didChange", "textDocument/didOpen", "assistant/nothing", "$/setTrace"]
)
@pytest.mark.parametrize(
    "params", [None, {}, [], {"textDocument": {"uri": "gone", "version": 1}, "contentChanges": []}]
)
async def test_malformed_notifications_harm_nothing(editor: MemoryEditor, method: str, params: Any) -> None:
    await editor.initialize()
    editor.notify(method, params)
    assert "result" in await editor.respond("assistant/status")
    assert editor.sent("window/showMessage") == []


async def test_requests_before_initialize_are_refused(editor: MemoryEditor) -> None:
    for method in ("assistant/status", "textDocument/codeAction", "shutdown"):
        assert (await editor.refused(method))["code"] == NOT_INITIALIZED
    assert "capabilities" in await editor.initialize()


async def test_initialize_comes_once(editor: MemoryEditor) -> None:
    await editor.initialize()
    assert (await editor.refused("initialize", {"capabilities": {}}))["code"] == INVALID_REQUEST


async def test_params_may_hold_anything_that_json_can(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    engine.answer("teach", {"taskId": "t", "similar": []})
    await editor.initialize()
    strange = {"jsonrpc": "2.0", "id": 1, "method": "x", "a-b": 1, "class": None}
    params = {"description": "lone \ud800 surrogate \x00", "implementation": "x", "extra": strange}
    assert (await editor.request("assistant/teach", params))["taskId"] == "t"
    assert engine.requests[0].description == "lone \ud800 surrogate \x00"  # type: ignore[union-attr]


async def test_a_response_of_another_shape_is_a_failure_and_no_hang(
    editor: MemoryEditor, engine: ScriptedEngine
) -> None:
    engine.answer("forget", {"taskId": "t"})
    editor.replies["workspace/configuration"] = lambda _: 5
    await editor.initialize({"workspace": {"configuration": True}})
    assert await editor.request("assistant/forget", {"taskId": "t"}) == {"taskId": "t"}


async def test_cancelling_what_is_not_there_harms_nothing(editor: MemoryEditor) -> None:
    await editor.initialize()
    for params in ({"id": 99}, {"id": "x"}, {}, None, {"id": None}):
        editor.notify("$/cancelRequest", params)
    assert "result" in await editor.respond("assistant/status")
