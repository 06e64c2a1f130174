"""The form of a query: question, command or comment, read from its first words and its marks."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from core.messages import Intent

_COMMENT = re.compile(r"^\s*(?:#|//|--|\"\"\"|'''|(?:TODO|FIXME|XXX|HACK)\b)")
_NAME = re.compile(r"^\W*\w*(?:[^\W_]_\w|\w\()")
"""A name of something in code at the beginning, such as `explain_plan` or `describe(`, which tells nothing."""
_PERSONAL = re.compile(r"\b(?:i['\u2019](?:m|ve|d|ll)|my|me|myself|i [a-z]+)\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_READ = 1000
"""Characters looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What the form of a query says about its intent."""

    opener: str | None
    """The words it begins with, if they tell an intent."""
    intent: Intent | None
    """The intent that the opener tells."""
    order: bool
    """Whether the opener is an order and no question."""
    action: bool
    """Whether it begins with what code is told to do, and with no opener."""
    question: bool
    """Whether it ends with a question mark."""
    comment: bool
    """Whether it begins with the mark of a comment or of something left to do."""
    personal: bool
    """Whether who asks speaks of themselves."""
    words: int
    """How many words it has."""


def read_form(query: str) -> Form:
    """Return the form of a query."""
    words = every = _words(query)
    while words and (polite := _match(words, _sayings().polite)):
        rest = words[len(polite.split()) :]
        if not rest:
            break
        words = rest
    opener, intent = None, None
    if _NAME.match(query):
        words = []
    for candidate, openers in _sayings().openers.items():
        found = _match(words, openers)
        if found and len(found) > len(opener or ""):
            opener, intent = found, candidate
    return Form(
        opener=opener,
        intent=intent,
        order=opener in _sayings().orders,
        action=opener is None and _match(words, _sayings().actions) is not None,
        question=query.rstrip().endswith("?"),
        comment=bool(_COMMENT.match(query)),
        personal=bool(_PERSONAL.search(query[:_READ])),
        words=len(every),
    )


def _words(query: str) -> list[str]:
    return [word.lower().replace("\u2019", "'") for word in _WORD.findall(query[:_READ])]


def _match(words: Sequence[str], openings: frozenset[str]) -> str | None:
    """Return the longest of `openings` that the words begin with."""
    longest = max((len(one.split()) for one in openings), default=0)
    starts = (" ".join(words[:length]) for length in range(min(longest, len(words)), 0, -1))
    return next((start for start in starts if start in openings), None)


@dataclass(frozen=True, slots=True)
class _Sayings:
    polite: frozenset[str]
    actions: frozenset[str]
    openers: dict[Intent, frozenset[str]]
    orders: frozenset[str]


@cache
def _sayings() -> _Sayings:
    data = tomllib.loads(resources.files("core.routing").joinpath("data", "form.toml").read_text("utf-8"))
    ask, explain, generate = (frozenset(data["openers"][name]) for name in ("ask", "explain", "generate"))
    return _Sayings(
        polite=frozenset(data["polite"]),
        actions=frozenset(data["actions"]),
        openers={Intent.EXPLAIN: ask | explain, Intent.GENERATE: generate},
        orders=explain | generate,
    )
