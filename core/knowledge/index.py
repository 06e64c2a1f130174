"""The Chroma index over the journal; the only module that imports chromadb.

Run as a program, it brings the index on disk up to date with the journal: checking a damaged
index may end the process that does it, and building one holds the interpreter's lock for
long, so both happen in a process of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
from chromadb.config import Settings
from chromadb.utils.embedding_functions import register_embedding_function

from core.knowledge.embedder import Vectors
from core.knowledge.exact import Rows
from core.knowledge.indexing import IndexUnwell
from core.knowledge.journal import read_rows

SCHEMA_VERSION = 1
BATCH = 1000
"""Tasks per write when an index is built, where nobody waits; Chroma takes at most 5,461."""
_PAGE = 10_000
"""Tasks per read: Chroma puts each into one statement of SQL, whose variables are limited."""
_POINTER = "current"
_SEARCH_WIDTH = 100
"""`ef_search`: of the 25 nearest of 1,000,000 tasks, 99.98 % are found; twice as much takes 0.8 ms and finds no more."""
_LOG_ONLY_LIMIT = 20_000
_LOG_ONLY = 1_000_000_000
_SAVE_EVERY = 20_000
"""`sync_threshold`. Chroma's save rewrites files in place, and a kill within it breaks the store; below
`_LOG_ONLY_LIMIT` tasks it is never needed, since replaying the log takes a second or two."""


class Index:
    """An open collection. Usable from several threads, but by one process at a time."""

    def __init__(self, folder: Path, fingerprint: str, *, create: bool = False) -> None:
        """Open the index in `folder`.

        Raises:
            IndexUnwell: There is none, it is damaged, or it is of another embedder or version.
        """
        with _reporting():
            self._client = chromadb.PersistentClient(str(folder), Settings(anonymized_telemetry=False))
            name = f"tasks-v{SCHEMA_VERSION}-{fingerprint}"
            if create:
                configuration: Any = {"hnsw": {"space": "cosine"}}
                self._collection = self._client.create_collection(
                    name, embedding_function=_NoEmbedding(), configuration=configuration
                )
            else:
                self._collection = self._client.get_collection(name, embedding_function=_NoEmbedding())

    def load(self) -> None:
        """Have everything read that searching needs: up to two seconds, for which the first search would wait.

        Raises:
            IndexUnwell: It cannot be searched.
        """
        with _reporting():
            some = self._collection.get(include=["embeddings"], limit=1)["embeddings"]
        if some is not None and len(some) > 0:
            self.query(np.asarray(some[0], np.float32), 1)

    def query(self, vector: Vectors, limit: int) -> list[str]:
        """Return the ids of up to `limit` nearest tasks, the nearest first.

        Raises:
            IndexUnwell: It cannot be searched.
        """
        with _reporting():
            found = self._collection.query(query_embeddings=vector[np.newaxis], n_results=limit, include=[])
            return list(found["ids"][0])

    def upsert(self, ids: Sequence[str], sequences: Sequence[int], vectors: Vectors) -> None:
        """Add or replace tasks, at most `BATCH` at once.

        Raises:
            IndexUnwell: They could not be stored.
        """
        with _reporting():
            self._collection.upsert(
                ids=list(ids), embeddings=vectors, metadatas=[{"sequence": sequence} for sequence in sequences]
            )

    def delete(self, ids: Sequence[str]) -> None:
        """Remove tasks.

        Raises:
            IndexUnwell: They could not be removed.
        """
        with _reporting():
            for start in range(0, len(ids), BATCH):
                self._collection.delete(ids=list(ids[start : start + BATCH]))

    def sequences(self) -> dict[str, int]:
        """Return what is indexed, having read every vector: the check that finds silent losses.

        Raises:
            IndexUnwell: Something is missing or damaged.
        """
        sequences: dict[str, int] = {}
        with _reporting():
            for start in range(0, self._collection.count(), _PAGE):
                found = self._collection.get(include=["embeddings", "metadatas"], limit=_PAGE, offset=start)
                metadatas = found["metadatas"] or []
                sequences |= {
                    one: int(str(meta["sequence"])) for one, meta in zip(found["ids"], metadatas, strict=True)
                }
        return sequences

    def expect(self, count: int) -> None:
        """Choose, for a store of `count` tasks, how often the index saves itself and how widely it searches.

        It holds from the next opening on.
        """
        with _reporting():
            threshold = _LOG_ONLY if count < _LOG_ONLY_LIMIT else _SAVE_EVERY
            self._collection.modify(configuration={"hnsw": {"sync_threshold": threshold, "ef_search": _SEARCH_WIDTH}})

    def close(self) -> None:
        """Close the files."""
        self._client.close()  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What `refresh` or `rebuild` has done."""

    folder: Path
    sequence: int
    """Everything in the journal up to this change is indexed."""


def current(root: Path) -> Path | None:
    """Return the folder that the pointer below `root` names, if there is one."""
    try:
        name = (root / _POINTER).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    folder = root / name
    return folder if name and folder.parent == root and folder.is_dir() else None


def refresh(root: Path, rows: Rows, fingerprint: str, report: Callable[[float], None]) -> Refreshed:
    """Check the current index against the journal's `rows` and bring it up to date.

    Raises:
        IndexUnwell: There is none, or it must be rebuilt.
    """
    folder = current(root)
    if folder is None:
        raise IndexUnwell("there is no index yet")
    index = Index(folder, fingerprint)
    try:
        index.expect(len(rows.ids))
        present = index.sequences()
        living = set(rows.ids)
        index.delete([one for one in present if one not in living])
        behind = [i for i, one in enumerate(rows.ids) if present.get(one) != rows.sequences[i]]
        _upsert(index, rows, behind, report)
    finally:
        index.close()
    return Refreshed(folder, max(rows.sequences, default=0))


def rebuild(root: Path, rows: Rows, fingerprint: str, report: Callable[[float], None]) -> Refreshed:
    """Build a new index from the journal's `rows`, then switch to it and remove all others.

    Raises:
        IndexUnwell: It cannot be built, for example because the disk is full.
    """
    folder = root / f"v{SCHEMA_VERSION}-{fingerprint}-{uuid.uuid4().hex[:8]}"
    with _reporting():
        folder.mkdir(parents=True)
    index = Index(folder, fingerprint, create=True)
    try:
        index.expect(len(rows.ids))
        _upsert(index, rows, range(len(rows.ids)), report)
        if len(index.sequences()) != len(rows.ids):
            raise IndexUnwell("the new index lacks tasks")
    finally:
        index.close()
    with _reporting():
        _switch(root, folder)
    return Refreshed(folder, max(rows.sequences, default=0))


def main(arguments: Sequence[str]) -> int:
    """Refresh or rebuild the index, as `indexing` asks; progress and result go to stdout as JSON lines."""
    action, journal, root, fingerprint = arguments
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    rows = read_rows(Path(journal), fingerprint)
    if hasattr(os, "nice"):
        os.nice(10)  # nobody waits for it
    try:
        done = _bring_up_to_date(action, Path(root), rows, fingerprint)
    except IndexUnwell as error:
        sys.stderr.write(f"{error}\n")
        return 1
    _say(folder=str(done.folder), sequence=done.sequence)
    return 0


def _bring_up_to_date(action: str, root: Path, rows: Rows, fingerprint: str) -> Refreshed:
    def report(fraction: float) -> None:
        _say(fraction=fraction)

    if action == "refresh":
        try:
            return refresh(root, rows, fingerprint, report)
        except IndexUnwell as error:
            sys.stderr.write(f"{error}\n")
    return rebuild(root, rows, fingerprint, report)


def _upsert(index: Index, rows: Rows, numbers: Sequence[int], report: Callable[[float], None]) -> None:
    for start in range(0, len(numbers), BATCH):
        some = list(numbers[start : start + BATCH])
        index.upsert([rows.ids[i] for i in some], [rows.sequences[i] for i in some], rows.vectors[some])
        report((start + len(some)) / len(numbers))


def _switch(root: Path, folder: Path) -> None:
    pointer = root / f"{_POINTER}.new"
    with pointer.open("w", encoding="utf-8") as file:
        file.write(folder.name)
        file.flush()
        os.fsync(file.fileno())
    pointer.replace(root / _POINTER)
    for other in root.iterdir():
        if other.is_dir() and other != folder:
            shutil.rmtree(other, ignore_errors=True)


def _say(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def _leave_with_parent() -> None:
    """End this process when the one that started it has gone: two must never hold the index."""
    # Unbuffered: a thread that waits inside a buffered read would break the interpreter's shutdown.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(2)


@register_embedding_function
class _NoEmbedding(chromadb.EmbeddingFunction[Any]):
    """Refuses: without one, Chroma would download a model for any text it is given."""

    def __init__(self) -> None:
        pass

    def __call__(self, input: Any) -> Any:  # noqa: A002 - Chroma checks the parameter's name
        raise RuntimeError("vectors are made by core.knowledge.embedder")

    @staticmethod
    def name() -> str:
        return "ai-codegen-assistant"

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> _NoEmbedding:  # noqa: ARG004 - there is nothing to configure
        return _NoEmbedding()

    def get_config(self) -> dict[str, Any]:
        return {}


@contextmanager
def _reporting() -> Iterator[None]:
    try:
        yield
    except IndexUnwell:
        raise
    except BaseException as error:
        # Chroma raises what its layers meet (ChromaError, ValueError, AttributeError once closed,
        # sqlite3 errors), and its Rust part panics with a BaseException.
        if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
            raise
        raise IndexUnwell(f"{type(error).__name__}: {error}") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
