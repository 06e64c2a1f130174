"""Each row of the wire protocol, from a client that speaks plain JSON-RPC."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rawlsp import RawClient

pytestmark = pytest.mark.e2e

URI = "untitled:Untitled-1"
CODE = "def add(a, b):\n    return a + b\n"
WHOLE = {"start": {"line": 0, "character": 0}, "end": {"line": 2, "character": 0}}

DESCRIPTION = "Convert degrees Celsius to degrees Réaumur."
IMPLEMENTATION = "def celsius_to_reaumur(celsius):\n    return celsius * 0.8\n"
IN_OTHER_WORDS = "turn a temperature from degrees Celsius into degrees Réaumur"
NONSENSE = "book a table for two at the Italian place round the corner"


async def taught(client: RawClient) -> str:
    """Teach the task, which may be there already, and return its id."""
    result = await client.request("assistant/teach", {"description": DESCRIPTION, "implementation": IMPLEMENTATION})
    task_id: str = result["taskId"]
    return task_id


async def test_explain_streams_an_answer_and_follows_up(client: RawClient) -> None:
    client.open(URI, CODE)
    params = {"textDocument": {"uri": URI, "version": 1}, "range": WHOLE, "streamId": "s1"}
    result = await client.request("assistant/explain", params)
    assert result["status"] == "answered"
    assert set(result["memory"]) >= {"promptTokens", "limit", "summarised"}
    assert set(result["timings"]) >= {"queue", "swap", "firstToken", "total", "tokensPerSecond"}
    response = next(number for number, one in enumerate(client.messages) if one.get("result") == result)
    before = [one for one in client.messages[:response] if one.get("method") == "assistant/tokens"]
    assert "".join(one["params"]["text"] for one in before).strip() == result["text"].strip()
    assert len(before) == len(client.notifications("assistant/tokens"))
    assert {one["params"]["streamId"] for one in before} == {"s1"}

    follow_up = {"question": "What are a and b?", "conversationId": result["conversationId"]}
    again = await client.request("assistant/explain", follow_up)
    assert again["conversationId"] == result["conversationId"]
    listed = (await client.request("assistant/conversations", {"limit": 5}))["conversations"]
    assert result["conversationId"] in [one["conversationId"] for one in listed]
    whole = await client.request("assistant/conversation", {"conversationId": result["conversationId"]})
    assert [turn["answer"] for turn in whole["turns"]] == [result["text"], again["text"]]
    await client.request("assistant/forgetConversation", {"conversationId": result["conversationId"]})
    error = await client.refused("assistant/conversation", {"conversationId": result["conversationId"]})
    assert (error["code"], error["data"]["code"]) == (-32803, "notFound")


async def test_what_is_unknown_is_refused_taught_and_then_generated(client: RawClient) -> None:
    refused = await client.request("assistant/generate", {"prompt": NONSENSE})
    assert refused["status"] == "unknown"
    assert "code" not in refused
    assert refused["sources"]
    assert all(one["similarity"] < refused["threshold"] for one in refused["sources"])

    task_id = await taught(client)
    client.open(URI, f"class A:\n    # {IN_OTHER_WORDS}\n")
    place = {"textDocument": {"uri": URI}, "position": {"line": 1, "character": 8}}
    result = await client.request("assistant/generate", {**place, "streamId": "s2"})
    assert (result["status"], result["sources"][0]["taskId"]) == ("generated", task_id)
    assert result["sources"][0]["origin"] == "taught"
    assert "".join(one["text"] for one in client.notifications("assistant/tokens")).strip() == result["code"].strip()
    (change,) = result["edit"]["documentChanges"]
    assert change["textDocument"] == {"uri": URI, "version": 1}
    (edit,) = change["edits"]
    assert edit["range"]["start"] == edit["range"]["end"]
    assert edit["newText"].startswith("\n    ")


async def test_force_generates_without_grounding(client: RawClient) -> None:
    result = await client.request("assistant/generate", {"prompt": NONSENSE, "force": True})
    assert (result["status"], result["grounded"]) == ("generated", False)


async def test_ask_routes_and_can_be_overruled(client: RawClient) -> None:
    await taught(client)
    client.open(URI, CODE)
    about = {"textDocument": {"uri": URI}, "range": WHOLE}
    explained = await client.request("assistant/ask", {"query": "What does this code do?", **about})
    assert (explained["status"], explained["route"]["intent"]) == ("answered", "explain")
    assert set(explained["route"]["scores"]) == {"explain", "generate"}
    generated = await client.request("assistant/ask", {"query": f"Write a function: {IN_OTHER_WORDS}"})
    assert generated["route"]["intent"] == "generate"
    overruled = await client.request("assistant/ask", {"query": "What does this do?", "intent": "generate", **about})
    assert overruled["route"]["intent"] == "generate"


async def test_tasks_can_be_looked_after(client: RawClient, tmp_path: Path) -> None:
    task_id = await taught(client)
    found = await client.request("assistant/tasks", {"query": IN_OTHER_WORDS, "origin": "taught", "limit": 3})
    assert found["tasks"][0]["taskId"] == task_id
    assert found["tasks"][0]["similarity"] > 0.5
    listed = await client.request("assistant/tasks", {"limit": 2})
    assert listed["total"] >= len(listed["tasks"])
    details = await client.request("assistant/task", {"taskId": task_id})
    assert details["implementation"].strip() == IMPLEMENTATION.strip()

    changed = await client.request("assistant/updateTask", {"taskId": task_id, "description": DESCRIPTION + " Fast."})
    assert changed["description"] == DESCRIPTION + " Fast."
    assert (await client.request("assistant/forget", {"taskId": task_id}))["taskId"] == task_id
    gone = await client.request("assistant/tasks", {"query": IN_OTHER_WORDS, "origin": "taught"})
    assert task_id not in [one["taskId"] for one in gone["tasks"]]
    assert (await client.request("assistant/restoreTask", {"taskId": task_id}))["taskId"] == task_id

    path = tmp_path / "tasks.jsonl"
    exported = await client.request("assistant/exportTasks", {"path": str(path), "origin": "taught"})
    assert exported["count"] == len([json.loads(line) for line in path.read_text("utf-8").splitlines()]) > 0
    imported = await client.request("assistant/importTasks", {"source": str(path)})
    assert imported["unchanged"] == exported["count"]


@pytest.mark.parametrize("method", ["task", "updateTask", "forget", "restoreTask"])
async def test_an_unknown_task_id_is_refused_by_name(client: RawClient, method: str) -> None:
    error = await client.refused(f"assistant/{method}", {"taskId": "no-such-task"})
    assert (error["code"], error["data"]["code"]) == (-32803, "notFound")
    assert "no-such-task" in error["message"]


@pytest.mark.parametrize(
    "params",
    [
        {"description": "", "implementation": "x = 1"},
        {"description": "d", "implementation": ""},
        {"description": "d", "implementation": "def broken(:"},
        {"description": "x" * 2_000_000, "implementation": "x = 1"},
        {"description": "null \x00 byte", "implementation": "x = 1"},
        {"description": "half \ud800 pair", "implementation": "x = 1"},
    ],
)
async def test_what_cannot_be_taught_is_refused_and_all_goes_on(client: RawClient, params: dict[str, Any]) -> None:
    error = await client.refused("assistant/teach", params)
    assert error["code"] in {-32602, -32803}
    assert len(error["message"]) < 500
    assert await taught(client)


async def test_status_and_models(client: RawClient) -> None:
    listed = await client.request("assistant/models", {"action": "list"})
    assert {model["role"] for model in listed["models"]} >= {"explain", "generate"}
    await client.request("assistant/models", {"action": "load", "role": "explain", "workDoneToken": "w"})
    kinds = [one["value"]["kind"] for one in client.notifications("$/progress")]
    assert (kinds[0], kinds[-1]) == ("begin", "end")

    def resident() -> list[str]:
        states = client.notifications("assistant/stateChanged")
        models = states[-1]["models"] if states else []
        return [one["name"] for one in models if one["role"] != "embed" and one["state"] == "ready"]

    await client.until(resident)
    status = await client.request("assistant/status")
    assert status["engine"]["state"] == "running"
    assert status["engine"]["pid"] > 0
    assert set(status) == {"engine", "models", "queue", "knowledge", "memory"}
    await client.request("assistant/models", {"action": "unload"})
    await client.until(lambda: not resident())
