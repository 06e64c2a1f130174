from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unit.cli.conftest import explanation

from cli.demo.editor import Answer, Document, Editor
from cli.demo.story import Story
from cli.output import JsonOutput
from core import codec
from core.messages import Explanation, Intent, RouteChoice, TaskList

ROUTE = RouteChoice(intent=Intent.EXPLAIN, scores={"explain": 0.7, "generate": 0.2}, margin=0.5)
STATUS = {
    "engine": {"pid": 7, "uptime": 1.0, "version": "1"},
    "models": [],
    "queue": {},
    "knowledge": {"count": 164},
    "memory": {"process": 1},
}


class ScriptedEditor(Editor):
    """An editor whose server says what a test wants."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.messages = []
        self._answers = answers

    def initialize(self) -> Answer:
        return Answer({"serverInfo": {"name": "scripted"}}, 0.01)

    def open(self, document: Document) -> None:
        pass

    def change(self, document: Document) -> None:
        pass

    def assistant(self, method: str, on_event: Callable[..., None], **params: Any) -> Answer:
        return Answer(codec.encode(self._answers[method]), 0.01, ["It ", "adds."])


def told(tmp_path: Path, **answers: Any) -> Story:
    known = {"tasks": TaskList(tasks=[], total=164), "status": STATUS}
    story = Story(ScriptedEditor(known | answers), JsonOutput(io.StringIO()), tmp_path)
    story.tell()
    return story


def test_an_edit_changes_the_text_where_it_says() -> None:
    document = Document(Path("/a.py"), "one\n    # two\nthree\n")
    assert document.range_of("# two", "three") == {
        "start": {"line": 1, "character": 0},
        "end": {"line": 3, "character": 0},
    }
    end = {"line": 1, "character": 9}
    document.apply({"range": {"start": end, "end": end}, "newText": "\n    pass"})
    assert document.text == "one\n    # two\n    pass\nthree\n"
    assert document.version == 2


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (explanation("It adds.", route=RouteChoice(intent=Intent.GENERATE, scores={}, margin=0.0)), "not routed"),
        (explanation("It subtracts.", route=ROUTE), "streamed tokens are not the answer"),
        (explanation("", route=ROUTE), "no explanation"),
    ],
)
def test_a_claim_that_is_not_true_fails_the_demo_and_ends_it(tmp_path: Path, answer: Explanation, problem: str) -> None:
    story = told(tmp_path, ask=answer)
    assert [step.passed for step in story.steps] == [True, False]
    assert problem in (story.steps[-1].problem or "")
    assert not story.passed


def test_a_store_without_tasks_fails_the_demo(tmp_path: Path) -> None:
    story = told(tmp_path, tasks=TaskList(tasks=[], total=0))
    assert not story.passed
    assert story.steps[0].problem == "The engine knows no tasks."
