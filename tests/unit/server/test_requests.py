from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fakes.memory_editor import MemoryEditor
from fakes.scripted_engine import ScriptedEngine

from core.errors import ContextTooLong, EngineUnavailable, ModelMissing
from core.messages import (
    AskRequest,
    ExplainRequest,
    GenerateRequest,
    Intent,
    Phase,
    PhaseName,
    TeachRequest,
    Tokens,
)

URI = "untitled:Untitled-1"
CODE = "def f(x):\n    return x\n"
GENERATED = {"status": "generated", "code": "y = sorted(x)", "sources": [], "threshold": 0.5, "timings": {}}
LOADING = Phase(name=PhaseName.LOADING, message="Loading a model", fraction=0.25)


def span(start: tuple[int, int], end: tuple[int, int]) -> dict[str, Any]:
    return {
        "start": {"line": start[0], "character": start[1]},
        "end": {"line": end[0], "character": end[1]},
    }


def explaining(chosen: dict[str, Any], **params: Any) -> dict[str, Any]:
    return {"textDocument": {"uri": URI}, "range": chosen, **params}


# --- documents and selections ---


async def test_the_selection_is_what_the_open_buffer_holds(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    engine.answer("explain", {"status": "answered"})
    await editor.initialize()
    editor.open(URI, CODE)
    editor.change(URI, 2, {"range": span((1, 11), (1, 12)), "text": "yy"})
    result = await editor.request("assistant/explain", explaining(span((1, 4), (1, 13)), question="Why?"))
    assert result == {"status": "answered"}
    (request,) = engine.requests
    assert isinstance(request, ExplainRequest)
    assert request.question == "Why?"
    assert request.selection is not None
    assert (request.selection.text, request.selection.start_line) == ("    return yy", 2)
    assert (request.selection.language, request.selection.name) == ("python", "untitled:Untitled-1")


@pytest.mark.parametrize(("encoding", "column"), [("utf-8", 12), ("utf-16", 9), ("utf-32", 8)])
async def test_columns_are_counted_as_agreed(
    editor: MemoryEditor, engine: ScriptedEngine, encoding: str, column: int
) -> None:
    engine.answer("explain", {"status": "answered"})
    result = await editor.initialize({"general": {"positionEncodings": [encoding]}})
    assert result["capabilities"]["positionEncoding"] == encoding
    editor.open(URI, 'x = "\U0001f600e\u0301" + y\n')
    await editor.request("assistant/explain", explaining(span((0, 0), (0, column))))
    assert isinstance(engine.requests[0], ExplainRequest)
    assert engine.requests[0].selection is not None
    assert engine.requests[0].selection.text == 'x = "\U0001f600e\u0301'


async def test_changes_reach_the_right_line_behind_a_form_feed(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    engine.answer("explain", {"status": "answered"})
    await editor.initialize()
    editor.open(URI, "a = 1\x0c\nb = 2\u2028 \nc = 3\n")
    editor.change(URI, 2, {"range": span((2, 4), (2, 5)), "text": "4"})
    await editor.request("assistant/explain", explaining(span((2, 0), (3, 0))))
    assert isinstance(engine.requests[0], ExplainRequest)
    assert engine.requests[0].selection is not None
    assert engine.requests[0].selection.text == "c = 4\n"


async def test_a_file_that_is_not_open_is_read_from_disk(
    editor: MemoryEditor, engine: ScriptedEngine, tmp_path: Any
) -> None:
    engine.answer("explain", {"status": "answered"})
    await editor.initialize()
    path = tmp_path / "with space é.py"
    path.write_bytes(b"a = 1\r\nb = 2\r\n")
    params = {"textDocument": {"uri": path.as_uri()}, "range": span((0, 0), (2, 0))}
    await editor.request("assistant/explain", params)
    assert isinstance(engine.requests[0], ExplainRequest)
    assert engine.requests[0].selection is not None
    assert engine.requests[0].selection.text == "a = 1\r\nb = 2\r\n"
    assert engine.requests[0].selection.name == "with space é.py"


@pytest.mark.parametrize(
    ("chosen", "field", "words"),
    [
        (span((0, 0), (0, 0)), "range", "whitespace"),
        (span((1, 0), (1, 4)), "range", "whitespace"),
        (span((1, 4), (0, 0)), "range", "ends before it starts"),
        (span((0, 0), (9, 0)), "range.end.line", "has 3 lines"),
        (span((-1, 0), (1, 0)), "range.start.line", "has 3 lines"),
        ({"start": {"line": 0}, "end": {"line": 1, "character": 0}}, "range.start.character", "required"),
        ("all", "range", "an object"),
        (None, "range", "required"),
    ],
)
async def test_a_bad_range_is_refused_by_name(
    editor: MemoryEditor, engine: ScriptedEngine, chosen: Any, field: str, words: str
) -> None:
    await editor.initialize()
    editor.open(URI, CODE)
    error = await editor.refused("assistant/explain", explaining(chosen))
    assert (error["code"], error["data"]["field"]) == (-32602, field)
    assert words in error["message"]
    assert engine.requests == []


async def test_a_huge_selection_is_refused_with_both_sizes(editor: MemoryEditor) -> None:
    await editor.initialize()
    editor.open(URI, "x = 1\n" * 350_000)
    error = await editor.refused("assistant/explain", explaining(span((0, 0), (350_000, 0))))
    assert error["code"] == -32602
    assert "2,100 kB" in error["message"]
    assert "200 kB" in error["message"]


@pytest.mark.parametrize(
    "uri", ["untitled:gone", "file:///no/such/file.py", "", "http://[", "file:///", "file:///dev/zero"]
)
async def test_an_unknown_document_is_refused_by_name(editor: MemoryEditor, uri: str) -> None:
    await editor.initialize()
    params = {"textDocument": {"uri": uri}, "range": span((0, 0), (1, 0))}
    error = await editor.refused("assistant/explain", params)
    assert (error["code"], error["data"]["code"]) == (-32803, "notFound")
    assert uri.removeprefix("file://") in error["message"]


async def test_another_version_of_the_document_is_refused(editor: MemoryEditor) -> None:
    await editor.initialize()
    editor.open(URI, CODE, version=5)
    params = {"textDocument": {"uri": URI, "version": 4}, "range": span((0, 0), (1, 0))}
    error = await editor.refused("assistant/explain", params)
    assert (error["code"], error["data"]["field"]) == (-32602, "textDocument.version")
    assert "version 5" in error["message"]


async def test_a_question_in_a_conversation_needs_no_selection(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    engine.answer("explain", {"status": "answered"})
    await editor.initialize()
    await editor.request("assistant/explain", {"question": "And then?", "conversationId": "c1"})
    assert engine.requests == [ExplainRequest(question="And then?", conversation_id="c1")]
    assert (await editor.refused("assistant/explain", {"question": "What?"}))["data"]["field"] == "textDocument"


# --- requests and their results ---


async def test_requests_of_the_engine_go_through_as_they_are(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    engine.answer("teach", {"taskId": "t1", "similar": []})
    await editor.initialize()
    params = {"description": "Sort", "implementation": "x.sort()", "tests": "assert x"}
    assert await editor.request("assistant/teach", params) == {"taskId": "t1", "similar": []}
    assert engine.requests == [TeachRequest(description="Sort", implementation="x.sort()", tests="assert x")]


async def test_ask_carries_everything_that_decides(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    engine.answer("ask", GENERATED | {"route": {"intent": "generate"}})
    await editor.initialize()
    editor.open(URI, "  x = 1\n")
    params = {
        "query": "sort x",
        "intent": "generate",
        "force": True,
        "conversationId": "c1",
        "textDocument": {"uri": URI, "version": 1},
        "range": span((0, 0), (0, 0)),
        "position": {"line": 0, "character": 3},
    }
    result = await editor.request("assistant/ask", params)
    assert engine.requests == [
        AskRequest(query="sort x", intent=Intent.GENERATE, force=True, conversation_id="c1", selection=None)
    ]
    (change,) = result["edit"]["documentChanges"]
    assert change["edits"] == [{"range": span((0, 7), (0, 7)), "newText": "\n  y = sorted(x)"}]


async def test_the_comment_at_the_cursor_is_the_prompt_and_the_edit_goes_below_it(
    editor: MemoryEditor, engine: ScriptedEngine
) -> None:
    engine.answer("generate", GENERATED)
    await editor.initialize()
    editor.open(URI, "\t# TODO: sort \U0001f600\r\nx = 1\r\n", version=3)
    params = {"textDocument": {"uri": URI}, "position": {"line": 0, "character": 5}}
    result = await editor.request("assistant/generate", params)
    assert engine.requests == [GenerateRequest(prompt="sort \U0001f600")]
    assert result["code"] == GENERATED["code"]
    assert result["edit"] == {
        "documentChanges": [
            {
                "textDocument": {"uri": URI, "version": 3},
                "edits": [{"range": span((0, 16), (0, 16)), "newText": "\r\n\ty = sorted(x)"}],
            }
        ]
    }


async def test_code_for_a_document_that_has_changed_comes_without_an_edit(
    editor: MemoryEditor, engine: ScriptedEngine
) -> None:
    await editor.initialize()
    editor.open(URI, "# sort\n")

    async def script(*_: object) -> dict[str, Any]:
        editor.change(URI, 2, {"text": "x\n# sort\n"})
        return GENERATED

    engine.scripts["generate"] = script
    result = await editor.request(
        "assistant/generate", {"textDocument": {"uri": URI}, "position": {"line": 0, "character": 0}}
    )
    assert result["code"] == GENERATED["code"]
    assert "edit" not in result
    assert "version 1 became 2" in result["message"]


async def test_an_unknown_task_is_a_result_without_an_edit(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    unknown = {"status": "unknown", "sources": [], "threshold": 0.5, "timings": {}}
    engine.answer("generate", unknown)
    await editor.initialize()
    editor.open(URI, "# sort\n")
    params = {"prompt": "sort", "textDocument": {"uri": URI}, "position": {"line": 0, "character": 0}}
    assert await editor.request("assistant/generate", params) == {**unknown, "prompt": "sort"}


@pytest.mark.parametrize(
    ("params", "code", "words"),
    [
        ({}, -32602, "prompt: is required"),
        ({"textDocument": {"uri": URI}}, -32602, "prompt: is required"),
        ({"prompt": "p", "position": {"line": 0, "character": 0}}, -32602, "textDocument: is required"),
        ({"textDocument": {"uri": URI}, "position": {"line": 9, "character": 0}}, -32602, "position.line"),
        ({"textDocument": {"uri": URI}, "position": {"line": 0, "character": 0}}, -32803, "no comment at line 1"),
        ({"prompt": "p", "force": "yes"}, -32602, "force: must be true or false"),
    ],
)
async def test_generate_says_what_is_missing(
    editor: MemoryEditor, params: dict[str, Any], code: int, words: str
) -> None:
    await editor.initialize()
    editor.open(URI, "x = 1\n")
    error = await editor.refused("assistant/generate", params)
    assert error["code"] == code
    assert words in error["message"]


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ModelMissing("Bring it with: models pull starter", model="m"), -32803),
        (ContextTooLong("too long"), -32803),
        (EngineUnavailable("It died.", died=True), -32803),
    ],
)
async def test_errors_of_the_engine_reach_the_editor_in_words(
    editor: MemoryEditor, engine: ScriptedEngine, failure: Any, code: int
) -> None:
    engine.answer("generate", failure)
    await editor.initialize()
    error = await editor.refused("assistant/generate", {"prompt": "p"})
    assert (error["code"], error["message"]) == (code, failure.message)
    assert error["data"] == {**failure.data, "code": failure.code}


async def test_a_fault_of_ours_is_answered_without_its_traceback(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    async def script(*_: object) -> dict[str, Any]:
        raise ZeroDivisionError

    engine.scripts["forget"] = script
    await editor.initialize()
    error = await editor.refused("assistant/forget", {"taskId": "t"})
    assert error["code"] == -32603
    assert "ZeroDivisionError" in error["message"]
    assert "Traceback" not in str(error)
    engine.answer("forget", {"taskId": "t"})
    assert await editor.request("assistant/forget", {"taskId": "t"}) == {"taskId": "t"}


# --- streaming, progress, cancelling ---


async def test_tokens_arrive_in_order_and_before_the_response(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    pieces = [Tokens(text=f"{number} ") for number in range(100)]
    engine.answer("generate", GENERATED, *pieces)
    await editor.initialize()
    request = editor.start("assistant/generate", {"prompt": "p", "streamId": "s1"})
    await editor.answer(request)
    sent = editor.sent("assistant/tokens")
    assert "".join(one["text"] for one in sent) == "".join(piece.text for piece in pieces)
    assert all(one["streamId"] == "s1" for one in sent)
    assert len(sent) < len(pieces)
    assert editor.messages[-1].get("id") == request


async def test_tokens_are_sent_while_the_work_goes_on(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    go_on = engine.hold("generate", Tokens(text="a"))
    await editor.initialize()
    request = editor.start("assistant/generate", {"prompt": "p", "streamId": "s1"})
    assert await editor.until_sent("assistant/tokens") == {"streamId": "s1", "text": "a"}
    go_on.set()
    await editor.answer(request)


async def test_nothing_is_streamed_unless_asked_for(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    engine.answer("generate", GENERATED, Tokens(text="a"))
    await editor.initialize()
    await editor.request("assistant/generate", {"prompt": "p"})
    assert editor.sent("assistant/tokens") == []


async def test_a_cancelled_request_is_answered_and_its_work_stopped(
    editor: MemoryEditor, engine: ScriptedEngine
) -> None:
    engine.hold("generate", Tokens(text="a"))
    engine.answer("teach", {"taskId": "t"})
    await editor.initialize()
    request = editor.start("assistant/generate", {"prompt": "p", "streamId": "s"})
    await editor.until_sent("assistant/tokens")
    editor.notify("$/cancelRequest", {"id": request})
    assert (await editor.answer(request))["error"]["code"] == -32800
    assert engine.cancelled == [GenerateRequest(prompt="p")]
    assert await editor.request("assistant/teach", {"description": "d", "implementation": "i"}) == {"taskId": "t"}


async def test_progress_follows_the_editor_s_token(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    engine.answer("generate", GENERATED, LOADING)
    await editor.initialize()
    await editor.request("assistant/generate", {"prompt": "p", "workDoneToken": 3})
    begin, report, end = (one["value"] for one in editor.sent("$/progress"))
    assert (begin["kind"], begin["title"], begin["cancellable"]) == ("begin", "Generating code", True)
    assert (report["kind"], report["message"], report["percentage"]) == ("report", "Loading a model (25%)", 25)
    assert end["kind"] == "end"
    assert editor.server.work_done_progress.tokens == {}


async def test_progress_is_created_for_a_phase_where_the_editor_can_show_it(
    editor: MemoryEditor, engine: ScriptedEngine
) -> None:
    go_on = engine.hold("generate", LOADING)
    editor.replies["window/workDoneProgress/create"] = lambda _: None
    await editor.initialize({"window": {"workDoneProgress": True}})
    request = editor.start("assistant/generate", {"prompt": "p"})
    begun = await editor.until_sent("$/progress")
    assert begun["value"]["message"] == "Loading a model (25%)"
    assert editor.sent("window/workDoneProgress/create") == [{"token": begun["token"]}]
    go_on.set()
    await editor.answer(request)
    assert editor.sent("$/progress")[-1] == {"token": begun["token"], "value": {"kind": "end"}}
    assert editor.server.work_done_progress.tokens == {}


async def test_cancelling_the_progress_cancels_the_request(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    engine.hold("generate", LOADING)
    await editor.initialize()
    request = editor.start("assistant/generate", {"prompt": "p", "workDoneToken": "w"})
    await editor.until(lambda: len(editor.sent("$/progress")) == 2)
    editor.notify("window/workDoneProgress/cancel", {"token": "w"})
    assert (await editor.answer(request))["error"]["code"] == -32800
    assert engine.cancelled == [GenerateRequest(prompt="p")]
    assert editor.sent("$/progress")[-1]["value"]["kind"] == "end"


@pytest.mark.parametrize("reply", [{"error": {"code": -32601, "message": "no"}}, None])
async def test_an_editor_that_does_not_answer_about_progress_gets_its_result(
    editor: MemoryEditor, engine: ScriptedEngine, reply: Any
) -> None:
    engine.answer("generate", GENERATED, LOADING)
    if reply is not None:
        editor.replies["window/workDoneProgress/create"] = lambda _: reply
    await editor.initialize({"window": {"workDoneProgress": True}})
    assert await editor.request("assistant/generate", {"prompt": "p"}) == GENERATED
    # The late answer to a request that we gave up harms nothing.
    for created in [one for one in editor.messages if one.get("method") == "window/workDoneProgress/create"]:
        editor.send({"jsonrpc": "2.0", "id": created["id"], "result": None})
    assert await editor.request("assistant/generate", {"prompt": "p"}) == GENERATED


@pytest.mark.parametrize("token", [True, 1.5, [1], {}])
async def test_a_progress_token_of_another_kind_is_refused(editor: MemoryEditor, token: Any) -> None:
    await editor.initialize()
    error = await editor.refused("assistant/generate", {"prompt": "p", "workDoneToken": token})
    assert (error["code"], error["data"]["field"]) == (-32602, "workDoneToken")


# --- the engine's life, as the editor sees it ---


async def test_a_request_before_the_engine_is_up_waits_and_shows_why(
    editor: MemoryEditor, engine: ScriptedEngine
) -> None:
    engine.opening.clear()
    engine.answer("forget", {"taskId": "t"})
    await editor.initialize()
    request = editor.start("assistant/forget", {"taskId": "t", "workDoneToken": "w"})
    await engine.connecting.wait()
    engine.options["on_phase"](Phase(name=PhaseName.STARTING, message="Starting the engine"))
    assert editor.sent("$/progress")[-1]["value"]["message"] == "Starting the engine"
    state = await editor.request("assistant/status")
    assert (state["engine"]["state"], state["engine"]["pid"]) == ("starting", 0)
    engine.opening.set()
    assert (await editor.answer(request))["result"] == {"taskId": "t"}
    assert (await editor.request("assistant/status"))["engine"] == {
        "pid": 7, "uptime": 1.5, "version": "1", "clients": 1, "state": "running"
    }  # fmt: skip


async def test_an_engine_that_does_not_start_is_tried_again_with_the_next_request(
    editor: MemoryEditor, engine: ScriptedEngine
) -> None:
    engine.failures.append(EngineUnavailable("It does not start."))
    engine.answer("forget", {"taskId": "t"})
    await editor.initialize()
    shown = await editor.until_sent("window/showMessage")
    assert shown == {"type": 1, "message": "It does not start."}
    state = (await editor.request("assistant/status"))["engine"]
    assert (state["state"], state["detail"]) == ("stopped", "It does not start.")
    assert await editor.request("assistant/forget", {"taskId": "t"}) == {"taskId": "t"}


async def test_a_request_reports_that_the_engine_cannot_be_started(
    editor: MemoryEditor, engine: ScriptedEngine
) -> None:
    engine.failures += [EngineUnavailable("It does not start.")] * 2
    await editor.initialize()
    await editor.until_sent("window/showMessage")
    error = await editor.refused("assistant/forget", {"taskId": "t"})
    assert (error["code"], error["data"]["code"]) == (-32803, "engineUnavailable")


async def test_the_death_of_the_engine_is_told(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    await editor.initialize()
    await engine.connecting.wait()
    engine.options["on_lost"]("The engine stopped and was started again.")
    assert await editor.until_sent("window/showMessage") == {
        "type": 1, "message": "The engine stopped and was started again."
    }  # fmt: skip


async def test_many_changes_of_state_are_told_as_one(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    await editor.initialize()
    await engine.connecting.wait()
    for _ in range(50):
        engine.options["on_state"](engine.status)
    assert (await editor.until_sent("assistant/stateChanged"))["knowledge"]["count"] == 3
    assert len(editor.sent("assistant/stateChanged")) == 1


async def test_shutdown_answers_what_waits_and_leaves_the_engine(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    engine.hold("generate", LOADING)
    await editor.initialize()
    waiting = editor.start("assistant/generate", {"prompt": "p", "workDoneToken": "w"})
    await editor.until_sent("$/progress")
    assert await editor.request("shutdown") is None
    assert (await editor.answer(waiting))["error"]["code"] == -32800
    assert engine.closed
    assert (await editor.refused("assistant/status"))["code"] == -32600


async def test_shutdown_does_not_wait_for_an_engine_that_is_starting(
    editor: MemoryEditor, engine: ScriptedEngine
) -> None:
    engine.opening.clear()
    await editor.initialize()
    await engine.connecting.wait()
    assert await editor.request("shutdown") is None
    assert not [task for task in asyncio.all_tasks() if task.get_name() in {"connect-to-engine", "start"}]
