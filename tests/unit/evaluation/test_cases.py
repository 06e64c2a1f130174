from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidParams, NotFound
from core.evaluation.cases import KnowledgeCase, LearningCase, MemoryCase, RouterCase, read_cases, spread
from core.routing.routes import load_routes


def test_public_field_names_are_understood(tmp_path: Path) -> None:
    file = tmp_path / "cases.jsonl"
    file.write_text('{"query": "q", "known": true, "task_id": "HumanEval/1", "source": "ignored"}\n\n')
    (case,) = read_cases(KnowledgeCase, file, "unknown", None).cases
    assert case == KnowledgeCase(query="q", known=True, task_id="HumanEval/1")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "line 2 is not JSON"),
        ("[]", "line 2"),
        ('{"known": true}', "line 2.query: is required"),
        ('{"query": "q", "known": "yes"}', "line 2.known: must be true or false"),
    ],
)
def test_a_line_that_is_no_case_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    file = tmp_path / "cases.jsonl"
    file.write_text('{"query": "q", "known": true}\n' + line + "\n")
    with pytest.raises(InvalidParams) as raised:
        read_cases(KnowledgeCase, file, "unknown", None)
    assert complaint in raised.value.message


def test_a_file_that_is_missing_or_empty_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_cases(RouterCase, tmp_path / "none.jsonl", "router", None)
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(InvalidParams, match="holds no cases"):
        read_cases(RouterCase, tmp_path / "empty.jsonl", "router", None)


@given(st.lists(st.integers(), max_size=50), st.integers(1, 60))
def test_a_limit_takes_cases_from_all_over_the_file(cases: list[int], limit: int) -> None:
    numbered = list(enumerate(cases))
    taken = spread(numbered, limit)
    assert len(taken) == min(limit, len(cases))
    assert len(set(taken)) == len(taken)
    gaps = [later[0] - earlier[0] for earlier, later in pairwise(taken)]
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_shipped_router_cases_are_many_balanced_and_not_what_the_router_is_made_of() -> None:
    cases = read_cases(RouterCase, None, "router", None).cases
    counts = Counter(case.intent for case in cases)
    assert len(cases) >= 200
    assert max(counts.values()) <= 1.1 * min(counts.values())
    assert len({case.text for case in cases}) == len(cases)
    utterances = {plain(text) for route in load_routes() for text in route.utterances}
    assert not [case.text for case in cases if plain(case.text) in utterances]


def plain(text: str) -> str:
    return text.casefold().strip(" .?")


def test_other_shipped_cases_can_be_read() -> None:
    knowledge = read_cases(KnowledgeCase, None, "unknown", None).cases
    assert all((case.task_id is not None) == case.known for case in knowledge)
    assert read_cases(MemoryCase, None, "memory", None).cases
    learning = read_cases(LearningCase, None, "learning", None).cases
    assert all(json.dumps(case.tests) and case.query != case.description for case in learning)
