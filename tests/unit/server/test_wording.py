from __future__ import annotations

import dataclasses

import pytest
from fakes.scripted_engine import RUNNING

from core.messages import (
    Checks,
    CodeSelection,
    EngineInfo,
    Generation,
    ModelInfo,
    ModelState,
    QueueInfo,
    Role,
    Timings,
)
from server import wording

SOUND = Generation(
    status="generated", code="x", threshold=0.5, grounded=True, band="grounded", checks=Checks(syntax=True),
    timings=Timings(),
)  # fmt: skip


@pytest.mark.parametrize("code", ["x = 1", "a ``` b", "````\n```"])
def test_code_in_markdown_stays_code_whatever_it_holds(code: str) -> None:
    text = wording.fenced(code, "python")
    fence = text.splitlines()[0].removesuffix("python")
    assert text == f"{fence}python\n{code}\n{fence}"
    assert fence not in code


def test_a_turn_names_the_question_the_place_and_the_answer() -> None:
    selection = CodeSelection(text="x = 1", name="a.py", start_line=3)
    text = wording.explanation(selection, "Why?", " Because. ")
    assert text.startswith("## Why?\n\na.py, line 3\n\n```python\nx = 1\n```\n\nBecause.\n")


def test_sound_code_needs_no_remark() -> None:
    assert wording.remarks(SOUND) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"checks": Checks(syntax=False, problem="line 2: invalid syntax")}, "line 2: invalid syntax"),
        ({"finish": "length"}, "generateMaxTokens"),
        ({"grounded": False, "band": "weak"}, "weakly"),
        ({"grounded": False, "band": "unknown"}, "No stored task"),
    ],
)
def test_a_doubt_is_said(changes: dict[str, object], words: str) -> None:
    assert words in (wording.remarks(dataclasses.replace(SOUND, **changes)) or "")  # type: ignore[arg-type]


def test_the_status_names_what_is_loaded_and_what_runs() -> None:
    models = [
        ModelInfo(role=Role.EXPLAIN, name="phi", state=ModelState.READY, device="cuda"),
        ModelInfo(role=Role.GENERATE, name="coder", state=ModelState.ABSENT),
    ]
    text = wording.status(dataclasses.replace(RUNNING, models=models, queue=QueueInfo(waiting=2, running="explain")))
    assert "phi (explain, ready, on cuda)" in text
    assert "coder" not in text
    assert "Running: explain; waiting: 2." in text


def test_the_status_of_an_engine_that_stopped_says_why() -> None:
    stopped = EngineInfo(pid=0, uptime=0, version="1", state="stopped", detail="No memory.")
    assert wording.status(dataclasses.replace(RUNNING, engine=stopped)) == "The engine is stopped. No memory."
