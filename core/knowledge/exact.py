"""Exact search over vectors in memory: the answer whenever the index is not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.knowledge.embedder import Vectors
from core.knowledge.journal import Entry
from core.messages import Origin


class VectorTable:
    """Unit vectors of living tasks, one row each, in a matrix that grows by doubling.

    A removed row is zeroed and used again, so that a row's number means one task at a time.
    """

    def __init__(self, dimension: int) -> None:
        self._vectors = np.zeros((256, dimension), np.float32)
        self._entries: list[Entry | None] = []
        self._rows: dict[str, int] = {}
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._rows

    def fill(self, entries: Sequence[Entry], vectors: Vectors) -> None:
        """Add many new tasks at once: `vectors` has one row per entry."""
        first, end = len(self._entries), len(self._entries) + len(entries)
        self._reserve(end)
        self._vectors[first:end] = vectors
        self._entries.extend(entries)
        self._rows.update((entry.id, first + i) for i, entry in enumerate(entries))

    def put(self, entry: Entry, vector: Vectors) -> None:
        """Add a task, or replace it."""
        row = self._rows.get(entry.id)
        if row is None:
            row = self._free.pop() if self._free else self._new_row()
        self._vectors[row] = vector
        self._entries[row] = entry
        self._rows[entry.id] = row

    def remove(self, task_id: str) -> None:
        """Remove a task; one that is not there is no matter."""
        row = self._rows.pop(task_id, None)
        if row is not None:
            self._vectors[row] = 0
            self._entries[row] = None
            self._free.append(row)

    def entry(self, task_id: str) -> Entry | None:
        """Return what is known of a task, if it is here."""
        row = self._rows.get(task_id)
        return None if row is None else self._entries[row]

    def entries(self) -> list[Entry]:
        """Return all entries."""
        return [entry for entry in self._entries if entry is not None]

    def vectors(self, task_ids: Sequence[str]) -> Vectors:
        """Return the vectors of tasks that are here: shape (len(task_ids), dimension)."""
        return self._vectors[[self._rows[one] for one in task_ids]]

    def similarities(self, query: Vectors, task_ids: Sequence[str]) -> list[tuple[str, float]]:
        """Return the cosine similarity to each of `task_ids` that is here, most similar first."""
        known = [one for one in task_ids if one in self._rows]
        if not known:
            return []
        return _sorted(known, self.vectors(known) @ query)

    def search(
        self, query: Vectors, limit: int, *, language: str | None = None, origin: Origin | None = None
    ) -> list[tuple[str, float]]:
        """Return up to `limit` tasks by cosine similarity to `query` (a unit vector), most similar first.

        Equal similarities are ordered by id, so that the same store always answers the same.
        """
        size = len(self._entries)
        scores = self._vectors[:size] @ query
        living = np.fromiter((_wanted(entry, language, origin) for entry in self._entries), np.bool_, size)
        rows = np.flatnonzero(living)
        if len(rows) > limit:
            rows = rows[np.argpartition(-scores[rows], limit - 1)[:limit]]
        ids = [entry.id for row in rows if (entry := self._entries[row]) is not None]
        return _sorted(ids, scores[rows])

    def _new_row(self) -> int:
        self._reserve(len(self._entries) + 1)
        self._entries.append(None)
        return len(self._entries) - 1

    def _reserve(self, size: int) -> None:
        capacity, dimension = self._vectors.shape
        if size > capacity:
            grown = np.zeros((max(size, 2 * capacity), dimension), np.float32)
            grown[:capacity] = self._vectors
            self._vectors = grown


def _wanted(entry: Entry | None, language: str | None, origin: Origin | None) -> bool:
    return (
        entry is not None
        and (language is None or entry.language == language)
        and (origin is None or entry.origin is origin)
    )


def _sorted(ids: Sequence[str], scores: NDArray[np.float32]) -> list[tuple[str, float]]:
    pairs = zip(ids, scores.tolist(), strict=True)
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))
