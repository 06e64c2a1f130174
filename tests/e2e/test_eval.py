"""The evaluations as a person runs them: real processes, the real engine, the starter models."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

COMMAND = [sys.executable, "-m", "ai_codegen_assistant"]
SHORT = ("--set", "generateMaxTokens=16", "--set", "explainMaxTokens=16")

TASK = {
    "task_id": "mine/1",
    "description": "Tell how many working days lie between two dates, holidays not considered.",
    "implementation": "def working_days(first, last):\n    return 5\n",
    "query": "Tell how many working days there are between two dates; holidays are not considered.",
    "entry_point": "count_days",
    "tests": ["assert count_days('a', 'b') == 5"],
}


def start(home: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"AI_CODEGEN_HOME": str(home)}
    return subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def run(home: Path, *arguments: str, code: int = 0) -> str:
    process = start(home, *arguments)
    out, notes = process.communicate(timeout=800)
    assert process.returncode == code, out + notes
    return out


def figures(home: Path, *arguments: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(run(home, "eval", *arguments, "--json").splitlines()[-1])
    return result


def write(path: Path, *records: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return str(path)


def temporary_homes() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("ai-codegen-eval-*"))


@pytest.fixture
def home(fresh_home: Path) -> Iterator[Path]:
    yield fresh_home
    run(fresh_home, "stop")


def test_routing_is_measured_on_the_shipped_queries(home: Path, tmp_path: Path) -> None:
    page = tmp_path / "router.html"
    result = figures(home, "router", "--limit", "24", "--report", str(page))
    assert result["n"] == 24
    assert set(result["perIntent"]) == {"explain", "generate"}
    assert result["macroAccuracy"] > 0.7
    assert 0 <= result["unsureRate"] <= 1
    assert page.read_text("utf-8").startswith("<!doctype html>")


def test_refusing_is_measured_against_the_store_as_it_is(home: Path, tmp_path: Path) -> None:
    data = write(
        tmp_path / "mine.jsonl",
        {"query": TASK["query"], "known": True},
        {"query": "Play the national anthem on a trumpet", "known": False},
        {"query": "Check whether a given number is prime", "known": True, "task_id": "HumanEval/31"},
        {"query": "Anything", "known": True, "task_id": "not/there"},
    )
    before = figures(home, "unknown", "--data", data)
    source = write(tmp_path / "solution.jsonl", {key: TASK[key] for key in ("description", "implementation")})
    run(home, "tasks", "import", source)
    after = figures(home, "unknown", "--data", data)
    assert before["falseRefusalRate"] > after["falseRefusalRate"]
    assert after["falseAcceptRate"] == 0
    assert after["missingTasks"] == 1
    assert set(after) >= {"auroc", "fprAt95Tpr"}
    found = figures(home, "retrieval", "--data", data)
    assert (found["n"], found["top5"]) == (2, 0.5)


def test_without_data_the_persons_own_knowledge_plays_no_part(home: Path) -> None:
    result = figures(home, "retrieval", "--limit", "12")
    assert 0.5 <= result["top1"] <= result["top5"] <= 1
    assert not (home / "knowledge").exists()


def test_what_is_taught_for_learning_stays_out_of_the_persons_knowledge(home: Path, tmp_path: Path) -> None:
    result = figures(home, "learning", "--data", write(tmp_path / "learn.jsonl", TASK), *SHORT)
    assert result["n"] == 1
    assert result["passRate"] == 1.0
    assert result["baselinePassRate"] == 0.0
    assert result["adapted"] == 1
    assert not (home / "knowledge").exists()


def test_generation_is_measured_with_and_without_retrieval(home: Path) -> None:
    result = figures(home, "generation", "--limit", "1", *SHORT)
    assert result["n"] == 1
    assert {result["passAt1"], result["passAt1NoRetrieval"]} <= {0.0, 1.0}
    assert result["adapted"] == 0, "the task was retrieved for itself"


def test_memory_keeps_its_bound_and_loses_nothing_when_the_engine_is_stopped(home: Path, tmp_path: Path) -> None:
    told = [
        {"fact": f"My number is {n}{n}{n}.", "question": "What is my number?", "answer": [f"{n}{n}{n}"]} for n in (3, 4)
    ]
    tight = ("--set", "conversationTokens=400")
    result = figures(home, "memory", "--data", write(tmp_path / "told.jsonl", *told), *SHORT, *tight)
    assert result["boundHeld"] is True
    assert result["summariesInterrupted"] == 1
    assert result["turnsLost"] == 0
    assert 0 < result["fullestPrompt"] <= 1


def test_an_interrupted_evaluation_cleans_up_and_goes_on_later(home: Path, tmp_path: Path) -> None:
    others = temporary_homes()
    data = write(tmp_path / "learn.jsonl", TASK, {**TASK, "task_id": "mine/2", "query": "Count days"})
    process = start(home, "eval", "learning", "--data", data, *SHORT)
    assert _wait_for_a_result(home, process), process.communicate()
    process.send_signal(signal.SIGINT)
    out, notes = process.communicate(timeout=120)
    assert process.returncode == 130, out + notes
    assert temporary_homes() <= others
    assert figures(home, "learning", "--data", data, *SHORT)["n"] == 2
    (complete,) = (home / "evaluation").iterdir()
    assert len(complete.read_text("utf-8").splitlines()) == 4


def _wait_for_a_result(home: Path, process: subprocess.Popen[str]) -> bool:
    while process.poll() is None:
        if any(file.stat().st_size for file in (home / "evaluation").glob("learning-*.jsonl")):
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def cases(tmp_path: Path) -> Callable[[str], str]:
    def make(text: str) -> str:
        file = tmp_path / "bad.jsonl"
        file.write_text(text, "utf-8")
        return str(file)

    return make


def test_data_that_cannot_be_used_are_refused_with_line_and_field(home: Path, cases: Callable[[str], str]) -> None:
    process = start(home, "eval", "router", "--data", cases('{"text": "a", "intent": "dance"}\n'))
    _, notes = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "line 1.intent: must be one of 'explain', 'generate'" in notes
    run(home, "eval", "router", "--data", "nowhere.jsonl", code=6)
    run(home, "eval", "router", "--limit", "0", code=2)
