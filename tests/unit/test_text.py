from __future__ import annotations

import pytest

from core.errors import InvalidParams
from core.text import check_text


@pytest.mark.parametrize("text", ["plain", "tabs\tand\nlines\r\n", "emoji 🙂 and ü", "form feed \f"])
def test_ordinary_text_is_accepted(text: str) -> None:
    check_text("query", text, 100)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        (" \n\t", "is empty"),
        ("x" * 101, "101 characters; at most 100"),
        ("a\x00b", "control character '\\x00' at position 1"),
        ("half \ud83d pair", "half a character ('\\ud83d') at position 5"),
    ],
)
def test_what_is_no_text_is_refused_with_its_place(text: str, words: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        check_text("query", text, 100)
    assert caught.value.message.startswith("query: ")
    assert words in caught.value.message
