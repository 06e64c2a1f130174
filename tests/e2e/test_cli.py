"""The command line as a person runs it: real processes, the real engine, the starter models."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.engine.endpoint import find
from core.engine.launch import start_engine
from core.paths import DataFolders

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

COMMAND = [sys.executable, "-m", "ai_codegen_assistant"]

DESCRIPTION = "Format a number of cents as a price in euros, with a comma before the cents"
IN_OTHER_WORDS = "Write an amount of cents as a euro price with a decimal comma"
SOLUTION = """\
def format_price(cents):
    euros, rest = divmod(cents, 100)
    return f"{euros},{rest:02d} EUR"
"""


def run(home: Path, *arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end, with nothing attached to a terminal."""
    return subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env=os.environ | {"AI_CODEGEN_HOME": str(home)} | environment,
        timeout=300,
        check=False,
    )


def run_json(home: Path, *arguments: str, code: int = 0, stdin: str = "") -> Any:
    """Run one command with `--json` and return its document."""
    done = run(home, *arguments, "--json", stdin=stdin)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def home(make_home: Callable[[], Path]) -> Iterator[Path]:
    """A data folder with the starter set, and with an engine that ends with the tests."""
    folder = make_home()
    yield folder
    run(folder, "stop")


@pytest.fixture
def empty_home(tmp_path: Path) -> Iterator[Path]:
    """A data folder with nothing in it."""
    yield tmp_path / "home"
    run(tmp_path / "home", "stop")


def test_explain_answers_about_the_lines(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "shop.py"
    file.write_text("import os\n\ndef total(prices):\n    return sum(prices)\n", "utf-8")
    short = ["--set", "explainMaxTokens=16"]
    first = run_json(home, "explain", f"{file}:3-4", *short)
    assert first["status"] == "answered"
    assert first["text"].strip()
    talk = ["--conversation", first["conversationId"]]
    second = run_json(home, "ask", "Explain", "why", "it", "works", "--intent", "explain", *talk, *short)
    assert second["memory"]["promptTokens"] > first["memory"]["promptTokens"]
    shown = run_json(home, "conversations", "show", first["conversationId"])
    assert [turn["question"] for turn in shown["turns"]][-1] == "Explain why it works"
    assert run_json(home, "conversations", "list")["conversations"][0]["turns"] == 2
    run_json(home, "conversations", "forget", first["conversationId"])
    gone = run_json(home, "conversations", "show", first["conversationId"], code=6)
    assert gone["error"]["code"] == "notFound"


def test_a_known_task_is_generated_and_can_be_piped(home: Path) -> None:
    done = run(home, "generate", "Return the maximum element of the list")
    assert done.returncode == 0, done.stderr
    compile(done.stdout, "generated.py", "exec")
    assert "HumanEval/35" in done.stderr
    assert "HumanEval/35" not in done.stdout


def test_the_route_is_shown(home: Path) -> None:
    answer = run_json(
        home, "ask", "Write", "a", "function", "that", "checks", "if", "a", "string", "is", "a", "palindrome"
    )
    assert answer["route"]["intent"] == "generate"
    assert answer["sources"][0]["taskId"] == "HumanEval/48"


def test_an_unknown_task_is_refused_taught_found_edited_and_forgotten(home: Path, tmp_path: Path) -> None:
    refused = run_json(home, "generate", DESCRIPTION, code=3)
    assert refused["status"] == "unknown"
    assert refused["sources"][0]["similarity"] < refused["threshold"]

    taught = run_json(home, "teach", "--description", DESCRIPTION, stdin=SOLUTION)["taskId"]
    found = run_json(home, "generate", IN_OTHER_WORDS)
    assert found["sources"][0]["taskId"] == taught
    assert found["checks"]["syntax"]

    assert [task["taskId"] for task in run_json(home, "tasks", "list", "--origin", "taught")["tasks"]] == [taught]
    assert run_json(home, "tasks", "search", "euro", "price")["tasks"][0]["taskId"] == taught
    better = tmp_path / "better.py"
    better.write_text(SOLUTION.replace("EUR", "Euro"), "utf-8")
    assert "Euro" in run_json(home, "tasks", "edit", taught, "--file", str(better))["implementation"]

    exported = tmp_path / "tasks.jsonl"
    assert run_json(home, "tasks", "export", str(exported), "--origin", "taught")["count"] == 1
    assert run_json(home, "tasks", "forget", taught)["forgotten"]
    run_json(home, "generate", IN_OTHER_WORDS, code=3)
    assert not run_json(home, "tasks", "restore", taught)["forgotten"]
    assert "Euro" in run_json(home, "tasks", "show", taught)["implementation"]
    assert run_json(home, "tasks", "import", str(exported))["added"] == 0
    run_json(home, "tasks", "forget", taught)


def test_what_is_no_python_cannot_be_taught(home: Path) -> None:
    refused = run_json(home, "teach", "--description", "Break", stdin="def (:\n", code=1)
    assert refused["error"]["code"] == "rejectedTask"
    assert run_json(home, "tasks", "show", "no-such-task", code=6)["error"]["code"] == "notFound"


def test_status_and_stop(home: Path) -> None:
    before = run_json(home, "status")
    assert before["engine"]["pid"] > 0
    assert {model["role"] for model in before["models"]} == {"explain", "generate", "embed"}
    assert str(before["engine"]["pid"]) in run_json(home, "stop")["message"]
    assert run_json(home, "stop")["message"] == "No engine is running."
    assert run_json(home, "status")["engine"]["pid"] != before["engine"]["pid"]


def test_stop_ends_an_engine_that_does_not_answer(home: Path) -> None:
    pid = run_json(home, "status")["engine"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    assert str(pid) in run_json(home, "stop")["message"]
    assert run_json(home, "status")["engine"]["pid"] != pid


def test_stop_ends_an_engine_whose_starter_lives_on(home: Path) -> None:
    run_json(home, "stop")
    folders = DataFolders(home)
    engine = start_engine(folders)
    wait_until(lambda: find(folders) is not None)
    assert str(engine.pid) in run_json(home, "stop")["message"]
    assert engine.wait(timeout=10) == 0


def test_ctrl_c_ends_the_answer_in_the_engine_too(home: Path) -> None:
    asking = subprocess.Popen(
        [*COMMAND, "ask", "Explain in great detail how Python works", "--intent", "explain", "--json"],
        env=os.environ | {"AI_CODEGEN_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: run_json(home, "status")["queue"].get("running") is not None)
    asking.send_signal(signal.SIGINT)
    out, _ = asking.communicate(timeout=30)
    assert asking.returncode == 130
    assert json.loads(out)["error"]["code"] == "cancelled"
    wait_until(lambda: run_json(home, "status")["queue"].get("running") is None)


def test_a_terminal_shows_colours(home: Path) -> None:
    shown = run_on_terminal(home, "generate", "Return the maximum element of the list")
    assert "\x1b[" in shown
    assert "Return maximum element" in shown
    assert "The syntax is valid." in shown


def test_chat_on_a_terminal_teaches_what_it_does_not_know(home: Path) -> None:
    typed = [f"write a function: {DESCRIPTION}", "t", DESCRIPTION, *SOLUTION.splitlines(), ".", "/quit"]
    shown = run_on_terminal(home, "chat", typed=typed)
    assert "route: generate" in shown
    assert "Taught as" in shown
    for task in run_json(home, "tasks", "list", "--origin", "taught")["tasks"]:
        run_json(home, "tasks", "forget", task["taskId"])


def test_a_missing_model_names_the_command_that_brings_it(empty_home: Path) -> None:
    told = run(empty_home, "generate", "Sort a list")
    assert told.returncode == 5
    assert "ai-codegen-assistant models pull starter" in told.stderr
    assert run_json(empty_home, "generate", "Sort a list", code=5)["error"]["code"] == "modelMissing"


def test_a_pull_without_a_network_is_a_clear_error(empty_home: Path) -> None:
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    failed = run(empty_home, "models", "pull", "starter", **nowhere)
    assert failed.returncode == 1
    assert "network" in failed.stderr
    assert not run_json(empty_home, "models", "list")["sets"][0]["installed"]


def test_doctor_finds_what_is_missing_and_what_mends_it(home: Path, empty_home: Path) -> None:
    well = run_json(home, "doctor")
    assert well["healthy"]
    assert well["machine"]["memoryTotal"] > 0
    assert next(one for one in well["sets"] if one["name"] == "starter")["fits"]
    ill = run_json(empty_home, "doctor", code=1)
    assert "ai-codegen-assistant models pull starter" in {check.get("remedy") for check in ill["checks"]}


def test_doctor_finds_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    blocked = tmp_path / "home"
    blocked.write_text("a file, not a folder", "utf-8")
    report = run_json(blocked, "doctor", code=1)
    assert {"data folder", "engine"} <= {check["name"] for check in report["checks"] if check["verdict"] == "problem"}


def test_the_demo_does_what_it_claims_and_touches_nothing_of_the_persons(home: Path) -> None:
    before = run_json(home, "tasks", "list")
    report = run_json(home, "demo")
    assert report["passed"]
    assert [step["title"] for step in report["steps"]][-1] == "Durable"
    assert "kept" not in report
    assert run_json(home, "tasks", "list") == before
    assert run_json(home, "conversations", "list")["conversations"] == []


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def run_on_terminal(home: Path, *arguments: str, typed: list[str] | None = None) -> str:
    """Run a command on a terminal, typing a line at each prompt; return all that it shows."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"AI_CODEGEN_HOME": str(home), "TERM": "xterm-256color", "COLUMNS": "100"}
        os.execv(sys.executable, [*COMMAND, *arguments])
    shown, lines = b"", list(typed or [])
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 2.0)[0]:
            # Silence: it waits for somebody to type.
            if lines:
                os.write(terminal, lines.pop(0).encode() + b"\n")
            continue
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        shown += piece
    os.close(terminal)
    os.waitpid(pid, 0)
    return shown.decode(errors="replace")
