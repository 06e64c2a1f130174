"""What the engine learns from a person: verified tasks, and routes that were wrong."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from core.engine import endpoint as endpoints
from core.engine.client import EngineClient
from core.errors import RejectedTask
from core.messages import (
    AskRequest,
    ChooseRouteRequest,
    Done,
    Generation,
    Intent,
    JudgeRequest,
    LookUp,
    LookUpRequest,
    Outcome,
    TaskDetails,
    TaskRequest,
    Taught,
    TeachRequest,
    UpdateTaskRequest,
)
from core.paths import DataFolders

pytestmark = pytest.mark.e2e

RIGHT = "def to_reaumur(celsius):\n    return celsius * 0.8\n"
WRONG = "def to_reaumur(celsius):\n    return celsius / 0.8\n"
TESTS = "assert to_reaumur(100) == 80\n"


@pytest_asyncio.fixture
async def engine(fresh_home: Path) -> AsyncIterator[EngineClient]:
    client = await EngineClient.connect(DataFolders(fresh_home), name="learning", settings={})
    yield client
    await client.close()
    endpoint = endpoints.find(DataFolders(fresh_home))
    if endpoint is not None and psutil.pid_exists(endpoint.pid):
        os.kill(endpoint.pid, signal.SIGKILL)


async def test_only_tasks_whose_tests_pass_are_stored_and_count_as_verified(engine: EngineClient) -> None:
    task = TeachRequest(description="Convert Celsius to Réaumur.", implementation=RIGHT, tests=TESTS)
    taught = await engine.call(task, Taught)
    assert taught.verified
    assert (await engine.call(TaskRequest(task_id=taught.task_id), TaskDetails)).verified
    with pytest.raises(RejectedTask, match="to_reaumur"):
        await engine.call(UpdateTaskRequest(task_id=taught.task_id, implementation=WRONG), TaskDetails)
    kept = await engine.call(TaskRequest(task_id=taught.task_id), TaskDetails)
    assert "* 0.8" in kept.implementation
    renamed = UpdateTaskRequest(task_id=taught.task_id, description="Celsius to Réaumur.")
    assert (await engine.call(renamed, TaskDetails)).verified


async def test_a_wrong_route_is_not_taken_again(engine: EngineClient) -> None:
    query = "describe a websocket server that greets each guest"
    before = (await engine.call(LookUpRequest(query=query), LookUp)).route
    assert before.intent is Intent.EXPLAIN, before.reason
    answer = await engine.call(AskRequest(query=query, intent=Intent.GENERATE), Generation)
    assert answer.status == "unknown"
    after = (await engine.call(LookUpRequest(query=query), LookUp)).route
    assert (after.intent, after.sure) == (Intent.GENERATE, True)
    assert "you have chosen generate" in str(after.reason)
    await engine.call(ChooseRouteRequest(query=query), Done)
    assert (await engine.call(LookUpRequest(query=query), LookUp)).route == before


async def test_a_rejected_source_falls_behind_and_comes_back(engine: EngineClient) -> None:
    query = "greatest common divisor of two integers"
    before = (await engine.call(LookUpRequest(query=query), LookUp)).matches
    judge = JudgeRequest(query=query, task_id=before[0].task_id, outcome=Outcome.REJECTED)
    await engine.call(judge, Done)
    after = (await engine.call(LookUpRequest(query=query), LookUp)).matches
    rejected = {match.task_id: match for match in after}.get(before[0].task_id)
    assert rejected is None or rejected.similarity < before[0].similarity
    await engine.call(replace(judge, outcome=None), Done)
    assert (await engine.call(LookUpRequest(query=query), LookUp)).matches == before
