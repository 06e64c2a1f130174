"""What a person has said in passing: a name, a rule, a deadline, beside all that was asked.

A small model's summary of a conversation tells of the code and forgets these, so they are kept
word for word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from core.routing.form import read_form

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_FEWEST_WORDS = 4
"""Of a statement; "thank you very" and shorter says nothing that would be asked for later."""


def notes_of(messages: Sequence[str]) -> list[str]:
    """Return the sentences of a person's messages that state something, each once, oldest first."""
    sentences = (one.strip() for message in messages for one in _SENTENCE.split(message))
    return list(dict.fromkeys(one for one in sentences if _states(one)))


def _states(sentence: str) -> bool:
    """Whether a sentence is neither a question nor a request."""
    form = read_form(sentence)
    return form.words >= _FEWEST_WORDS and not (form.question or form.action or form.opener)
