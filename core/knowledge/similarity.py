"""How alike a request and a stored task are: pure functions from words and cosines to 0..1.

Three observations, each measured on rewordings of known tasks against tasks nobody stored,
make up the similarity:

1. The cosine of sentence embeddings sees the meaning, yet also finds everything alike that
   begins with "Write a function". The Dice coefficient of letter trigrams sees the wording,
   survives inflection and typing errors, and needs no statistics of the store.
2. Two requests may differ in a single word that turns the task around (`contrasts.toml`).
3. The same number means less where everything is alike, so a match is also measured against
   the crowd of the next best ones, as in Lowe's ratio test for image features.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources

WORDING_WEIGHT = 0.4
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
_SHORTEST_PROSE = 25
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """How alike a request and one task are, and why."""

    meaning: float
    """Cosine of the embeddings."""
    wording: float
    """Dice coefficient of the letter trigrams, 0 to 1."""
    contrasts: tuple[tuple[str, str], ...]
    """Words of the request, each with the word that stands in the task instead."""

    @property
    def similarity(self) -> float:
        """From 0 to 1, regardless of all other tasks."""
        mixed = (1 - WORDING_WEIGHT) * self.meaning + WORDING_WEIGHT * self.wording
        return min(1.0, max(0.0, mixed)) * CONTRAST_FACTOR ** min(2, len(self.contrasts))


def compare(query: str, description: str, cosine: float) -> Pair:
    """Compare a request with a task's description, given the cosine of their embeddings."""
    asked, stored = _features(prose(query)), _features(description)
    return Pair(
        meaning=cosine,
        wording=_dice(asked.trigrams, stored.trigrams),
        contrasts=_clashes(asked.alternatives, stored.alternatives),
    )


def against_crowd(similarities: Sequence[float]) -> list[float]:
    """Measure similarities, most similar first, against those that follow the first.

    Order and range (0 to 1) stay; 1 stays 1, and what is no better than the crowd is halved.
    """
    following = list(similarities[1 : 1 + CROWD])
    following += [EMPTY_CROWD] * (CROWD - len(following))
    distance = max(1e-6, 1 - sum(following) / CROWD)
    return [(1 - CROWD_WEIGHT) * one + CROWD_WEIGHT * max(0.0, 1 - (1 - one) / distance) for one in similarities]


def prose(query: str) -> str:
    """Return the request without the examples at its end, if it has some."""
    example = _EXAMPLE.search(query)
    return query[: example.start()] if example and example.start() >= _SHORTEST_PROSE else query


@dataclass(frozen=True, slots=True)
class _Features:
    trigrams: frozenset[str]
    alternatives: tuple[dict[int, str], ...]
    """Per group of contrasts: the alternatives that occur, each with the word that says it."""


@lru_cache(maxsize=_REMEMBERED)
def _features(text: str) -> _Features:
    words = _WORD.findall(text.lower())
    return _Features(
        trigrams=frozenset(gram for word in words for gram in _trigrams(word)),
        alternatives=_alternatives(words),
    )


def _trigrams(word: str) -> Iterable[str]:
    padded = f" {word} "
    return (padded[i : i + 3] for i in range(len(padded) - 2))


def _dice(one: frozenset[str], other: frozenset[str]) -> float:
    total = len(one) + len(other)
    return 2 * len(one & other) / total if total else 0.0


def _alternatives(words: Sequence[str]) -> tuple[dict[int, str], ...]:
    vocabulary, groups = _contrasts()
    found: tuple[dict[int, str], ...] = tuple({} for _ in range(groups))
    for word in words:
        for group, alternative in vocabulary.get(word) or vocabulary.get(word.removesuffix("s")) or []:
            found[group].setdefault(alternative, word)
    return found


def _clashes(asked: Sequence[dict[int, str]], stored: Sequence[dict[int, str]]) -> tuple[tuple[str, str], ...]:
    clashes = []
    for ours, theirs in zip(asked, stored, strict=True):
        only_ours = [word for alternative, word in ours.items() if alternative not in theirs]
        only_theirs = [word for alternative, word in theirs.items() if alternative not in ours]
        if only_ours and only_theirs:
            clashes.append((only_ours[0], only_theirs[0]))
    return tuple(clashes)


@cache
def _contrasts() -> tuple[dict[str, list[tuple[int, int]]], int]:
    """Return, per word, the groups it is in and which alternative of each; and how many groups there are."""
    text = resources.files("core.knowledge").joinpath("data", "contrasts.toml").read_text("utf-8")
    groups = tomllib.loads(text)["groups"]
    vocabulary: dict[str, list[tuple[int, int]]] = {}
    for number, group in enumerate(groups):
        for alternative, words in enumerate(group):
            for word in words.split():
                vocabulary.setdefault(word, []).append((number, alternative))
    return vocabulary, len(groups)
