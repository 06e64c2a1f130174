from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.models.streaming import Detokenizer, StopStrings

TEXTS = st.text(
    alphabet=st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("é🙂👩‍💻\r\n\t日 ")), max_size=40
)


def from_bytes(tokens: Sequence[int]) -> str:
    """A tokenizer whose tokens are single bytes."""
    return bytes(tokens).decode("utf-8", errors="replace")


def from_words(tokens: Sequence[int]) -> str:
    """Like SentencePiece: each token is a word after a space, but the first space of a text is dropped."""
    return "".join(f" w{token}" for token in tokens).removeprefix(" ")


@given(TEXTS)
def test_every_character_comes_with_its_last_byte(text: str) -> None:
    detokenizer = Detokenizer(from_bytes)
    received = ""
    for character in text:
        for byte in character.encode():
            piece = detokenizer.push(byte)
            assert "\ufffd" not in piece or character == "\ufffd"
            received += piece
        if character != "\ufffd":
            assert text.startswith(received)
    assert received + detokenizer.flush() == text


@given(st.binary(max_size=60))
def test_nothing_is_lost_of_bytes_that_are_no_text(data: bytes) -> None:
    detokenizer = Detokenizer(from_bytes)
    received = "".join(detokenizer.push(byte) for byte in data) + detokenizer.flush()
    assert received.replace("\ufffd", "") == data.decode("utf-8", errors="ignore").replace("\ufffd", "")


def test_complete_part_of_a_token_is_not_held_back() -> None:
    pieces = {0: b"x = '\xf0\x9f", 1: b"\x99\x82'"}
    detokenizer = Detokenizer(lambda tokens: b"".join(pieces[one] for one in tokens).decode(errors="replace"))
    assert detokenizer.push(0) == "x = '"
    assert detokenizer.push(1) == "🙂'"


def test_space_between_words_is_kept_and_needs_no_later_token() -> None:
    detokenizer = Detokenizer(from_words, context=[5, 6])
    assert [detokenizer.push(token) for token in (1, 2, 3)] == [" w1", " w2", " w3"]


def test_incomplete_character_at_the_end_is_shown() -> None:
    detokenizer = Detokenizer(from_bytes)
    assert detokenizer.push(0xF0) == ""
    assert detokenizer.flush() == "\ufffd"


def test_carriage_return_comes_at_once() -> None:
    detokenizer = Detokenizer(from_bytes)
    assert [detokenizer.push(byte) for byte in b"a\r\nb"] == ["a", "\r", "\n", "b"]


@given(
    st.lists(st.text("ab`\n", max_size=4), max_size=20), st.lists(st.text("ab`\n", min_size=1, max_size=4), max_size=3)
)
def test_stream_is_cut_before_the_first_stop_string(pieces: list[str], stops: list[str]) -> None:
    matcher = StopStrings(stops)
    received = ""
    for piece in pieces:
        received += matcher.push(piece)
        if matcher.found:
            break
    received += matcher.flush()
    whole = "".join(pieces)
    positions = [whole.find(stop) for stop in stops if stop in whole]
    if not positions:
        assert received == whole
        assert not matcher.found
    else:
        assert matcher.found
        assert whole.startswith(received)
        assert not any(stop in received for stop in stops)


@pytest.mark.parametrize("pieces", [["a`", "``b"], ["a```"], ["a", "`", "`", "`"], ["a`", "`", "`bc"]])
def test_no_part_of_a_stop_string_is_emitted(pieces: list[str]) -> None:
    matcher = StopStrings(["```"])
    received = "".join(matcher.push(piece) for piece in pieces)
    assert received == "a"
    assert matcher.found


def test_what_only_looked_like_a_stop_string_is_emitted_at_once() -> None:
    matcher = StopStrings(["```", "\n### User:"])
    assert matcher.push("x\n#") == "x"
    assert matcher.push(" comment") == "\n# comment"
    assert matcher.push("``") == ""
    assert matcher.flush() == "``"
