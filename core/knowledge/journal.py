"""The journal of solved tasks: an SQLite file, the one place where knowledge is durable.

Every change is on disk before the method that made it returns. No task is ever removed: an
earlier form of a task is kept as a version, and a forgotten task keeps its row. A person's
choices of intents and judgements of answers are kept beside the tasks.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.errors import NotFound, StorageFailed
from core.knowledge.calibration import Calibration
from core.knowledge.embedder import Vectors
from core.knowledge.exact import Rows
from core.knowledge.judgements import Judgement
from core.knowledge.task import Task, now
from core.messages import Intent, Origin, Outcome
from core.routing.feedback import Overrule

SCHEMA_VERSION = 3
_APPLICATION_ID = 0x41434741
"""Marks the file as ours, so that another SQLite database is never taken for a journal."""

_SCHEMA = """
CREATE TABLE task (
    id TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL UNIQUE,
    description TEXT NOT NULL,
    implementation TEXT NOT NULL,
    tests TEXT,
    language TEXT NOT NULL,
    origin TEXT NOT NULL,
    metadata TEXT NOT NULL,
    vector BLOB NOT NULL,
    embedder TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    verified INTEGER NOT NULL,
    forgotten INTEGER NOT NULL
) STRICT;
CREATE TABLE version (
    task_id TEXT NOT NULL REFERENCES task(id),
    sequence INTEGER NOT NULL,
    description TEXT NOT NULL,
    implementation TEXT NOT NULL,
    tests TEXT,
    language TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (task_id, sequence)
) STRICT;
"""

_OVERRULES = """
CREATE TABLE overrule (
    query TEXT PRIMARY KEY,
    intent TEXT NOT NULL,
    vector BLOB NOT NULL,
    embedder TEXT NOT NULL,
    chosen_at TEXT NOT NULL
) STRICT
"""
_JUDGEMENTS = """
CREATE TABLE judgement (
    query TEXT NOT NULL,
    task_id TEXT NOT NULL REFERENCES task(id),
    outcome TEXT NOT NULL,
    vector BLOB NOT NULL,
    embedder TEXT NOT NULL,
    judged_at TEXT NOT NULL,
    PRIMARY KEY (query, task_id)
) STRICT
"""
_MIGRATIONS = {1: _OVERRULES, 2: _JUDGEMENTS}
"""Per version of the schema: what makes the next one of it."""

_CALIBRATION = """
CREATE TABLE IF NOT EXISTS calibration (
    embedder TEXT PRIMARY KEY,
    unrelated REAL NOT NULL,
    related REAL NOT NULL
) STRICT
"""

_COLUMNS = (
    "id, description, implementation, tests, language, origin, metadata, created_at, updated_at, verified, forgotten"
)
_IDS_PER_QUERY = 500


class Journal:
    """Solved tasks on disk. Not thread-safe: the caller makes one call at a time."""

    def __init__(self, path: Path) -> None:
        """Open the journal at `path`, creating it if there is none.

        Raises:
            StorageFailed: The file is damaged, of a newer version, or cannot be written. It is
                left as it is.
        """
        self.path = path
        with self._reporting():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._database.close()
                raise

    def close(self) -> None:
        """Close the file; everything is on disk already."""
        self._database.close()

    # --- reading --------------------------------------------------------------------------

    def get(self, task_id: str) -> Task:
        """Return a task, forgotten or not.

        Raises:
            NotFound: There is none of this id.
        """
        found = self.get_many([task_id])
        if not found:
            raise NotFound(f"There is no task {task_id!r}. List the tasks with: ai-codegen-assistant tasks list")
        return found[0]

    def get_many(self, task_ids: Sequence[str]) -> list[Task]:
        """Return the tasks that exist among `task_ids`, in their order."""
        found: dict[str, Task] = {}
        for start in range(0, len(task_ids), _IDS_PER_QUERY):
            some = task_ids[start : start + _IDS_PER_QUERY]
            marks = ",".join("?" * len(some))
            rows = self._rows(f"SELECT {_COLUMNS} FROM task WHERE id IN ({marks})", some)  # noqa: S608 - only marks
            found.update((row[0], _task(row)) for row in rows)
        return [found[one] for one in task_ids if one in found]

    def rows(self, embedder: str) -> Rows:
        """Return all living tasks that have a vector of `embedder`, in the order of their last change."""
        with self._reporting():
            return _rows(self._database, embedder)

    def vector(self, task_id: str, embedder: str) -> Vectors | None:
        """Return a task's vector, if `embedder` made it."""
        found = self._rows("SELECT vector FROM task WHERE id = ? AND embedder = ?", [task_id, embedder])
        return np.frombuffer(found[0][0], np.float32) if found else None

    def unembedded(self, embedder: str) -> list[str]:
        """Return the ids of living tasks whose vector is of another embedder, newest first."""
        rows = self._rows(
            "SELECT id FROM task WHERE NOT forgotten AND embedder != ? ORDER BY sequence DESC", [embedder]
        )
        return [row[0] for row in rows]

    def newest(self, origin: Origin | None, limit: int) -> list[Task]:
        """Return living tasks, the last changed first."""
        rows = self._rows(
            f"SELECT {_COLUMNS} FROM task WHERE NOT forgotten AND (?1 IS NULL OR origin = ?1) "  # noqa: S608 - constants
            "ORDER BY sequence DESC LIMIT ?2",
            [origin, limit],
        )
        return [_task(row) for row in rows]

    def walk(self, origin: Origin | None) -> Iterator[Task]:
        """Yield living tasks in the order of their last change, as of now."""
        with self._reporting(), closing(self._database.cursor()) as cursor:
            rows = cursor.execute(
                f"SELECT {_COLUMNS} FROM task WHERE NOT forgotten AND (?1 IS NULL OR origin = ?1) ORDER BY sequence",  # noqa: S608 - constants
                [origin],
            )
            for row in rows:
                yield _task(row)

    def count(self, origin: Origin | None = None) -> int:
        """Return the number of living tasks."""
        rows = self._rows("SELECT count(*) FROM task WHERE NOT forgotten AND (?1 IS NULL OR origin = ?1)", [origin])
        return int(rows[0][0])

    def versions(self, task_id: str) -> list[Task]:
        """Return the earlier forms of a task, the latest first."""
        current = self.get(task_id)
        rows = self._rows(
            "SELECT description, implementation, tests, language, updated_at FROM version "
            "WHERE task_id = ? ORDER BY sequence DESC",
            [task_id],
        )
        return [
            replace(
                current, description=row[0], implementation=row[1], tests=row[2], language=row[3], updated_at=row[4]
            )
            for row in rows
        ]

    def calibration(self, embedder: str) -> Calibration | None:
        """Return how the cosines of `embedder` are to be read, if that was measured."""
        found = self._rows("SELECT unrelated, related FROM calibration WHERE embedder = ?", [embedder])
        return Calibration(unrelated=found[0][0], related=found[0][1]) if found else None

    def overrules(self, embedder: str) -> list[Overrule]:
        """Return a person's choices of intents that have a vector of `embedder`, the latest last."""
        rows = self._rows("SELECT query, intent, vector FROM overrule WHERE embedder = ? ORDER BY rowid", [embedder])
        return [Overrule(query=row[0], intent=Intent(row[1]), vector=np.frombuffer(row[2], np.float32)) for row in rows]

    def judgements(self, embedder: str) -> list[Judgement]:
        """Return a person's judgements that have a vector of `embedder`, the latest last."""
        rows = self._rows(
            "SELECT query, task_id, outcome, vector FROM judgement WHERE embedder = ? ORDER BY rowid", [embedder]
        )
        return [
            Judgement(query=row[0], task_id=row[1], outcome=Outcome(row[2]), vector=np.frombuffer(row[3], np.float32))
            for row in rows
        ]

    def unembedded_queries(self, embedder: str) -> list[str]:
        """Return the queries of choices and judgements whose vector is of another embedder."""
        rows = self._rows(
            "SELECT query FROM overrule WHERE embedder != ?1 UNION SELECT query FROM judgement WHERE embedder != ?1",
            [embedder],
        )
        return [row[0] for row in rows]

    # --- writing --------------------------------------------------------------------------

    def put(self, tasks: Iterable[tuple[Task, Vectors]], embedder: str) -> list[int]:
        """Store tasks, all or none; on disk when this returns.

        A task that exists under the same id is replaced: its earlier form becomes a version,
        and its time of creation stays.

        Returns:
            The sequence number of each.
        """
        with self._transaction() as database:
            return [_put(database, task, vector, embedder) for task, vector in tasks]

    def reembed(self, tasks: Iterable[tuple[Task, Vectors]], embedder: str) -> list[int]:
        """Replace vectors of another embedder; the tasks stay what they are.

        Returns:
            The sequence number of each.
        """
        sequences = []
        with self._transaction() as database:
            for task, vector in tasks:
                sequences.append(_next_sequence(database))
                database.execute(
                    "UPDATE task SET vector = ?, embedder = ?, sequence = ? WHERE id = ?",
                    [vector.tobytes(), embedder, sequences[-1], task.id],
                )
        return sequences

    def set_calibration(self, embedder: str, calibration: Calibration) -> None:
        """Keep how the cosines of `embedder` are to be read."""
        with self._transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO calibration VALUES (?, ?, ?)",
                [embedder, calibration.unrelated, calibration.related],
            )

    def put_overrule(self, overrule: Overrule, embedder: str) -> None:
        """Store a person's choice of an intent, in the place of an earlier one for the same query."""
        with self._transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO overrule VALUES (?, ?, ?, ?, ?)",
                [overrule.query, overrule.intent.value, _blob(overrule.vector), embedder, now()],
            )

    def reembed_query(self, query: str, vector: Vectors, embedder: str) -> None:
        """Replace the vector of another embedder; a choice or judgement that was taken back stays so."""
        values = [_blob(vector), embedder, query]
        with self._transaction() as database:
            database.execute("UPDATE overrule SET vector = ?, embedder = ? WHERE query = ?", values)
            database.execute("UPDATE judgement SET vector = ?, embedder = ? WHERE query = ?", values)

    def remove_overrule(self, query: str) -> bool:
        """Remove a choice for good; return whether there was one."""
        with self._transaction() as database:
            return database.execute("DELETE FROM overrule WHERE query = ?", [query]).rowcount > 0

    def put_judgement(self, judgement: Judgement, embedder: str) -> None:
        """Store a person's judgement, in the place of an earlier one for the same query and task."""
        with self._transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO judgement VALUES (?, ?, ?, ?, ?, ?)",
                [
                    judgement.query,
                    judgement.task_id,
                    judgement.outcome.value,
                    _blob(judgement.vector),
                    embedder,
                    now(),
                ],
            )

    def remove_judgement(self, query: str, task_id: str) -> bool:
        """Remove a judgement for good; return whether there was one."""
        with self._transaction() as database:
            values = [query, task_id]
            return database.execute("DELETE FROM judgement WHERE query = ? AND task_id = ?", values).rowcount > 0

    def set_forgotten(self, task_id: str, *, forgotten: bool) -> int:
        """Mark a task as forgotten, or bring it back; on disk when this returns.

        Returns:
            The sequence number of the change.
        """
        with self._transaction() as database:
            sequence = _next_sequence(database)
            database.execute(
                "UPDATE task SET forgotten = ?, sequence = ? WHERE id = ?", [int(forgotten), sequence, task_id]
            )
        return sequence

    # --- inside ---------------------------------------------------------------------------

    def _prepare(self) -> None:
        database = self._database
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA busy_timeout = 5000")
        version = _pragma(database, "user_version")
        mark = _pragma(database, "application_id")
        if version == 0 and mark == 0 and not database.execute("SELECT 1 FROM sqlite_master").fetchone():
            self._create()
            version, mark = SCHEMA_VERSION, _APPLICATION_ID
        if mark != _APPLICATION_ID:
            raise StorageFailed(f"{self.path} is not a journal of tasks. Move it away, then start again.")
        if version > SCHEMA_VERSION:
            raise StorageFailed(
                f"{self.path} was written by a newer version (schema {version}, this one reads {SCHEMA_VERSION}). "
                "Update with: pip install --upgrade ai-codegen-assistant"
            )
        if version < SCHEMA_VERSION:
            self._migrate(version)
        database.execute(_CALIBRATION)  # can be measured again, so it is no part of the versioned schema

    def _create(self) -> None:
        with self._transaction() as database:
            for statement in [*_SCHEMA.split(";")[:-1], *_MIGRATIONS.values()]:
                database.execute(statement)
            database.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _migrate(self, version: int) -> None:
        with self._transaction() as database:
            for older in range(version, SCHEMA_VERSION):
                database.execute(_MIGRATIONS[older])
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _rows(self, query: str, values: Sequence[object] = ()) -> list[tuple]:  # type: ignore[type-arg]
        with self._reporting():
            return self._database.execute(query, tuple(values)).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._reporting():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """Turn what SQLite and the file system raise into errors for people."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise StorageFailed(_explain(self.path, error), path=str(self.path)) from error
        except OSError as error:
            raise StorageFailed(
                f"The folder {self.path.parent} cannot be used ({error.strerror or error}). "
                "Make it writable, or choose another with AI_CODEGEN_HOME.",
                path=str(self.path),
            ) from error


def read_rows(path: Path, embedder: str) -> Rows:
    """Return what `Journal.rows` returns, from another process and without touching the file.

    Raises:
        sqlite3.Error: The journal cannot be read, or fails its check.
    """
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        problem = database.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise sqlite3.DatabaseError(problem)
        return _rows(database, embedder)


def _rows(database: sqlite3.Connection, embedder: str) -> Rows:
    found = database.execute(
        "SELECT id, sequence, language, origin, vector FROM task WHERE NOT forgotten AND embedder = ? ORDER BY sequence",
        [embedder],
    ).fetchall()
    vectors = np.frombuffer(b"".join(row[4] for row in found), np.float32)
    origins = {origin.value: origin for origin in Origin}
    return Rows(
        ids=[row[0] for row in found],
        sequences=[row[1] for row in found],
        languages=[row[2] for row in found],
        origins=[origins[row[3]] for row in found],
        vectors=vectors.reshape(len(found), -1) if found else np.empty((0, 0), np.float32),
    )


def _put(database: sqlite3.Connection, task: Task, vector: Vectors, embedder: str) -> int:
    sequence = _next_sequence(database)
    stamp = now()
    database.execute(
        "INSERT INTO version SELECT id, sequence, description, implementation, tests, language, updated_at "
        "FROM task WHERE id = ?",
        [task.id],
    )
    database.execute(
        "INSERT INTO task VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) "
        "ON CONFLICT (id) DO UPDATE SET sequence = ?2, description = ?3, implementation = ?4, tests = ?5, "
        "language = ?6, origin = ?7, metadata = ?8, vector = ?9, embedder = ?10, updated_at = ?12, verified = ?13, "
        "forgotten = ?14",
        [
            task.id,
            sequence,
            task.description,
            task.implementation,
            task.tests,
            task.language,
            task.origin.value,
            json.dumps(task.metadata),
            _blob(vector),
            embedder,
            task.created_at or stamp,
            task.updated_at or stamp,
            int(task.verified),
            int(task.forgotten),
        ],
    )
    return sequence


def _blob(vector: Vectors) -> bytes:
    return np.ascontiguousarray(vector, np.float32).tobytes()


def _next_sequence(database: sqlite3.Connection) -> int:
    return int(database.execute("SELECT coalesce(max(sequence), 0) + 1 FROM task").fetchone()[0])


def _pragma(database: sqlite3.Connection, name: str) -> int:
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])


def _task(row: tuple) -> Task:  # type: ignore[type-arg]
    return Task(
        id=row[0],
        description=row[1],
        implementation=row[2],
        tests=row[3],
        language=row[4],
        origin=Origin(row[5]),
        metadata=json.loads(row[6]),
        created_at=row[7],
        updated_at=row[8],
        verified=bool(row[9]),
        forgotten=bool(row[10]),
    )


def _explain(path: Path, error: sqlite3.DatabaseError) -> str:
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith("SQLITE_FULL"):
        return f"The disk that holds {path} is full: nothing was stored. Free some space and try again."
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return (
            f"{path} cannot be written ({error}): nothing was stored. "
            "Make its folder writable, or choose another with AI_CODEGEN_HOME."
        )
    if name.startswith("SQLITE_BUSY"):
        return f"{path} is held by another program ({error}). Close it and try again."
    if name.startswith("SQLITE_IOERR"):
        return f"{path} could not be read or written ({error}): nothing was stored. Check the disk and its free space."
    return (
        f"The journal of tasks {path} is damaged ({error}). It was left as it is. Copy it away for rescue, "
        "then move it out of that folder (with its -wal and -shm files) to start with an empty one, "
        "and bring tasks back from an export with: ai-codegen-assistant tasks import FILE"
    )
