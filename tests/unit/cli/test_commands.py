from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unit.cli.conftest import Ran, explanation, generation, unknown

from core.errors import Cancelled, EngineBusy, EngineUnavailable, ModelMissing, NotFound, RejectedTask, StorageFailed
from core.messages import (
    Action,
    AskRequest,
    ChooseRouteRequest,
    ConversationRequest,
    Done,
    ExplainRequest,
    Exported,
    ExportTasksRequest,
    GenerateRequest,
    Imported,
    ImportTasksRequest,
    Intent,
    JudgeRequest,
    Models,
    ModelsRequest,
    Origin,
    Outcome,
    Phase,
    PhaseName,
    Role,
    RouteChoice,
    TaskDetails,
    TaskList,
    TasksRequest,
    TaskSummary,
    Taught,
    TeachRequest,
    Tokens,
    UpdateTaskRequest,
)

Run = Callable[..., Ran]

ROUTE = RouteChoice(intent=Intent.EXPLAIN, scores={"explain": 0.68, "generate": 0.22}, margin=0.46)
TASK = TaskDetails(
    task_id="t1",
    description="Add two numbers",
    implementation="def add(a, b):\n    return a + b\n",
    origin=Origin.TAUGHT,
    language="python",
    created_at="2026-01-02T03:04:05+00:00",
    updated_at="2026-01-02T03:04:05+00:00",
)


def test_ask_shows_the_answer_on_stdout_and_the_rest_on_stderr(run: Run) -> None:
    ran = run("ask", "what", "is", "this?", replies=[explanation(route=ROUTE)])
    assert ran.engine.requests == [AskRequest(query="what is this?")]
    assert ran.out == "It adds.\n"
    assert "route: explain (explain 0.68, generate 0.22; margin 0.46)" in ran.err
    assert "conversation c1" in ran.err
    assert ran.code == 0
    assert ran.engine.closed == 1


def test_ask_sends_code_intent_and_conversation(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("one = 1\ntwo = 2\n", "utf-8")
    line = ["ask", "-", "--code", f"{file}:2", "--intent", "explain", "--conversation", "c1", "--force"]
    ran = run(*line, stdin="why two?", replies=[explanation()])
    (request,) = ran.engine.requests
    assert isinstance(request, AskRequest)
    assert request.selection is not None
    assert request.selection.text == "two = 2\n"
    assert (request.query, request.intent, request.conversation_id) == ("why two?", Intent.EXPLAIN, "c1")
    assert request.force


def test_explain_sends_the_lines(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("one = 1\ntwo = 2\n", "utf-8")
    ran = run("explain", f"{file}:1-1", "--question", "Why?", replies=[explanation()])
    (request,) = ran.engine.requests
    assert isinstance(request, ExplainRequest)
    assert request.question == "Why?"
    assert request.selection is not None
    assert request.selection.text == "one = 1\n"


def test_generated_code_can_be_piped_into_a_file(run: Run) -> None:
    ran = run("generate", "return one", replies=[[Tokens(text="def"), generation()]])
    assert ran.out == "def f():\n    return 1\n"
    assert "0.81" in ran.err
    assert "HumanEval/35" in ran.err
    assert "The syntax is valid." in ran.err


def test_what_is_not_sure_is_said(run: Run) -> None:
    assert "Weak match" in run("generate", "x", replies=[generation(band="weak")]).err
    assert "Not grounded" in run("generate", "x", "--force", replies=[generation(grounded=False, band="unknown")]).err
    assert "reply budget" in run("generate", "x", replies=[generation(finish="length")]).err


def test_an_unknown_task_shows_the_closest_match_and_the_ways_out(run: Run) -> None:
    ran = run("generate", "fold a paper plane", replies=[unknown()])
    assert ran.code == 3
    assert ran.out == ""
    for part in ("0.21", "HumanEval/79", "0.55", "ai-codegen-assistant teach", "--force"):
        assert part in ran.err


def test_an_unknown_task_is_a_result_in_json(run: Run) -> None:
    ran = run("generate", "fold a paper plane", "--json", replies=[unknown()])
    assert ran.code == 3
    assert ran.document["status"] == "unknown"
    assert ran.document["sources"][0]["similarity"] == 0.21
    assert ran.err == ""


def test_json_is_one_document_in_camel_case(run: Run) -> None:
    ran = run("ask", "x", "--json", replies=[[Tokens(text="It"), explanation(route=ROUTE)]])
    assert ran.document["conversationId"] == "c1"
    assert ran.document["route"]["margin"] == 0.46


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StorageFailed("The disk is full."), 1),
        (EngineUnavailable("It died."), 4),
        (EngineBusy("Too many wait."), 4),
        (ModelMissing("Bring it with: ai-codegen-assistant models pull starter"), 5),
        (NotFound("There is no such task."), 6),
        (Cancelled(), 130),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_kind_of_error_has_its_exit_status(run: Run, error: BaseException, code: int) -> None:
    told, as_json = run("ask", "x", replies=[error]), run("ask", "x", "--json", replies=[error])
    assert told.code == as_json.code == code
    assert told.err.startswith("error: ")
    assert told.out == as_json.err == ""
    assert as_json.document["error"]["message"] in told.err
    assert told.engine.closed == 1


@pytest.mark.parametrize(
    "line",
    [
        [],
        ["unheard"],
        ["ask"],
        ["ask", " "],
        ["explain", "absent.py:1-2"],
        ["tasks"],
        ["tasks", "edit", "t1"],
        ["ask", "x", "--set", "nonsense"],
        ["ask", "x", "--intent", "sing"],
        ["index", "absent.jsonl"],
        ["teach", "--file", "absent.py"],
    ],
)
def test_a_wrong_command_line_is_a_usage_error_in_both_forms(run: Run, line: list[str]) -> None:
    told, as_json = run(*line), run(*line, "--json")
    assert told.code == as_json.code == 2
    assert told.engine.requests == []
    assert told.err.startswith("error: ")
    assert as_json.document["error"]["code"] == "usage"


def test_the_help_needs_nothing_heavy() -> None:
    script = (
        "import sys\nfrom cli.app import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'rich', 'pygls', 'torch', 'transformers', 'chromadb', 'numpy', 'sentence_transformers'}\n"
        "sys.exit(str(heavy & sys.modules.keys()) if heavy & sys.modules.keys() else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "exit status:" in done.stdout


def test_teach_reads_the_code_from_a_file_or_from_input(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("one = 1\ntwo = 2\n", "utf-8")
    taught = Taught(task_id="t1", similar=[])
    from_file = run("teach", "--description", "Two", "--file", f"{file}:2", replies=[taught])
    from_input = run("teach", "--description", "Two", stdin="two = 2\n", replies=[taught])
    expected = TeachRequest(description="Two", implementation="two = 2\n")
    assert from_file.engine.requests == from_input.engine.requests == [expected]
    assert "t1" in from_file.out


def test_teach_needs_a_description_where_nobody_can_be_asked(run: Run) -> None:
    ran = run("teach", stdin="two = 2\n")
    assert ran.code == 2
    assert "--description" in ran.err


def test_a_rejected_task_is_a_failure(run: Run) -> None:
    ran = run("teach", "--description", "x", stdin="def (", replies=[RejectedTask("line 1: invalid syntax")])
    assert (ran.code, "line 1: invalid syntax" in ran.err) == (1, True)


@pytest.mark.parametrize(
    ("line", "request_", "reply"),
    [
        (["tasks", "list", "--origin", "taught", "--limit", "7"], TasksRequest(origin=Origin.TAUGHT, limit=7), TaskList(tasks=[], total=0)),
        (["tasks", "search", "add", "numbers"], TasksRequest(query="add numbers"), TaskList(tasks=[], total=0)),
        (["tasks", "edit", "t1", "--description", "Add"], UpdateTaskRequest(task_id="t1", description="Add"), TASK),
        (["index", "humaneval"], ImportTasksRequest(source="humaneval"), Imported(source="humaneval", added=164, unchanged=0, skipped=0)),
        (["index", "hub:a/b"], ImportTasksRequest(source="hub:a/b"), Imported(source="hub:a/b", added=1, unchanged=0, skipped=0)),
        (["models", "pull", "small"], ModelsRequest(action=Action.PULL, set="small"), Models(models=[])),
        (["models", "unload"], ModelsRequest(action=Action.UNLOAD), Models(models=[])),
        (["models", "load", "explain"], ModelsRequest(action=Action.LOAD, role=Role.EXPLAIN), Models(models=[])),
        (["generate", "--force", "x"], GenerateRequest(prompt="x", force=True), generation()),
    ],
)  # fmt: skip
def test_commands_send_what_they_say(run: Run, line: list[str], request_: Any, reply: Any) -> None:
    ran = run(*line, replies=[reply])
    assert ran.engine.requests == [request_]
    assert ran.code == 0


def test_paths_are_absolute_for_the_engine_lives_elsewhere(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tasks.jsonl").write_text("", "utf-8")
    imported = Imported(source="x", added=0, unchanged=0, skipped=1, problems=["tasks.jsonl:1: not JSON"])
    reading = run("tasks", "import", "tasks.jsonl", replies=[imported])
    writing = run("tasks", "export", "out.jsonl", replies=[Exported(path="out.jsonl", count=3)])
    assert reading.engine.requests == [ImportTasksRequest(source=str(tmp_path / "tasks.jsonl"))]
    assert writing.engine.requests == [ExportTasksRequest(path=str(tmp_path / "out.jsonl"))]
    assert "tasks.jsonl:1: not JSON" in reading.err


def test_a_list_shows_each_task_on_its_line(run: Run) -> None:
    summary = TaskSummary(
        task_id="t1", description="Add\ntwo  numbers", origin=Origin.TAUGHT, language="python",
        created_at="2026-01-02T03:04:05+00:00", similarity=0.5,
    )  # fmt: skip
    ran = run("tasks", "search", "x", replies=[TaskList(tasks=[summary], total=9)])
    assert ran.out.splitlines()[1].split() == ["0.50", "t1", "taught", "2026-01-02", "Add", "two", "numbers"]
    assert "1 of 9 tasks" in ran.err


def test_text_that_looks_like_markup_is_shown_as_it_is(run: Run) -> None:
    ran = run("ask", "x", replies=[explanation("a[0] and [bold]b[/bold] :smile:")])
    assert ran.out == "a[0] and [bold]b[/bold] :smile:\n"


def test_long_phases_are_told_when_nobody_watches_a_terminal(run: Run) -> None:
    phases = [Phase(name=PhaseName.DOWNLOADING, message="Fetching model", fraction=part / 100) for part in range(101)]
    ran = run("models", "pull", "starter", replies=[[*phases, Models(models=[])]])
    assert [line for line in ran.err.splitlines() if "Fetching" in line] == [
        f"Fetching model ({tenth}0%)" if tenth else "Fetching model (0%)" for tenth in range(11)
    ]


def test_the_home_and_the_settings_reach_the_engine(run: Run, tmp_path: Path) -> None:
    ran = run("conversations", "show", "c1", "--home", str(tmp_path), "--set", "keepAlive=5", replies=[NotFound("no")])
    assert ran.engine.folders is not None
    assert ran.engine.folders.root == tmp_path
    assert ran.engine.settings == {"keepAlive": 5}
    assert ran.engine.requests == [ConversationRequest(conversation_id="c1")]


def test_feedback_is_given_and_taken_back(run: Run) -> None:
    for words, request in {
        ("judge", "t1", "rejected", "sort", "it"): JudgeRequest(
            query="sort it", task_id="t1", outcome=Outcome.REJECTED
        ),
        ("judge", "t1", "none", "sort it"): JudgeRequest(query="sort it", task_id="t1"),
        ("route", "explain", "sort it"): ChooseRouteRequest(query="sort it", intent=Intent.EXPLAIN),
        ("route", "none", "sort it"): ChooseRouteRequest(query="sort it"),
    }.items():
        ran = run(*words, replies=[Done(message="Noted.")])
        assert (ran.engine.requests, ran.out) == ([request], "Noted.\n")


def test_stop_without_an_engine_starts_none(run: Run) -> None:
    ran = run("stop")
    assert (ran.code, ran.out, ran.engine.requests) == (0, "No engine is running.\n", [])
