"""The knowledge base: teaching, finding, listing and changing solved tasks."""

from __future__ import annotations

import hashlib
import math
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from core.cancellation import CancelToken
from core.errors import NotFound, StorageFailed
from core.knowledge import importers, validation
from core.knowledge.calibration import Calibration, calibrate
from core.knowledge.embedder import Embedder, Vectors
from core.knowledge.exact import Rows, VectorTable
from core.knowledge.indexing import IndexKeeper
from core.knowledge.journal import Journal
from core.knowledge.judgements import Judgement, Judgements
from core.knowledge.retriever import rank
from core.knowledge.similarity import CROWD
from core.knowledge.subject import REVISION, subject_of
from core.knowledge.task import Match, Task
from core.knowledge.thresholds import Thresholds, for_store
from core.messages import (
    Exported,
    Imported,
    Intent,
    KnowledgeInfo,
    Origin,
    Outcome,
    TaskDetails,
    TaskList,
    TasksRequest,
    Taught,
    TeachRequest,
    UpdateTaskRequest,
)
from core.models.interface import OnPhase
from core.routing.feedback import Feedback, Overrule

_SIMILAR_TASKS = 3
_REEMBED_BATCH = 32
_OTHER_OWNER_PATIENCE = 5.0
"""Seconds to wait for a process that is just ending."""
_CANDIDATES = 25
"""Tasks nearest in meaning that are looked at more closely."""
_FARTHEST = 400
"""Tasks up to which the index is asked; for more of them exact search is as fast."""


class KnowledgeBase:
    """Solved tasks: durable in a journal, found by meaning.

    Usable from several threads; every method that changes something returns when the change
    is on disk and found by the next search.
    """

    def __init__(self, folder: Path, embedder: Embedder, on_change: Callable[[], None]) -> None:
        self._folder = folder
        self._embedder = embedder
        self._fingerprint = fingerprint_of(embedder)
        self._on_change = on_change
        self._lock = threading.RLock()
        """Held while the journal is used."""
        self._closing = False
        self._owner = _own(folder)
        self._journal = Journal(folder / "journal.sqlite")
        self._table = VectorTable(embedder.dimension)
        rows = self._journal.rows(self._fingerprint)
        if rows.ids:
            self._table.put(rows)
        self._calibration = _calibration(self._journal, embedder)
        self._read_feedback()
        self._keeper = IndexKeeper(
            journal=self._journal.path,
            root=folder / "index",
            fingerprint=self._fingerprint,
            table=self._table,
            prepare=self._reembed,
            on_change=on_change,
        )

    @classmethod
    def open(cls, folder: Path, embedder: Embedder, on_change: Callable[[], None]) -> KnowledgeBase:
        """Open the knowledge in `folder`, creating it if there is none.

        Tasks can be found at once; the index is checked, and if need be rebuilt, in the
        background. Tasks embedded by another model are embedded again there, too.

        Raises:
            StorageFailed: The journal is damaged, the folder cannot be used, or another
                process uses it.
        """
        return cls(folder, embedder, on_change)

    def close(self) -> None:
        """Close the files."""
        self._closing = True
        self._keeper.close()
        with self._lock:
            self._journal.close()
        self._owner.release()

    # --- finding --------------------------------------------------------------------------

    def search(
        self, query: str, vector: Vectors, *, limit: int, language: str | None = None, origin: Origin | None = None
    ) -> list[Match]:
        """Return the stored tasks nearest in meaning, the nearest first.

        Args:
            query: The words of the query.
            vector: Its embedding: shape (dimension,), unit length.
            limit: The most matches wanted.
            language: Only tasks in this programming language.
            origin: Only tasks from there.
        """
        candidates = self._candidates(vector, limit, language, origin)
        return rank(query, candidates, self._judgements.shifts(vector))[:limit]

    def thresholds(self) -> Thresholds:
        """Return the calibrated thresholds for this embedder and this size."""
        return for_store(len(self._table))

    # --- teaching -------------------------------------------------------------------------

    def teach(self, request: TeachRequest, *, verified: bool = False) -> Taught:
        """Store a solved task; durable and found by the next search when this returns.

        Teaching the same description again with another implementation corrects the task: it
        keeps its id and the earlier form becomes a version. Teaching exactly the same again
        changes nothing. A description that a built-in or imported task has already makes a
        task of its own, and the other one is named in `similar`.

        Args:
            request: What to store.
            verified: Whether the tests have passed, see `verification`.

        Raises:
            InvalidParams: A field is empty, too long or no text.
            RejectedTask: The implementation or the tests do not parse.
            StorageFailed: It could not be made durable; nothing was stored.
        """
        task = replace(draft(request), verified=verified)
        validation.check(task)
        vector = self._embed([task])[0]
        with self._lock:
            near = self.search(task.description, vector, limit=_SIMILAR_TASKS + 1, language=task.language)
            present = self._journal.get_many([task.id])
            if not present or _differs(task, present[0]):
                self._store([task], vector[np.newaxis])
        self._on_change()
        similar = [match.to_message() for match in near if match.task.id != task.id]
        known = self.thresholds().known
        return Taught(
            task_id=task.id,
            similar=[one for one in similar if one.similarity >= known][:_SIMILAR_TASKS],
            verified=verified,
        )

    def revised(self, request: UpdateTaskRequest) -> Task:
        """Return what `update` would make of a task, without storing it.

        It counts as verified only as far as nothing was changed that its tests have tested.

        Raises:
            NotFound: There is no such task.
        """
        given = {
            name: value
            for name in ("description", "implementation", "tests", "language")
            if (value := getattr(request, name)) is not None
        }
        if request.tests is not None and not request.tests.strip():
            given["tests"] = None
        with self._lock:
            before = self._journal.get(request.task_id)
        verified = before.verified and given.keys() <= {"description"}
        return replace(before, **given, updated_at="", verified=verified, origin=Origin.TAUGHT)

    def update(self, request: UpdateTaskRequest, *, passed: Task | None = None) -> TaskDetails:
        """Change the given fields of a task; its earlier form becomes a version.

        A built-in or imported task becomes one of the person's own by it, so that reading its
        source again does not undo the change.

        Args:
            request: What to change.
            passed: The form of the task whose tests have passed, see `verification`.

        Raises:
            NotFound: There is no such task.
            InvalidParams: A field is empty, too long or no text.
            RejectedTask: The implementation or the tests do not parse.
            StorageFailed: It could not be made durable; nothing was changed.
        """
        task = self.revised(request)
        if passed is not None and task.same_content(passed):
            task = replace(task, verified=True)
        validation.check(task)
        with self._lock:
            self._store([task], self._embed([task]))
        self._on_change()
        return self.get(task.id)

    def forget(self, task_id: str) -> TaskDetails:
        """Take a task out of all searches; `restore` brings it back.

        Raises:
            NotFound: There is no such task, or it is forgotten already.
        """
        with self._lock:
            if self._journal.get(task_id).forgotten:
                raise NotFound(f"The task {task_id!r} is forgotten already.")
            self._journal.set_forgotten(task_id, forgotten=True)
            self._table.remove(task_id)
            self._keeper.note([task_id])
        self._on_change()
        return self.get(task_id)

    def restore(self, task_id: str) -> TaskDetails:
        """Bring a forgotten task back; one that is not forgotten stays as it is.

        Raises:
            NotFound: There is no such task.
        """
        with self._lock:
            task = self._journal.get(task_id)
            if task.forgotten:
                sequence = self._journal.set_forgotten(task_id, forgotten=False)
                vector = self._journal.vector(task_id, self._fingerprint)
                if vector is None:
                    vector = self._embed([task])[0]
                    (sequence,) = self._journal.reembed([(task, vector)], self._fingerprint)
                self._show([task], [sequence], vector[np.newaxis])
        self._on_change()
        return self.get(task_id)

    def judge(self, query: str, vector: Vectors, task_id: str, outcome: Outcome) -> None:
        """Keep what a person has made of an answer that rests on a task; durable when this returns.

        From then on the task's similarity is another for queries that are near this one.

        Args:
            query: What was asked for.
            vector: Its embedding: shape (dimension,), unit length.
            task_id: The source of the answer.
            outcome: What has become of it.

        Raises:
            NotFound: There is no such task.
            StorageFailed: It could not be made durable.
        """
        with self._lock:
            self._journal.get(task_id)
            judgement = Judgement(query=query.strip(), task_id=task_id, outcome=outcome, vector=vector)
            self._journal.put_judgement(judgement, self._fingerprint)
            self._read_feedback()

    def take_back(self, query: str, task_id: str) -> None:
        """Forget what a person has made of an answer that rests on a task.

        Raises:
            NotFound: Nothing was said of this task for these words.
        """
        with self._lock:
            if not self._journal.remove_judgement(query.strip(), task_id):
                raise NotFound(f"{task_id!r} has not been judged for {query.strip()!r}.")
            self._read_feedback()

    # --- routes ---------------------------------------------------------------------------

    @property
    def feedback(self) -> Feedback:
        """What people have said about wrong routes."""
        return self._feedback

    def overrule(self, query: str, vector: Vectors, intent: Intent) -> None:
        """Keep which intent a person has chosen for a query; durable when this returns.

        Raises:
            StorageFailed: It could not be made durable.
        """
        with self._lock:
            overrule = Overrule(query=query.strip(), intent=intent, vector=vector)
            self._journal.put_overrule(overrule, self._fingerprint)
            self._read_feedback()

    def withdraw(self, query: str) -> None:
        """Forget which intent a person has chosen for a query.

        Raises:
            NotFound: None was chosen for these words.
        """
        with self._lock:
            if not self._journal.remove_overrule(query.strip()):
                raise NotFound(f"No intent has been chosen for {query.strip()!r}.")
            self._read_feedback()

    # --- the library ----------------------------------------------------------------------

    def get(self, task_id: str) -> TaskDetails:
        """Return a task, forgotten or not.

        Raises:
            NotFound: There is no such task.
        """
        with self._lock:
            return self._journal.get(task_id).details()

    def versions(self, task_id: str) -> list[TaskDetails]:
        """Return the earlier forms of a task, the latest first.

        Raises:
            NotFound: There is no such task.
        """
        with self._lock:
            return [task.details() for task in self._journal.versions(task_id)]

    def tasks(self, request: TasksRequest, vector: Vectors | None) -> TaskList:
        """List tasks: by similarity to `request.query` (whose embedding is `vector`), else newest first."""
        with self._lock:
            total = self._journal.count(request.origin)
            if request.query and vector is not None:
                found = self.search(request.query, vector, limit=request.limit, origin=request.origin)
                return TaskList(tasks=[one.task.summary(round(one.similarity, 4)) for one in found], total=total)
            newest = self._journal.newest(request.origin, request.limit)
        return TaskList(tasks=[task.summary() for task in newest], total=total)

    def import_tasks(self, source: str, origin: Origin, on_phase: OnPhase, token: CancelToken) -> Imported:
        """Read solved tasks from a source; see `importers` for what it may be."""
        return importers.run(source, origin, self._store_imported, on_phase, token)

    def export_tasks(self, path: Path, origin: Origin | None) -> Exported:
        """Write the tasks to a JSON-lines file that `import_tasks` reads."""
        with self._lock:
            return Exported(path=str(path), count=importers.write(path, self._journal.walk(origin)))

    def info(self) -> KnowledgeInfo:
        """Return how many tasks there are and how the store is."""
        return KnowledgeInfo(
            count=len(self._table), path=str(self._folder), state=self._keeper.state, detail=self._keeper.detail
        )

    def settle(self, timeout: float) -> bool:
        """Wait until the index has everything or has failed; return False after `timeout` seconds."""
        return self._keeper.settle(timeout)

    # --- inside ---------------------------------------------------------------------------

    def _candidates(
        self, vector: Vectors, limit: int, language: str | None, origin: Origin | None
    ) -> list[tuple[Task, float]]:
        """Return the tasks nearest in meaning, by the index where it can tell, else by exact search.

        The index knows nothing of languages and origins, so it is asked for as many more as
        there are others, and what it finds is filtered. Where that would be too many, or if
        too little is left to judge a match against its crowd, exact search looks at all.

        An index that is approximate misses a task now and then, and after a restart another
        one. What the person taught must not be missed, so exact search looks at that always.
        """
        wanted = max(limit, _CANDIDATES)
        fitting = self._table.count(language=language, origin=origin)
        reach = math.ceil(wanted * len(self._table) / fitting) if fitting else 0
        ids = self._keeper.candidates(vector, reach) if 0 < reach <= _FARTHEST else None
        if ids is not None:
            ids += [one for one, _ in self._table.search(vector, wanted, language=language, origin=Origin.TAUGHT)]
        near = self._table.similarities(vector, ids or [], language=language, origin=origin)[:wanted]
        if len(near) < min(limit + CROWD + 1, fitting):
            near = self._table.search(vector, wanted, language=language, origin=origin)
        cosines = {task_id: self._calibration.rescale(cosine) for task_id, cosine in near}
        with self._lock:
            return [(task, cosines[task.id]) for task in self._journal.get_many(list(cosines))]

    def _store_imported(self, tasks: Sequence[Task]) -> tuple[int, int]:
        """Store tasks that differ from what is there; return how many were stored and how many not."""
        with self._lock:
            present = {task.id: task for task in self._journal.get_many([task.id for task in tasks])}
        changed = [task for task in tasks if _is_news(task, present.get(task.id))]
        if changed:
            vectors = self._embed(changed)
            with self._lock:
                self._store(changed, vectors)
            self._on_change()
        return len(changed), len(tasks) - len(changed)

    def _embed(self, tasks: Sequence[Task]) -> Vectors:
        return self._embedder.embed([subject_of(task.description) for task in tasks])

    def _store(self, tasks: Sequence[Task], vectors: Vectors) -> None:
        sequences = self._journal.put(zip(tasks, vectors, strict=True), self._fingerprint)
        self._show(tasks, sequences, vectors)

    def _show(self, tasks: Sequence[Task], sequences: list[int], vectors: Vectors) -> None:
        self._table.put(
            Rows(
                ids=[task.id for task in tasks],
                sequences=sequences,
                languages=[task.language for task in tasks],
                origins=[task.origin for task in tasks],
                vectors=vectors,
            )
        )
        self._keeper.note([task.id for task in tasks])

    def _read_feedback(self) -> None:
        self._feedback = Feedback(self._journal.overrules(self._fingerprint))
        self._judgements = Judgements(self._journal.judgements(self._fingerprint))

    def _reembed_feedback(self) -> None:
        with self._lock:
            stale = self._journal.unembedded_queries(self._fingerprint)
        vectors = self._embedder.embed(stale)
        with self._lock:
            for query, vector in zip(stale, vectors, strict=True):
                self._journal.reembed_query(query, vector, self._fingerprint)
            self._read_feedback()

    def _reembed(self) -> None:
        """Embed again what another model has embedded: of the tasks, what was taught last first."""
        self._reembed_feedback()
        with self._lock:
            stale = self._journal.unembedded(self._fingerprint)
        while stale and not self._closing:
            some, stale = stale[:_REEMBED_BATCH], stale[_REEMBED_BATCH:]
            with self._lock:
                tasks = self._journal.get_many(some)
            vectors = self._embed(tasks)
            with self._lock:
                sequences = self._journal.reembed(zip(tasks, vectors, strict=True), self._fingerprint)
                self._show(tasks, sequences, vectors)
            self._on_change()


def _calibration(journal: Journal, embedder: Embedder) -> Calibration:
    """Return how the embedder's cosines are to be read; measured once for each model."""
    known = journal.calibration(embedder.fingerprint)
    if known is None:
        known = calibrate(embedder)
        journal.set_calibration(embedder.fingerprint, known)
    return known


def _differs(task: Task, present: Task) -> bool:
    """Whether teaching a task changes anything: what it says, that it is forgotten, or that it was not verified."""
    return present.forgotten or not task.same_content(present) or (task.verified and not present.verified)


def _is_news(task: Task, present: Task | None) -> bool:
    """Whether an imported task is to be stored: never over what the person has made of it."""
    if present is None:
        return True
    return present.origin is task.origin and not task.same_content(present)


def _own(folder: Path) -> FileLock:
    """Take the folder for this process; the system gives it back when the process ends, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        lock.acquire(timeout=_OTHER_OWNER_PATIENCE)
    except Timeout:
        raise StorageFailed(
            f"Another process uses the knowledge in {folder}. End it with: ai-codegen-assistant stop", path=str(folder)
        ) from None
    except OSError as error:
        raise StorageFailed(
            f"The folder {folder} cannot be used ({error.strerror or error}). "
            "Make it writable, or choose another with AI_CODEGEN_HOME.",
            path=str(folder),
        ) from error
    return lock


def fingerprint_of(embedder: Embedder) -> str:
    """Return what identifies the vectors of stored tasks: the model, and what of a description it reads."""
    return f"{embedder.fingerprint}-{REVISION}"


def draft(request: TeachRequest) -> Task:
    """Return the task that a request teaches; whether it is acceptable is another question."""
    return Task(
        id=taught_id(request.description, request.language),
        description=request.description.strip(),
        implementation=request.implementation.strip("\n"),
        tests=request.tests or None,
        language=request.language,
    )


def taught_id(description: str, language: str) -> str:
    """Return the id of a taught task: the same for the same words, however they are spaced or capitalised."""
    words = re.sub(r"\s+", " ", description).strip().casefold()
    digest = hashlib.sha256(f"{language}\n{words}".encode("utf-8", "replace")).hexdigest()
    return f"taught-{digest[:12]}"
