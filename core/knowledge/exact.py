"""Exact search over vectors in memory: the answer whenever the index is not."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.knowledge.embedder import Vectors
from core.messages import Origin

_ORIGINS = tuple(Origin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What a search needs to know of tasks, column by column: everything but their texts."""

    ids: list[str]
    sequences: list[int]
    """Number of the change that made each what it is; larger is later."""
    languages: list[str]
    origins: list[Origin]
    vectors: Vectors
    """Shape (len(ids), dimension), unit length."""


class VectorTable:
    """Unit vectors of living tasks, one row each, in a matrix that grows by doubling.

    A removed row is used again, so that a row's number means one task at a time. Usable from
    several threads.
    """

    def __init__(self, dimension: int) -> None:
        self._lock = threading.Lock()
        self._vectors = np.zeros((256, dimension), np.float32)
        self._sequences = np.zeros(256, np.int64)
        self._languages = np.zeros(256, np.int32)
        """0 where a row is free."""
        self._origins = np.zeros(256, np.int8)
        self._ids: list[str] = []
        self._rows: dict[str, int] = {}
        self._free: list[int] = []
        self._language_codes: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, rows: Rows) -> None:
        """Add tasks, or replace those that are here."""
        with self._lock:
            self._reserve(len(self._ids) + len(rows.ids))
            numbers = [self._row_of(task_id) for task_id in rows.ids]
            self._vectors[numbers] = rows.vectors
            self._sequences[numbers] = rows.sequences
            self._languages[numbers] = [self._code(language) for language in rows.languages]
            self._origins[numbers] = [_ORIGINS.index(origin) for origin in rows.origins]

    def remove(self, task_id: str) -> None:
        """Remove a task; one that is not here is no matter."""
        with self._lock:
            row = self._rows.pop(task_id, None)
            if row is not None:
                self._sequences[row] = self._languages[row] = 0
                self._free.append(row)

    def newer_than(self, sequence: int) -> list[str]:
        """Return the ids of tasks that were changed after `sequence`."""
        with self._lock:
            return [self._ids[row] for row in np.flatnonzero(self._sequences > sequence)]

    def rows(self, task_ids: Sequence[str]) -> tuple[list[str], list[int], Vectors]:
        """Return ids, sequences and vectors of those of `task_ids` that are here."""
        with self._lock:
            ids = [one for one in task_ids if one in self._rows]
            numbers = [self._rows[one] for one in ids]
            return ids, self._sequences[numbers].tolist(), self._vectors[numbers]

    def count(self, *, language: str | None = None, origin: Origin | None = None) -> int:
        """Return how many tasks there are in this language and from this origin."""
        if language is None and origin is None:
            return len(self)
        with self._lock:
            return int(np.count_nonzero(self._wanted(slice(len(self._ids)), language, origin)))

    def similarities(
        self, query: Vectors, task_ids: Sequence[str], *, language: str | None = None, origin: Origin | None = None
    ) -> list[tuple[str, float]]:
        """Return the cosine similarity to each of `task_ids` that is here and wanted, most similar first."""
        with self._lock:
            rows = np.array([row for one in set(task_ids) if (row := self._rows.get(one)) is not None], np.intp)
            rows = rows[self._wanted(rows, language, origin)]
            return _sorted([self._ids[row] for row in rows], self._vectors[rows] @ query)

    def search(
        self, query: Vectors, limit: int, *, language: str | None = None, origin: Origin | None = None
    ) -> list[tuple[str, float]]:
        """Return up to `limit` tasks by cosine similarity to `query` (a unit vector), most similar first.

        Equal similarities are ordered by id, so that the same store always answers the same.
        """
        with self._lock:
            size = len(self._ids)
            rows = np.flatnonzero(self._wanted(slice(size), language, origin))
            # Copying a few rows costs less than multiplying all.
            few = len(rows) < size / 4
            scores = self._vectors[rows] @ query if few else (self._vectors[:size] @ query)[rows]
            if len(rows) > limit:
                # Equals of the last one wanted stay in, for the order among equals to decide.
                last = np.partition(scores, -limit)[-limit]
                kept = scores >= last
                rows, scores = rows[kept], scores[kept]
            ids = [self._ids[row] for row in rows]
        return _sorted(ids, scores)[:limit]

    def _wanted(self, rows: slice | NDArray[np.intp], language: str | None, origin: Origin | None) -> NDArray[np.bool_]:
        languages = self._languages[rows]
        wanted = languages > 0 if language is None else languages == self._language_codes.get(language, -1)
        if origin is not None:
            wanted &= self._origins[rows] == _ORIGINS.index(origin)
        return wanted

    def _row_of(self, task_id: str) -> int:
        row = self._rows.get(task_id)
        if row is None:
            row = self._free.pop() if self._free else self._new_row()
            self._rows[task_id] = row
            self._ids[row] = task_id
        return row

    def _new_row(self) -> int:
        self._ids.append("")
        return len(self._ids) - 1

    def _reserve(self, rows: int) -> None:
        if rows > len(self._vectors):
            capacity = max(rows, 2 * len(self._vectors))
            self._vectors = _grown(self._vectors, capacity)
            self._sequences = _grown(self._sequences, capacity)
            self._languages = _grown(self._languages, capacity)
            self._origins = _grown(self._origins, capacity)

    def _code(self, language: str) -> int:
        return self._language_codes.setdefault(language, len(self._language_codes) + 1)


def _grown(array: NDArray[Any], capacity: int) -> NDArray[Any]:
    grown = np.zeros((capacity, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown


def _sorted(ids: Sequence[str], scores: Vectors) -> list[tuple[str, float]]:
    pairs = zip(ids, scores.tolist(), strict=True)
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))
