from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol.types import PositionEncodingKind

from core.errors import InvalidParams
from server.positions import LinedText, Position, length, split_lines

ENCODINGS = [PositionEncodingKind.Utf8, PositionEncodingKind.Utf16, PositionEncodingKind.Utf32]
CODECS = {
    PositionEncodingKind.Utf8: ("utf-8", 1),
    PositionEncodingKind.Utf16: ("utf-16-le", 2),
    PositionEncodingKind.Utf32: ("utf-32-le", 4),
}

texts = st.text(st.sampled_from("ab é\u0301ß\u2028\x0c\x85€\U0001f600\U0001f468\u200d\r\n\t"), max_size=40)
encodings = st.sampled_from(ENCODINGS)


def at(line: int, character: int) -> Position:
    return Position(line=line, character=character)


@given(texts, encodings, st.data())
def test_every_offset_survives_the_way_to_a_position_and_back(
    text: str, encoding: PositionEncodingKind, data: st.DataObject
) -> None:
    offset = data.draw(st.integers(0, len(text)))
    if text[offset - 1 : offset + 1] == "\r\n":
        return  # Between the two halves of one line end there is no position.
    lined = LinedText.of(text)
    assert lined.offset(lined.position(offset, encoding), encoding) == offset


@given(texts, encodings)
def test_a_length_is_that_of_the_encoded_text(text: str, encoding: PositionEncodingKind) -> None:
    codec, unit = CODECS[encoding]
    assert length(text, encoding) == len(text.encode(codec)) // unit


@given(texts)
def test_lines_are_those_of_the_protocol(text: str) -> None:
    assert "".join(split_lines(text)) == text
    lined = LinedText.of(text)
    assert lined.lines == text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


@pytest.mark.parametrize("separator", ["\x0c", "\x0b", "\x1c", "\x85", "\u2028", "\u2029"])
def test_only_line_ends_end_lines(separator: str) -> None:
    text = f"a{separator}b\nc"
    assert split_lines(text) == [f"a{separator}b\n", "c"]
    assert LinedText.of(text).offset(at(1, 0), PositionEncodingKind.Utf16) == 4


@pytest.mark.parametrize(("encoding", "column"), [(ENCODINGS[0], 7), (ENCODINGS[1], 5), (ENCODINGS[2], 4)])
def test_an_emoji_counts_what_it_takes(encoding: PositionEncodingKind, column: int) -> None:
    text = LinedText.of('x="\U0001f600"y')
    assert text.offset(at(0, column), encoding) == 4


def test_a_column_inside_a_character_means_its_start() -> None:
    text = LinedText.of("a\U0001f600b")
    assert text.offset(at(0, 2), PositionEncodingKind.Utf16) == 1
    assert text.offset(at(0, 4), PositionEncodingKind.Utf8) == 1


def test_a_column_past_the_line_means_its_end_and_never_its_line_end() -> None:
    text = LinedText.of("ab\r\ncé\r\n")
    assert text.offset(at(0, 99), PositionEncodingKind.Utf16) == 2
    assert text.offset(at(1, 99), PositionEncodingKind.Utf16) == 6


def test_the_line_behind_the_last_means_the_end() -> None:
    assert LinedText.of("a\nb").offset(at(2, 0), PositionEncodingKind.Utf16) == 3


@pytest.mark.parametrize("place", [at(3, 0), at(2, 1), at(-1, 0), at(0, -1)])
def test_a_place_outside_of_the_text_is_refused_by_name(place: Position) -> None:
    with pytest.raises(InvalidParams, match=r"^range\.end\.(line|character): "):
        LinedText.of("a\nb").offset(place, PositionEncodingKind.Utf16, "range.end")


@pytest.mark.parametrize(("text", "newline"), [("a\r\nb\n", "\r\n"), ("a\nb", "\n"), ("a\rb", "\r"), ("a", "\n")])
def test_the_line_end_is_that_of_the_first_line(text: str, newline: str) -> None:
    assert LinedText.of(text).newline == newline
