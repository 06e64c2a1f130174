"""How alike a request and a stored task are: pure functions from words and cosines to 0..1.

Three observations, each measured on rewordings of known tasks against tasks nobody stored,
make up the similarity:

1. The cosine of sentence embeddings sees the meaning. The Dice coefficient of letter trigrams
   sees the wording, survives inflection and typing errors, and needs no statistics of the
   store. Words that merely ask for code are left out (`subject`).
2. Two requests may differ in a single word that turns the task around (`contrasts.toml`).
3. The same number means less where everything is alike, so a match is also measured against
   the crowd of the next best ones, as in Lowe's ratio test for image features.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources

from core.knowledge.subject import subject_of

WORDING_WEIGHT = 0.2
"""Share of the wording in the similarity of a pair; the rest is meaning."""
CONTRAST_FACTOR = 0.75
"""What is left of the similarity for each contrast, of which two count."""
CROWD = 10
"""How many of the next best matches make up the crowd."""
CROWD_WEIGHT = 0.5
"""Share of the comparison with the crowd."""
EMPTY_CROWD = 0.35
"""Similarity of an unrelated task: stands in for those that a small store lacks."""

_WORD = re.compile(r"[^\W_]+")
_EXAMPLE = re.compile(
    r"\bexamples?\b\s*\d*\s*:|\bfor examples?\b|\be\.g\.|>>>|\[input/output\]|==|=>|- ?>|= =|➞|\bassert ", re.IGNORECASE
)
_EXAMPLE_SIGNS = ("example", "e.g.", ">", "=", "[", "\u279e", "assert ")
"""One of these is part of every mark of an example, and found, or not, in a tenth of the time."""
_SHORTEST_PROSE = 25
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """How alike a request and one task are, and why."""

    meaning: float
    """Cosine of the embeddings; 1 where both are about the same in the same words."""
    wording: float
    """Dice coefficient of the letter trigrams, 0 to 1."""
    contrasts: tuple[tuple[str, str], ...]
    """Words of the request, each with the word that stands in the task instead."""

    @property
    def similarity(self) -> float:
        """From 0 to 1, regardless of all other tasks."""
        mixed = (1 - WORDING_WEIGHT) * self.meaning + WORDING_WEIGHT * self.wording
        return self._less_contrasts(mixed)

    @property
    def alike_in_meaning(self) -> float:
        """The same with no regard to the wording."""
        return self._less_contrasts(self.meaning)

    def _less_contrasts(self, value: float) -> float:
        return min(1.0, max(0.0, value)) * CONTRAST_FACTOR ** min(2, len(self.contrasts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What is compared of a task."""

    description: str
    cosine: float
    """Of the embeddings of the request and the description."""


def compare(query: str, candidates: Sequence[Candidate]) -> list[Pair]:
    """Compare a request with candidates."""
    asked = _features(query)
    return [_compare(asked, _features(one.description), one.cosine) for one in candidates]


def against_crowd(similarities: Sequence[float]) -> list[float]:
    """Measure similarities, most similar first, against those that follow the first.

    Order and range (0 to 1) stay; 1 stays 1, and what is no better than the crowd is halved.
    """
    following = list(similarities[1 : 1 + CROWD])
    following += [EMPTY_CROWD] * (CROWD - len(following))
    distance = max(1e-6, 1 - sum(following) / CROWD)
    return [(1 - CROWD_WEIGHT) * one + CROWD_WEIGHT * max(0.0, 1 - (1 - one) / distance) for one in similarities]


def prose(query: str) -> str:
    """Return a request or a description without the examples at its end, if it has some."""
    small = query.lower()
    example = _EXAMPLE.search(query) if any(sign in small for sign in _EXAMPLE_SIGNS) else None
    return query[: example.start()] if example and example.start() >= _SHORTEST_PROSE else query


_Alternatives = dict[int, dict[int | str, str]]
"""Per group of contrasts that occurs: the alternatives that occur, each with the word that says it."""
_NUMBERS = -1
"""The group of numbers in digits, which the file of contrasts need not list."""


@dataclass(frozen=True, slots=True)
class _Features:
    words: tuple[str, ...]
    trigrams: frozenset[str]
    alternatives: _Alternatives


@lru_cache(maxsize=_REMEMBERED)
def _features(text: str) -> _Features:
    words = _WORD.findall(subject_of(prose(text)).lower())
    return _Features(
        words=tuple(words),
        trigrams=_trigrams(words),
        alternatives=_alternatives(words),
    )


def _trigrams(words: Sequence[str]) -> frozenset[str]:
    """Return the trigrams of all words, each with a blank on either side."""
    return frozenset[str]().union(*map(_trigrams_of, words))


@lru_cache(maxsize=_REMEMBERED)
def _trigrams_of(word: str) -> frozenset[str]:
    return frozenset(f" {word} "[start : start + 3] for start in range(len(word)))


def _dice(one: frozenset[str], other: frozenset[str]) -> float:
    total = len(one) + len(other)
    return 2 * len(one & other) / total if total else 0.0


def _compare(asked: _Features, stored: _Features, cosine: float) -> Pair:
    return Pair(
        meaning=1.0 if asked.words == stored.words != () else cosine,
        wording=_dice(asked.trigrams, stored.trigrams),
        contrasts=_clashes(asked.alternatives, stored.alternatives),
    )


def _alternatives(words: Sequence[str]) -> _Alternatives:
    found: _Alternatives = {}
    for word in words:
        for group, alternative in _groups_of(word):
            found.setdefault(group, {}).setdefault(alternative, word)
    return found


@lru_cache(maxsize=_REMEMBERED)
def _groups_of(word: str) -> Sequence[tuple[int, int | str]]:
    """Return the groups that a word is in, each with the alternative that it says."""
    vocabulary = _contrasts()
    if word.isdecimal() and word not in vocabulary:
        return [(_NUMBERS, word.lstrip("0"))]
    return vocabulary.get(word) or vocabulary.get(word.removesuffix("s")) or []


def _clashes(asked: _Alternatives, stored: _Alternatives) -> tuple[tuple[str, str], ...]:
    clashes = []
    for group in sorted(asked.keys() & stored.keys()):
        ours, theirs = asked[group], stored[group]
        only_ours = [word for alternative, word in ours.items() if alternative not in theirs]
        only_theirs = [word for alternative, word in theirs.items() if alternative not in ours]
        if only_ours and only_theirs:
            clashes.append((only_ours[0], only_theirs[0]))
    return tuple(clashes)


@cache
def _contrasts() -> dict[str, list[tuple[int, int | str]]]:
    """Return, per word, the groups it is in and which alternative of each."""
    text = resources.files("core.knowledge").joinpath("data", "contrasts.toml").read_text("utf-8")
    vocabulary: dict[str, list[tuple[int, int | str]]] = {}
    for number, group in enumerate(tomllib.loads(text)["groups"]):
        for alternative, words in enumerate(group):
            for word in words.split():
                vocabulary.setdefault(word, []).append((number, alternative))
    return vocabulary
