"""Results of single cases on disk, so that an interrupted evaluation goes on where it was.

The file is named by everything that decides the results: the evaluation, its data, the
settings and the program itself. A complete file is put aside, so that the next run is new.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import core
from core import codec
from core.errors import StorageFailed
from core.evaluation.cases import digest_of
from core.evaluation.progress import Tracker

T = TypeVar("T")


class ResultLog:
    """A JSON-lines file of `{"key", "result"}`; each line is on the disk before the next case begins."""

    def __init__(self, folder: Path, name: str, fingerprint: str) -> None:
        """Open or create the file and read what it holds.

        Raises:
            StorageFailed: The folder or the file cannot be used.
        """
        self._path = folder / f"{name}-{fingerprint}.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a+b")
            self._file.seek(0)
            self._results = dict(self._read())
        except OSError as error:
            raise StorageFailed(f"{self._path} cannot be used: {error}.", path=str(self._path)) from error

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the result of a case, if there is one."""
        return self._results.get(key)

    def put(self, key: str, result: dict[str, Any]) -> None:
        """Store the result of a case.

        Raises:
            StorageFailed: It cannot be written.
        """
        try:
            self._file.write(json.dumps({"key": key, "result": result}).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise StorageFailed(f"{self._path} cannot be written: {error}.", path=str(self._path)) from error
        self._results[key] = result

    def complete(self) -> Path:
        """Put the file aside and return where it is now."""
        self._file.close()
        return self._path.replace(self._path.with_suffix(".complete.jsonl"))

    def close(self) -> None:
        """Close the file; what it holds is taken up by the next run."""
        self._file.close()

    def _read(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the complete lines; a last line that was cut off is cut away."""
        content = self._file.read()
        end = content.rfind(b"\n") + 1
        self._file.truncate(end)
        records = (json.loads(line) for line in content[:end].splitlines())
        return [(record["key"], record["result"]) for record in records]


class Run:
    """The cases of one evaluation: each is done once, recorded and counted."""

    def __init__(self, log: ResultLog, tracker: Tracker) -> None:
        self._log = log
        self._tracker = tracker

    async def case(self, message: str, key: str, kind: type[T], work: Callable[[], Awaitable[T]]) -> T:
        """Return the recorded result of a case, or do the work and record it.

        Args:
            message: What is being counted, for people.
            key: Names the case, in this evaluation.
            kind: The dataclass of the result.
            work: Gives the result.
        """
        recorded = self._log.get(key)
        if recorded is not None:
            self._tracker.step(message, measured=False)
            return codec.decode(kind, recorded)
        result = await work()
        self._log.put(key, codec.encode(result))
        self._tracker.step(message)
        return result


def fingerprint(name: str, data: str, settings: dict[str, Any]) -> str:
    """Return what tells one configuration from another.

    Args:
        name: Of the evaluation.
        data: Digest of its data.
        settings: The body of the section `aiCodegenAssistant`.
    """
    return digest_of([name, data, json.dumps(settings, sort_keys=True), _program()])


def _program() -> str:
    """Return a digest of the program's own files: other code, other results."""
    folder = Path(core.__file__).parent
    files = sorted(file for file in folder.rglob("*") if file.suffix in {".py", ".toml"})
    return digest_of(f"{file.relative_to(folder).as_posix()}\n{file.read_text('utf-8')}" for file in files)
