from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import codec, messages
from core.errors import InvalidParams


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    line_number: int
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    first_part: Part
    parts: list[Part] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    intent: messages.Intent = messages.Intent.EXPLAIN
    ratio: float = 0.0
    flag: bool = False


parts = st.builds(Part, line_number=st.integers(), label=st.none() | st.text())
wholes = st.builds(
    Whole,
    first_part=parts,
    parts=st.lists(parts, max_size=3),
    scores=st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)),
    intent=st.sampled_from(messages.Intent),
    ratio=st.floats(allow_nan=False, allow_infinity=False),
    flag=st.booleans(),
)


@given(wholes)
def test_what_is_encoded_comes_back_through_json(whole: Whole) -> None:
    assert codec.decode(Whole, json.loads(json.dumps(codec.encode(whole)))) == whole


def test_names_are_camel_case_and_absent_values_are_left_out() -> None:
    wire = codec.encode(Whole(first_part=Part(line_number=3)))
    assert wire["firstPart"] == {"lineNumber": 3}


@pytest.mark.parametrize(
    ("wire", "field_name", "words"),
    [
        ({}, "firstPart", "is required"),
        ({"firstPart": None}, "firstPart", "is required"),
        ({"firstPart": 3}, "firstPart", "an object, not a whole number"),
        ({"firstPart": {"lineNumber": "3"}}, "firstPart.lineNumber", "a whole number, not a string"),
        ({"firstPart": {"lineNumber": True}}, "firstPart.lineNumber", "a whole number, not true or false"),
        ({"firstPart": {"lineNumber": 1}, "parts": {}}, "parts", "a list, not an object"),
        ({"firstPart": {"lineNumber": 1}, "parts": [{}]}, "parts[0].lineNumber", "is required"),
        ({"firstPart": {"lineNumber": 1}, "scores": {"a": "b"}}, "scores.a", "a number, not a string"),
        ({"firstPart": {"lineNumber": 1}, "intent": "sing"}, "intent", "one of 'explain', 'generate', not 'sing'"),
        ([], "params", "an object, not a list"),
        ("text", "params", "an object, not a string"),
    ],
)
def test_malformed_input_names_the_field(wire: object, field_name: str, words: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        codec.decode(Whole, wire)
    assert caught.value.data["field"] == field_name
    assert words in caught.value.message


def test_unknown_fields_are_ignored_so_that_either_side_may_be_newer() -> None:
    assert codec.decode(Part, {"lineNumber": 1, "colour": "red"}) == Part(line_number=1)


def test_every_request_has_a_method_of_its_own_and_can_be_decoded() -> None:
    kinds = get_args(messages.Request)
    assert len({kind.method for kind in kinds}) == len(kinds)
    for kind in kinds:
        required = [one for one in dataclasses.fields(kind) if one.default is dataclasses.MISSING]
        try:
            codec.decode(kind, {})
        except InvalidParams:
            assert required
