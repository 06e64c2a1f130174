"""Importing solved tasks from a source, and exporting them to a file."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from core import codec
from core.cancellation import CancelToken
from core.errors import AssistantError
from core.knowledge import humaneval, validation
from core.knowledge.sources import PROBLEM, Record, records, reporting
from core.knowledge.task import Task
from core.messages import Imported, Origin, Phase, PhaseName
from core.models.interface import OnPhase

Store = Callable[[Sequence[Task]], tuple[int, int]]
"""Stores tasks; returns how many were new or changed, and how many were there already."""

_BATCH = 64
_PROBLEMS_SHOWN = 20

_DESCRIPTIONS = ("description", "text", "prompt", "instruction", "question")
_IMPLEMENTATIONS = ("implementation", "code", "canonical_solution", "solution", "output", "response")
_TESTS = ("tests", "test_list", "test")
_TEST_SETUPS = ("test_setup_code", "test_imports")
_IDS = ("taskId", "task_id", "id")


@dataclass(slots=True)
class _Tally:
    added: int = 0
    unchanged: int = 0
    skipped: int = 0
    problems: list[str] = field(default_factory=list)

    def skip(self, place: str, problem: str) -> None:
        self.skipped += 1
        if len(self.problems) < _PROBLEMS_SHOWN:
            self.problems.append(f"{place}: {problem}")


def run(source: str, origin: Origin, store: Store, on_phase: OnPhase, token: CancelToken) -> Imported:
    """Read solved tasks from `source` and store them, a batch at a time.

    Reading the same source again stores only what is new or changed, so an import that was
    cancelled or failed goes on where it was.

    Args:
        source: What `sources.records` reads.
        origin: Where the tasks are said to come from.
        store: Stores a batch.
        on_phase: Told how far the import is.
        token: Checked before each batch; what was stored by then stays.

    Raises:
        NotFound, InvalidParams, DownloadFailed: The source is not there or of no known kind.
        StorageFailed: The store or the source cannot be used.
        Cancelled: The token was set.
    """
    tally = _Tally()
    found = records(source)
    while batch := list(islice(found, _BATCH)):
        token.raise_if_cancelled()
        tasks = {task.id: task for record in batch if (task := _read(record, origin, tally))}
        added, unchanged = store(list(tasks.values()))
        tally.added += added
        tally.unchanged += unchanged
        done = tally.added + tally.unchanged + tally.skipped
        on_phase(Phase(name=PhaseName.INDEXING, message=f"{done:,} tasks read", fraction=batch[-1].fraction))
    return Imported(
        source=source,
        added=tally.added,
        unchanged=tally.unchanged,
        skipped=tally.skipped,
        problems=tally.problems,
    )


def write(path: Path, tasks: Iterable[Task]) -> int:
    """Write tasks as JSON lines, all or nothing, and return how many.

    Raises:
        StorageFailed: The file cannot be written; one that was there before is as it was.
    """
    count = 0
    with reporting(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, suffix=".part", delete=False) as file:
            try:
                for task in tasks:
                    file.write(json.dumps(codec.encode(task), ensure_ascii=False) + "\n")
                    count += 1
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    return count


def _read(record: Record, origin: Origin, tally: _Tally) -> Task | None:
    """Return the record's task, or count it as skipped."""
    if problem := record.fields.get(PROBLEM):
        tally.skip(record.place, problem)
        return None
    try:
        task = _to_task(record, origin)
        validation.check(task)
    except KeyError as error:
        tally.skip(record.place, f"has no field {error.args[0]!r}")
    except (AssistantError, SyntaxError, ValueError, TypeError) as error:
        tally.skip(record.place, getattr(error, "message", str(error)))
    else:
        return task
    return None


def _to_task(record: Record, origin: Origin) -> Task:
    """Read a record: one of HumanEval, one of our own exports, or one with fields of the usual names."""
    fields = record.fields
    if {"prompt", "canonical_solution", "entry_point", "test"} <= fields.keys():
        return humaneval.to_task(fields, origin)
    description = _first(fields, _DESCRIPTIONS)
    implementation = _first(fields, _IMPLEMENTATIONS)
    given = next((str(fields[name]) for name in _IDS if fields.get(name) is not None), None)
    if given is not None and given.isdecimal():
        given = f"{record.source}/{given}"  # another source counts its records, too
    digest = hashlib.sha256(f"{description}\0{implementation}".encode("utf-8", "replace")).hexdigest()
    return Task(
        id=given or f"imported-{digest[:12]}",
        description=description,
        implementation=implementation,
        tests=_tests(fields),
        language=str(fields.get("language") or "python"),
        origin=Origin(fields["origin"]) if fields.get("origin") in set(Origin) else origin,
        metadata={str(key): str(value) for key, value in (fields.get("metadata") or {}).items()},
        created_at=str(fields.get("createdAt") or ""),
        updated_at=str(fields.get("updatedAt") or ""),
        verified=fields.get("verified") is True,
    )


def _tests(fields: Mapping[str, Any]) -> Any:
    """Return the tests, and before them what they need to be there."""
    tests = next((fields[name] for name in _TESTS if fields.get(name)), None)
    if not isinstance(tests, list):
        return tests
    setups = [fields[name] for name in _TEST_SETUPS if fields.get(name)]
    lines = [line for setup in setups for line in (setup if isinstance(setup, list) else [setup])]
    return "\n".join(map(str, [*lines, *tests])) + "\n"


def _first(fields: Mapping[str, Any], names: Sequence[str]) -> str:
    for name in names:
        if isinstance(fields.get(name), str):
            return str(fields[name])
    raise KeyError(names[0])
