from __future__ import annotations

import json
import math

import pytest

from core.errors import InvalidParams
from core.evaluation import generation, learning, memory, retrieval, router, unknown
from core.evaluation.cases import GenerationCase, KnowledgeCase, LearningCase, MemoryCase, RouterCase
from core.evaluation.generation import Attempt
from core.evaluation.learning import Learnt
from core.evaluation.memory import Dialogue, Exchange
from core.evaluation.page import render
from core.evaluation.report import examples, figure
from core.evaluation.retrieval import Searched
from core.messages import Intent, LookUp, Origin, RouteChoice, TaskMatch, Timings


def look_up(
    intent: Intent = Intent.GENERATE, *, sure: bool = True, band: str = "unknown", **similarity: float
) -> LookUp:
    return LookUp(
        route=RouteChoice(intent=intent, scores={}, margin=0.1, sure=sure),
        band=band,
        threshold=0.6,
        matches=[
            TaskMatch(task_id=task_id, description=f"the task {task_id}", similarity=score, origin=Origin.BUILTIN)
            for task_id, score in similarity.items()
        ],
        timings=Timings(route=3.0, retrieve=4.0, total=8.0),
    )


def test_the_router_is_judged_by_each_intent_alike() -> None:
    cases = [RouterCase(text=f"q{n}", intent=Intent.EXPLAIN) for n in range(4)]
    cases.append(RouterCase(text="g", intent=Intent.GENERATE))
    answers = [look_up(Intent.EXPLAIN)] * 3 + [look_up(Intent.GENERATE, sure=False), look_up(Intent.GENERATE)]
    report = router.report("mine", cases, answers)
    assert report.figures["perIntent"] == {"explain": 0.75, "generate": 1.0}
    assert report.figures["macroAccuracy"] == 0.875
    assert report.figures["unsureRate"] == 0.2
    assert report.figures["accuracyWhenSure"] == 1.0
    assert report.tables[1].rows[0][0] == "q3"


def searched() -> Searched:
    return Searched(
        source="mine",
        store="a store",
        cases=[
            KnowledgeCase(query="found", known=True, task_id="a"),
            KnowledgeCase(query="second", known=True, task_id="b"),
            KnowledgeCase(query="below", known=True, task_id="a"),
            KnowledgeCase(query="new", known=False),
            KnowledgeCase(query="strange", known=False),
        ],
        answers=[
            look_up(band="grounded", a=0.9, b=0.2),
            look_up(band="grounded", a=0.8, b=0.7),
            look_up(band="weak", a=0.5),
            look_up(band="grounded", a=0.65),
            look_up(band="unknown"),
        ],
        missing=0,
    )


def test_retrieval_looks_at_the_first_and_at_the_first_five() -> None:
    figures = retrieval.report(searched()).figures
    assert figures["top1"] == pytest.approx(2 / 3, abs=1e-4)
    assert figures["top5"] == 1.0
    assert figures["meanReciprocalRank"] == pytest.approx(2.5 / 3, abs=1e-4)
    assert figures["n"] == 3


def test_retrieval_needs_queries_with_a_task() -> None:
    lonely = Searched(
        source="mine", store="", cases=[KnowledgeCase(query="q", known=False)], answers=[look_up()], missing=0
    )
    with pytest.raises(InvalidParams, match="task_id"):
        retrieval.report(lonely)


def test_unknown_counts_at_the_threshold_and_by_what_would_be_answered() -> None:
    report = unknown.report(searched())
    assert report.figures["falseRefusalRate"] == pytest.approx(1 / 3, abs=1e-4)
    assert report.figures["falseAcceptRate"] == 0.5
    assert report.figures["knownRefused"] == 0.0
    assert report.figures["unknownAnswered"] == 0.5
    assert report.figures["auroc"] == pytest.approx(5 / 6, abs=1e-4)
    assert report.figures["threshold"] == 0.6
    in_use = [row for row in report.tables[0].rows if "in use" in row[0]]
    assert in_use == [("0.600 (in use)", "33.3%", "50.0%")]
    assert "<svg" in render(report)


def test_figures_that_are_not_defined_are_null_in_json() -> None:
    only_known = Searched(
        source="mine",
        store="",
        cases=[KnowledgeCase(query="q", known=True, task_id="a")],
        answers=[look_up(a=0.9)],
        missing=0,
    )
    figures = unknown.report(only_known).figures
    assert figures["auroc"] is None
    assert json.loads(json.dumps(figures, allow_nan=False))["falseAcceptRate"] is None
    assert figure(math.inf) is None
    render(unknown.report(only_known))


def attempt(*, passed: bool, band: str = "unknown", adapted: bool = False, model: str | None = "tiny") -> Attempt:
    return Attempt(
        passed=passed, problem=None if passed else "no", band=band, adapted=adapted, syntax=True, model=model
    )


def test_generation_counts_flips_both_ways() -> None:
    cases = [GenerationCase(task_id=f"t{n}", prompt="", entry_point="f", test="") for n in range(4)]
    without = [attempt(passed=one) for one in (True, True, False, False)]
    grounded = [attempt(passed=one, band="grounded") for one in (True, False, True, True)]
    report = generation.report("mine", cases, grounded, without)
    assert report.figures["passAt1"] == 0.75
    assert report.figures["passAt1NoRetrieval"] == 0.5
    assert (report.figures["gained"], report.figures["lost"], report.figures["n"]) == (2, 1, 4)
    assert report.tables[0].rows == (("grounded", "4", "3", "2"),)
    render(report)


def test_a_refusal_after_teaching_is_a_failure() -> None:
    cases = [
        LearningCase(task_id=f"t{n}", description="d", implementation="i", query="q", entry_point="f", tests=[])
        for n in range(3)
    ]
    before = [attempt(passed=False)] * 3
    after = [
        Learnt(answered=True, found=True, attempt=attempt(passed=True, adapted=True, model=None)),
        Learnt(answered=True, found=True, attempt=attempt(passed=True, band="weak")),
        Learnt(answered=False, found=False, attempt=attempt(passed=False, model=None)),
    ]
    figures = learning.report("mine", cases, before, after).figures
    assert figures["passRate"] == pytest.approx(2 / 3, abs=1e-4)
    assert figures["baselinePassRate"] == 0.0
    assert (figures["adapted"], figures["generated"], figures["refused"], figures["weak"]) == (1, 1, 1, 1)
    assert figures["model"] == "tiny"


def test_memory_reports_a_prompt_beyond_its_bound_and_every_lost_turn() -> None:
    def dialogue(tokens: int, *, lost: int, left: bool) -> Dialogue:
        one = Exchange(question="q", answer="a", prompt_tokens=tokens, limit=700, shortened=False)
        return Dialogue(
            exchanges=[one],
            lost=lost,
            interrupted=left,
            left=left,
            in_summary=True,
            recalled=left,
            recalled_at_once=True,
        )

    cases = [MemoryCase(fact=f"f{n}", question="q", answer=["x"]) for n in range(2)]
    figures = memory.report(
        "mine", cases, [dialogue(700, lost=0, left=True), dialogue(350, lost=0, left=False)]
    ).figures
    assert figures["boundHeld"] is True
    assert figures["fullestPrompt"] == 1.0
    assert figures["factsRecalled"] == 1.0
    figures = memory.report("mine", cases, [dialogue(701, lost=0, left=True), dialogue(1, lost=2, left=True)]).figures
    assert figures["boundHeld"] is False
    assert figures["turnsLost"] == 2


def test_a_list_of_examples_says_how_many_there_are() -> None:
    assert examples("Wrong", ("query",), [[str(n)] for n in range(40)]).title == "Wrong: the first 15 of 40"
    assert examples("Wrong", ("query",), [["a\n b"]]).rows == (("a b",),)
