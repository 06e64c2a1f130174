"""The server's own life: start, cancel, death of the engine, several windows, the end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from rawlsp import START, RawClient, serving

pytestmark = pytest.mark.e2e

URI = "untitled:Untitled-1"
CODE = "def add(a, b):\n    return a + b\n"
WHOLE = {"start": {"line": 0, "character": 0}, "end": {"line": 2, "character": 0}}
LONG, SHORT = {"explainMaxTokens": 1024}, {"explainMaxTokens": 16}

HEAVY = ("torch", "transformers", "sentence_transformers", "chromadb", "numpy")


def start_long_answer(client: RawClient, **params: Any) -> tuple[int, asyncio.Future[dict[str, Any]]]:
    client.open(URI, CODE)
    question = "Explain this line by line in great detail, with many examples."
    document = {"textDocument": {"uri": URI}, "range": WHOLE, "question": question}
    return client.start("assistant/explain", {**document, "streamId": "long", **params})


async def engine_pid(client: RawClient) -> int:
    state = await client.until_notified("assistant/stateChanged")
    pid: int = state["engine"]["pid"]
    return pid


async def test_initialize_is_answered_before_the_engine_is_up(own_home: Path) -> None:
    async with serving(own_home) as client:
        await client.initialize()
        status = await client.request("assistant/status")
        assert status["engine"]["state"] == "starting"
        # A request that comes this early waits, and is answered.
        assert (await client.request("assistant/models", {"action": "list"}))["models"]
        await client.until(lambda: (client.notifications("assistant/stateChanged") or [{}])[-1].get("models"))
        assert await client.shut_down() == 0


async def test_a_serving_server_holds_nothing_heavy(engine_home: Path) -> None:
    report = (
        "import atexit, sys\n"
        "from server.app import serve\n"
        f"atexit.register(lambda: print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr))\n"
        "sys.exit(serve())"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        report,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "AI_CODEGEN_HOME": str(engine_home)},
    )
    client = RawClient(process)
    await client.initialize(initializationOptions=SHORT)
    client.open(URI, CODE)
    await client.request("assistant/tasks", {"limit": 1})
    await client.request("assistant/explain", {"textDocument": {"uri": URI}, "range": WHOLE})
    assert await client.shut_down() == 0
    assert process.stderr is not None
    log = (await process.stderr.read()).decode()
    assert "HEAVY []" in log
    assert "return a + b" not in log
    await client.close()


async def test_a_cancelled_answer_stops_and_the_next_request_is_served(engine_home: Path) -> None:
    async with serving(engine_home) as client:
        await client.initialize(initializationOptions=LONG)
        request, answer = start_long_answer(client)
        await client.until_notified("assistant/tokens")
        client.cancel(request)
        response = await asyncio.wait_for(answer, 5)
        assert response["error"]["code"] == -32800
        count = len(client.notifications("assistant/tokens"))
        assert (await client.request("assistant/models", {"action": "list"}))["models"]
        await client.until(lambda: client.notifications("assistant/stateChanged")[-1]["queue"].get("running") is None)
        assert len(client.notifications("assistant/tokens")) == count


async def test_cancelling_the_progress_stops_the_answer(engine_home: Path) -> None:
    async with serving(engine_home) as client:
        await client.initialize({"window": {"workDoneProgress": True}}, initializationOptions=LONG)
        _, answer = start_long_answer(client, workDoneToken="w")
        await client.until_notified("assistant/tokens")
        client.notify("window/workDoneProgress/cancel", {"token": "w"})
        assert (await asyncio.wait_for(answer, 5))["error"]["code"] == -32800
        values = [one["value"]["kind"] for one in client.notifications("$/progress") if one["token"] == "w"]
        assert (values[0], values[-1]) == ("begin", "end")


async def test_cancelling_a_command_stops_its_work(engine_home: Path) -> None:
    async with serving(engine_home) as client:
        await client.initialize(initializationOptions=LONG)
        client.open(URI, CODE)
        argument = {"textDocument": {"uri": URI}, "range": WHOLE, "question": "Explain every detail at length."}
        command = {"command": "assistant.explainSelection", "arguments": [argument]}
        request, answer = client.start("workspace/executeCommand", command)
        assert (await answer)["result"] is None

        def running() -> bool:
            states = client.notifications("assistant/stateChanged")
            return bool(states) and states[-1]["queue"].get("running") is not None

        await client.until(running)
        client.cancel(request)
        await client.until(lambda: not running())
        assert client.notifications("window/showMessage") == []


async def test_two_windows_share_an_engine_and_are_both_answered(engine_home: Path) -> None:
    async with serving(engine_home) as one, serving(engine_home) as two:
        await one.initialize(initializationOptions=SHORT)
        await two.initialize(initializationOptions=SHORT)
        (_, first), (_, second) = start_long_answer(one), start_long_answer(two)
        for answer in (await first, await second):
            assert answer["result"]["status"] == "answered"
        assert await engine_pid(one) == await engine_pid(two)


async def test_an_engine_that_is_killed_is_told_restarted_and_answers_again(engine_home: Path) -> None:
    async with serving(engine_home) as client:
        await client.initialize(initializationOptions=LONG)
        task = {"description": "Double a number.", "implementation": "def double(x):\n    return 2 * x\n"}
        task_id = (await client.request("assistant/teach", task))["taskId"]
        _, answer = start_long_answer(client)
        await client.until_notified("assistant/tokens")
        killed = await engine_pid(client)
        os.kill(killed, signal.SIGKILL)
        error = (await answer)["error"]
        assert (error["code"], error["data"]["code"]) == (-32803, "engineUnavailable")
        shown = await client.until_notified("window/showMessage")
        assert (shown["type"], str(killed) in shown["message"]) == (1, True)
        assert (await client.request("assistant/task", {"taskId": task_id}))["description"] == "Double a number."
        assert await engine_pid(client) != killed


async def test_a_client_that_vanishes_takes_its_work_along_and_nothing_else(engine_home: Path) -> None:
    async with serving(engine_home) as stays:
        await stays.initialize(initializationOptions=SHORT)
        await stays.request("assistant/tasks", {"limit": 1})
        async with serving(engine_home) as vanishes:
            await vanishes.initialize(initializationOptions=LONG)
            start_long_answer(vanishes)
            await vanishes.until_notified("assistant/tokens")
            vanishes.process.kill()
        await stays.until(lambda: stays.notifications("assistant/stateChanged")[-1]["queue"].get("running") is None)
        stays.open(URI, CODE)
        result = await stays.request("assistant/explain", {"textDocument": {"uri": URI}, "range": WHOLE})
        assert result["status"] == "answered"


async def test_the_server_ends_when_its_input_does(engine_home: Path) -> None:
    async with serving(engine_home) as client:
        await client.initialize(initializationOptions=LONG)
        start_long_answer(client)
        await client.until_notified("assistant/tokens")
        engine = await engine_pid(client)
        assert client.process.stdin is not None
        client.process.stdin.close()
        assert await asyncio.wait_for(client.process.wait(), 20) == 0
        assert psutil.pid_exists(engine)


async def test_exit_without_shutdown_is_told_by_the_exit_status(engine_home: Path) -> None:
    async with serving(engine_home) as client:
        await client.initialize()
        client.notify("exit")
        assert await asyncio.wait_for(client.process.wait(), 20) == 1


async def test_what_is_printed_never_disturbs_the_protocol(engine_home: Path) -> None:
    noisy = (
        "import os, subprocess, sys, threading, time\n"
        "from server.app import serve\n"
        "def shout():\n"
        "    while os.fstat(1).st_ino != os.fstat(2).st_ino:\n"
        "        time.sleep(0.01)\n"
        "    while True:\n"
        "        print('NOISE'); sys.stdout.flush(); subprocess.run(['echo', 'NOISE']); time.sleep(0.02)\n"
        "threading.Thread(target=shout, daemon=True).start()\n"
        "sys.exit(serve())"
    )
    async with serving(engine_home, (START[0], "-u", "-c", noisy)) as client:
        # The noise begins once the server has taken the streams: what comes before is not its to keep apart.
        await client.initialize()
        for _ in range(20):
            assert "engine" in await client.request("assistant/status")
