"""The real engine process with the real starter models, as its clients see it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from core.engine import endpoint as endpoints
from core.engine import wire
from core.engine.client import EngineClient
from core.errors import (
    AssistantError,
    ContextTooLong,
    EngineUnavailable,
    InvalidParams,
    ModelMissing,
    NotFound,
    RejectedTask,
)
from core.messages import (
    PROTOCOL_VERSION,
    Action,
    AskRequest,
    CodeSelection,
    ConversationRequest,
    Event,
    ExplainRequest,
    Explanation,
    ForgetRequest,
    GenerateRequest,
    Generation,
    Models,
    ModelsRequest,
    ModelState,
    Phase,
    RestoreTaskRequest,
    ShutdownRequest,
    Status,
    StatusRequest,
    TaskDetails,
    TaskRequest,
    Taught,
    TeachRequest,
    Tokens,
)
from core.paths import DataFolders
from core.version import VERSION

pytestmark = pytest.mark.e2e

Connect = Callable[..., Awaitable[EngineClient]]

ADD = CodeSelection(text="def add(a, b):\n    return a + b\n", name="sums.py", start_line=1)
LONG_ANSWER = ExplainRequest(selection=ADD, question="Explain this in great detail, with many examples.")
TEACH = TeachRequest(
    description="Convert degrees Celsius to degrees Réaumur.",
    implementation="def celsius_to_reaumur(celsius):\n    return celsius * 0.8\n",
)
ASKED = GenerateRequest(prompt="turn a temperature from degrees Celsius into degrees Réaumur")


@pytest_asyncio.fixture
async def connect(fresh_home: Path) -> AsyncIterator[Connect]:
    clients: list[EngineClient] = []

    async def open_client(**options: Any) -> EngineClient:
        client = await EngineClient.connect(
            DataFolders(fresh_home), **{"name": "test", "settings": {"explainMaxTokens": 64}, **options}
        )
        clients.append(client)
        return client

    yield open_client
    for client in clients:
        await client.close()
    endpoint = endpoints.find(DataFolders(fresh_home))
    if endpoint is not None and psutil.pid_exists(endpoint.pid):
        os.kill(endpoint.pid, signal.SIGKILL)


async def pid_of(client: EngineClient) -> int:
    return (await client.call(StatusRequest(), Status)).engine.pid


async def first_token(client: EngineClient, request: ExplainRequest) -> asyncio.Task[Explanation]:
    """Start a request and return once its first token has arrived."""
    arrived = asyncio.Event()

    def on_event(event: Event) -> None:
        if isinstance(event, Tokens):
            arrived.set()

    task = asyncio.create_task(client.call(request, Explanation, on_event))
    waiting = asyncio.create_task(arrived.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    return task


async def test_explain_streams_its_text_in_order_and_remembers_the_conversation(connect: Connect) -> None:
    client = await connect()
    pieces: list[str] = []
    phases: list[str] = []

    def on_event(event: Event) -> None:
        if isinstance(event, Phase):
            phases.append(event.name)
        else:
            pieces.append(event.text)

    request = AskRequest(query="What does this function do?", selection=ADD)
    answer = await client.call(request, Explanation, on_event)
    assert answer.route is not None
    assert answer.route.intent == "explain"
    assert "".join(pieces) == answer.text != ""
    assert "loading" in phases
    assert answer.memory.prompt_tokens <= answer.memory.limit
    more = await client.call(
        ExplainRequest(question="And with strings?", conversation_id=answer.conversation_id), Explanation
    )
    assert more.memory.prompt_tokens > answer.memory.prompt_tokens


async def test_what_is_taught_is_found_by_the_next_request_and_survives_a_kill(connect: Connect) -> None:
    client = await connect()
    refused = await client.call(ASKED, Generation)
    assert (refused.status, refused.code) == ("unknown", None)
    assert refused.sources[0].similarity < refused.threshold
    taught = await client.call(TEACH, Taught)
    os.kill(await pid_of(client), signal.SIGKILL)
    await client.close()
    answer = await (await connect()).call(ASKED, Generation)
    assert answer.status == "generated"
    assert answer.sources[0].task_id == taught.task_id
    assert answer.code is not None
    assert "0.8" in answer.code


async def test_forget_takes_a_task_out_and_restore_brings_it_back(connect: Connect) -> None:
    client = await connect()
    taught = await client.call(TEACH, Taught)
    await client.call(ForgetRequest(task_id=taught.task_id), TaskDetails)
    assert (await client.call(ASKED, Generation)).status == "unknown"
    await client.call(RestoreTaskRequest(task_id=taught.task_id), TaskDetails)
    assert (await client.call(ASKED, Generation)).sources[0].task_id == taught.task_id


async def test_the_engine_stands_back_for_the_editor(connect: Connect) -> None:
    """Also where Linux weighs whole sessions: niceness alone changes nothing there."""
    pid = await pid_of(await connect())
    assert psutil.Process(pid).nice() > psutil.Process().nice()
    session = Path(f"/proc/{pid}/autogroup")
    if session.exists():
        assert int(session.read_text().split()[-1]) > 0


async def test_two_clients_share_one_engine_and_both_are_answered(connect: Connect) -> None:
    one, other = await asyncio.gather(connect(name="one"), connect(name="other"))
    assert await pid_of(one) == await pid_of(other)
    explained, generated = await asyncio.gather(one.call(LONG_ANSWER, Explanation), other.call(ASKED, Generation))
    assert explained.text
    assert generated.status == "unknown"


async def test_a_cancelled_answer_frees_the_model_for_the_next(connect: Connect) -> None:
    client = await connect(settings={"explainMaxTokens": 4000})
    task = await first_token(client, LONG_ANSWER)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await client.call(GenerateRequest(prompt="Sort words by length", force=True), Generation)).code


async def test_a_client_that_vanishes_does_not_disturb_another(connect: Connect) -> None:
    leaving, staying = await connect(settings={"explainMaxTokens": 4000}), await connect()
    task = await first_token(leaving, LONG_ANSWER)
    leaving._connection._writer.transport.abort()  # type: ignore[union-attr]
    with pytest.raises(EngineUnavailable):
        await task
    assert (await staying.call(LONG_ANSWER, Explanation)).text


async def test_an_engine_that_dies_answers_every_waiter_and_starts_again(connect: Connect) -> None:
    told: list[str] = []
    client = await connect(on_lost=told.append, settings={"explainMaxTokens": 4000})
    before = await pid_of(client)
    waiting = [await first_token(client, LONG_ANSWER), asyncio.create_task(client.call(LONG_ANSWER, Explanation))]
    await asyncio.sleep(0)
    os.kill(before, signal.SIGKILL)
    for answer in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(answer, EngineUnavailable)
        assert str(before) in answer.message
    assert await pid_of(client) != before
    assert len(told) == 1
    assert "started again" in told[0]


async def test_stopping_the_engine_answers_what_is_waiting(connect: Connect) -> None:
    client = await connect(settings={"explainMaxTokens": 4000})
    task = await first_token(client, LONG_ANSWER)
    await client.call_raw(ShutdownRequest())
    with pytest.raises(EngineUnavailable, match="stopped"):
        await task
    assert await pid_of(client)


async def test_an_engine_that_nobody_needs_leaves(connect: Connect) -> None:
    client = await connect(settings={"engineIdle": 1})
    process = psutil.Process(await pid_of(client))
    await client.close()
    await asyncio.to_thread(process.wait, 60)


async def test_somebody_without_the_token_learns_nothing(connect: Connect, fresh_home: Path) -> None:
    await connect()
    endpoint = endpoints.find(DataFolders(fresh_home))
    assert endpoint is not None
    for hello in ({"protocol": PROTOCOL_VERSION, "version": VERSION, "token": "guess"}, None, []):
        reader, writer = await endpoints.dial(endpoint)
        writer.write(wire.pack({"hello": hello}))
        assert await wire.read(reader) is None
        writer.close()


async def test_an_engine_of_another_version_gives_way_when_nobody_else_uses_it(
    connect: Connect, fresh_home: Path
) -> None:
    client = await connect()
    old = psutil.Process(await pid_of(client))
    await client.close()
    endpoint = endpoints.find(DataFolders(fresh_home))
    assert endpoint is not None
    reader, writer = await endpoints.dial(endpoint)
    hello = {"protocol": PROTOCOL_VERSION, "version": "99.0", "token": endpoint.token, "name": "newer"}
    writer.write(wire.pack({"hello": hello}))
    refused = await wire.read(reader)
    assert refused is not None
    assert refused["refused"]["data"] == {"leaving": True}
    assert "99.0" in refused["refused"]["message"]
    await asyncio.to_thread(old.wait, 60)


@pytest.mark.parametrize(
    ("request_", "kind", "words"),
    [
        (GenerateRequest(prompt="  "), InvalidParams, "prompt: is empty"),
        (GenerateRequest(prompt="x\x00y"), InvalidParams, "control character"),
        (GenerateRequest(prompt="half \ud83d"), InvalidParams, "half a character"),
        (GenerateRequest(prompt="word " * 4000), InvalidParams, "at most 8,000"),
        (AskRequest(query=""), InvalidParams, "query: is empty"),
        (ExplainRequest(), InvalidParams, "question: is required"),
        (ExplainRequest(selection=CodeSelection(text=" \n")), InvalidParams, "selection"),
        (ExplainRequest(selection=CodeSelection(text="x" * 2_000_000)), InvalidParams, "2,000,000 characters"),
        (ExplainRequest(question="Why?", conversation_id="../../etc/passwd"), AssistantError, "conversation"),
        (ConversationRequest(conversation_id="0" * 32), NotFound, "conversation"),
        (TaskRequest(task_id="no-such-task"), NotFound, "no-such-task"),
        (TeachRequest(description="", implementation="x = 1"), InvalidParams, "description: is empty"),
        (TeachRequest(description="a task", implementation="def f(:"), RejectedTask, "line 1"),
        (TeachRequest(description="\ud83d", implementation="x = 1"), InvalidParams, "half a character"),
        (ModelsRequest(action=Action.PULL), InvalidParams, "set: is required"),
        (ModelsRequest(action=Action.PULL, set="huge"), InvalidParams, "huge"),
    ],
)
async def test_bad_input_gets_a_clear_error(
    shared: EngineClient, request_: Any, kind: type[AssistantError], words: str
) -> None:
    with pytest.raises(kind) as caught:
        await shared.call_raw(request_)
    assert words in caught.value.message
    assert await shared.call(StatusRequest(), Status)


async def test_an_unknown_method_and_malformed_params_are_errors(shared: EngineClient) -> None:
    connection = await shared._connected()
    with pytest.raises(InvalidParams, match="sing"):
        await connection.call("sing", {}, None)
    with pytest.raises(InvalidParams, match="taskId: must be a string"):
        await connection.call("task", {"taskId": 3}, None)


@pytest_asyncio.fixture
async def shared(starter_home: Path) -> AsyncIterator[EngineClient]:
    client = await EngineClient.connect(DataFolders(starter_home), name="shared", settings={"engineIdle": 20})
    yield client
    await client.close()


async def test_a_prompt_longer_than_the_context_gives_both_lengths(shared: EngineClient) -> None:
    question = "why " * 1990
    await shared.configure({"conversationTokens": 256, "engineIdle": 20})
    with pytest.raises(ContextTooLong) as caught:
        await shared.call(ExplainRequest(question=question), Explanation)
    assert "256" in caught.value.message


async def test_a_missing_model_is_named_with_the_command_that_brings_it(shared: EngineClient) -> None:
    await shared.configure({"modelSet": "full", "engineIdle": 20})
    with pytest.raises(ModelMissing, match="ai-codegen-assistant models pull"):
        await shared.call(LONG_ANSWER, Explanation)


async def test_models_are_loaded_and_unloaded_on_request(shared: EngineClient) -> None:
    await shared.configure({"modelSet": "starter", "engineIdle": 20})
    loaded = await shared.call(ModelsRequest(action=Action.LOAD), Models)
    assert {info.role: info.state for info in loaded.models}["generate"] is ModelState.READY
    unloaded = await shared.call(ModelsRequest(action=Action.UNLOAD), Models)
    assert all(info.state is not ModelState.READY for info in unloaded.models if info.role != "embed")
