"""Keeps the index beside the journal: opens it in the background, feeds it, rebuilds it.

Whatever happens to the index, searches are answered: by the vectors in memory until a task is
indexed, and for all tasks while the index is unwell.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from core.knowledge.embedder import Vectors
from core.knowledge.exact import VectorTable

_PACKAGE_ROOT = Path(__file__).resolve().parents[2]
"""Where `core` lies: the checkout, or the bundle of an installed wheel."""
_BATCH = 50
"""Tasks per upsert: Chroma holds the interpreter's lock for 12 to 18 ms then, for a quarter of a second with 1,000."""
_REPAIRS = 2
_CALM = 0.5
"""Seconds without a change."""
_MOST_PENDING = 1000


class IndexUnwell(Exception):
    """The index cannot be used; the journal has everything, and the index can be built anew."""


class OpenIndex(Protocol):
    """What the keeper needs of an index; every method may raise `IndexUnwell`."""

    def query(self, vector: Vectors, limit: int) -> list[str]:
        """Return the ids of up to `limit` nearest tasks, the nearest first."""
        ...

    def upsert(self, ids: Sequence[str], sequences: Sequence[int], vectors: Vectors) -> None:
        """Add or replace tasks."""
        ...

    def delete(self, ids: Sequence[str]) -> None:
        """Remove tasks."""
        ...

    def close(self) -> None:
        """Close the files."""
        ...


class IndexKeeper:
    """Owns the index and the thread that cares for it."""

    def __init__(
        self,
        *,
        journal: Path,
        root: Path,
        fingerprint: str,
        table: VectorTable,
        prepare: Callable[[], None],
        on_change: Callable[[], None],
    ) -> None:
        """Begin to open the index below `root`.

        Args:
            journal: The file it is an index of.
            root: Its folder; created if there is none.
            fingerprint: The embedder of the vectors.
            table: All vectors; changed before `note` is called.
            prepare: Done first on the thread.
            on_change: Called on the thread when `state` has changed.
        """
        self._journal = journal
        self._root = root
        self._fingerprint = fingerprint
        self._table = table
        self._prepare = prepare
        self._on_change = on_change
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._settled = threading.Event()
        self._stopping = False
        self._index: OpenIndex | None = None
        self._pending: set[str] = set()
        """Tasks that the open index lacks, has in an earlier form, or should no longer have."""
        self._child: subprocess.Popen[str] | None = None
        self.state = "starting"
        """`starting`, `ready`, `rebuilding` or `failed`."""
        self.detail: str | None = None
        """For people: how far, or why not."""
        self._thread = threading.Thread(target=self._run, name="index", daemon=True)
        self._thread.start()

    def candidates(self, vector: Vectors, limit: int) -> list[str] | None:
        """Return ids among which are the `limit` nearest tasks, or None if the index cannot say."""
        with self._lock:
            index, pending = self._index, list(self._pending)
        if index is None:
            return None
        try:
            return index.query(vector, limit) + pending
        except IndexUnwell as error:
            self._drop(index, error)
            return None

    def note(self, task_ids: Sequence[str]) -> None:
        """Learn that tasks were added to the table, changed in it or removed from it."""
        with self._lock:
            self._pending.update(task_ids)
            if self.state != "failed":
                self._settled.clear()
        self._wake.set()

    def settle(self, timeout: float) -> bool:
        """Wait until the index has everything or has failed; return False after `timeout` seconds."""
        return self._settled.wait(timeout)

    def close(self) -> None:
        """Stop the thread and close the index."""
        with self._lock:
            self._stopping = True
            child = self._child
        self._wake.set()
        if child is not None:
            child.kill()
        self._thread.join()

    # --- on the thread --------------------------------------------------------------------

    def _run(self) -> None:
        problem = None
        try:
            problem = self._work()
        except Exception as error:  # noqa: BLE001 - the thread's boundary: whatever it was, exact search goes on answering
            problem = str(error)
        with self._lock:
            index, self._index = self._index, None
        if index is not None:
            index.close()
        if problem and not self._stopping:
            self._tell("failed", f"{problem}. Tasks are found by exact search meanwhile. Try again with: {_RESTART}")
        self._settled.set()

    def _work(self) -> str | None:
        """Keep the index until the store closes; return why that was given up, if it was."""
        self._prepare()
        for _ in range(1 + _REPAIRS):
            self._open()
            self._feed_until_unwell()
            if self._stopping:
                return None
        return self.detail

    def _open(self) -> None:
        """Bring the index on disk up to date in a child process, then open it here.

        The child first tries to go on with the index there is. If that ends the child, the
        index is not looked at again but built anew.
        """
        try:
            folder, sequence = self._in_child("refresh")
        except IndexUnwell:
            folder, sequence = self._in_child("rebuild")
        from core.knowledge.index import Index  # noqa: PLC0415 - a second of import, off everybody's path

        index = Index(folder, self._fingerprint)
        try:
            index.load()
        except IndexUnwell as error:
            index.close()
            self._tell("rebuilding", f"the index failed ({error})")
            return
        with self._lock:
            self._index = index
            # What the child has indexed is not indexed again: Chroma's graph may lose a vector that is replaced.
            self._pending -= set(self._table.rows(list(self._pending))[0])
            self._pending.update(self._table.newer_than(sequence))
        self._wake.set()
        self._tell("ready", None)

    def _in_child(self, action: str) -> tuple[Path, int]:
        if self._stopping:
            raise IndexUnwell("the store is closing")
        arguments = [action, str(self._journal), str(self._root), self._fingerprint]
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "core.knowledge.index", *arguments],
            stdin=subprocess.PIPE,  # its end tells the child that this process has gone
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # one pipe to read, so that neither can fill up unread
            text=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "PYTHONPATH": str(_PACKAGE_ROOT), "ANONYMIZED_TELEMETRY": "False"},
        )
        with self._lock:
            self._child = child
        if self._stopping:
            child.kill()
        try:
            return self._follow(child)
        finally:
            with self._lock:
                self._child = None

    def _follow(self, child: subprocess.Popen[str]) -> tuple[Path, int]:
        """Report what the child says until it ends; return what it came to."""
        result, last_words = None, "it said nothing"
        for line in child.stdout or ():
            said = _parse(line)
            if said is None:
                last_words = line.strip() or last_words
            elif "folder" in said:
                result = Path(said["folder"]), int(said["sequence"])
            else:
                self._tell("rebuilding", f"{said['fraction']:.0%} of the tasks are indexed")
        status = child.wait()
        if result is None or status != 0:
            raise IndexUnwell(f"the index cannot be made (status {status}: {last_words})")
        return result

    def _feed_until_unwell(self) -> None:
        while not self._stopping:
            with self._lock:
                index, some = self._index, sorted(self._pending)[:_BATCH]
                if index is not None and not some:
                    self._settled.set()
            if index is None:
                return
            if not some:
                self._wait_for_calm()
                continue
            try:
                self._feed(index, some)
            except IndexUnwell as error:
                self._drop(index, error)
                index.close()
                return

    def _wait_for_calm(self) -> None:
        """Wait until something has changed and then nothing for a moment: indexing slows teaching down."""
        self._wake.wait()
        while not self._stopping and len(self._pending) < _MOST_PENDING:
            self._wake.clear()
            if not self._wake.wait(_CALM):
                return
        self._wake.clear()

    def _feed(self, index: OpenIndex, some: list[str]) -> None:
        ids, sequences, vectors = self._table.rows(some)
        if ids:
            index.upsert(ids, sequences, vectors)
        index.delete([one for one in some if one not in ids])
        with self._lock:
            # What changed while it was being indexed stays pending.
            before = dict(zip(ids, sequences, strict=True))
            now_ids, now_sequences, _ = self._table.rows(some)
            now = dict(zip(now_ids, now_sequences, strict=True))
            self._pending -= {one for one in some if now.get(one) == before.get(one)}

    def _drop(self, index: OpenIndex, error: IndexUnwell) -> None:
        """Use the index no more; the thread repairs it."""
        with self._lock:
            if self._index is not index:
                return
            self._index = None
            self._settled.clear()
        self._tell("rebuilding", f"the index failed ({error})")
        self._wake.set()

    def _tell(self, state: str, detail: str | None) -> None:
        self.state, self.detail = state, detail
        self._on_change()


_RESTART = "ai-codegen-assistant stop"


def _parse(line: str) -> dict[str, Any] | None:
    """Return the object on the line, or None if it is a library that speaks."""
    try:
        said = json.loads(line)
    except json.JSONDecodeError:
        return None
    return said if isinstance(said, dict) else None
