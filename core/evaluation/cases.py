"""The data that evaluations run on: JSON lines, one case each."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Generic, TypeVar

from core import codec
from core.errors import InvalidParams, NotFound, StorageFailed
from core.messages import Intent

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterCase:
    """A query and the intent that it has."""

    text: str
    intent: Intent


@dataclass(frozen=True, slots=True, kw_only=True)
class KnowledgeCase:
    """A query whose task is in the store, or is not."""

    query: str
    known: bool
    task_id: str | None = None
    """The task that should be found first, if it is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningCase:
    """A task to teach, and other words to ask for it."""

    task_id: str
    description: str
    implementation: str
    query: str
    entry_point: str
    """The function that the tests call."""
    tests: list[str]
    """Statements, mostly assertions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationCase:
    """A function to complete, as in HumanEval."""

    task_id: str
    prompt: str
    """Imports, helpers, signature and docstring."""
    entry_point: str
    test: str
    """Defines `check(candidate)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryCase:
    """Something said early in a conversation that is asked for late."""

    fact: str
    question: str
    answer: list[str]
    """Words of which a right answer holds one, whatever their case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet(Generic[T]):
    """Cases and where they are from."""

    source: str
    """Its name for people."""
    digest: str
    """Changes with the content of the file."""
    cases: list[T] = field(default_factory=list)


_SNAKE_NAMES = ("task_id", "entry_point")


def read_cases(kind: type[T], path: Path | None, name: str, limit: int | None) -> DataSet[T]:
    """Read the person's data, or the data that come with the program.

    Args:
        kind: The dataclass of a case; its fields are the keys of a line.
        path: The person's file (`.jsonl` or `.jsonl.gz`), if any.
        name: Of the evaluation, which is that of the shipped file.
        limit: Take so many cases only, spread evenly over the file.

    Raises:
        NotFound: There is no such file.
        StorageFailed: It cannot be read.
        InvalidParams: A line is no case; names the line and the field.
    """
    if path is None:
        content = resources.files("core.evaluation").joinpath("data", f"{name}.jsonl").read_bytes()
        source = f"{name}.jsonl (comes with the program)"
    else:
        content = _read(path)
        source = path.name
    cases = list(_parse(kind, content, source))
    if not cases:
        raise InvalidParams("data", f"{source} holds no cases")
    return DataSet(source=source, digest=hashlib.sha256(content).hexdigest(), cases=spread(cases, limit))


def spread(cases: list[T], limit: int | None) -> list[T]:
    """Return at most `limit` cases, evenly spaced, so that a small sample has something of every part."""
    if limit is None or limit >= len(cases):
        return cases
    return [cases[place * len(cases) // limit] for place in range(limit)]


def _read(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.") from None
    except (OSError, EOFError) as error:
        raise StorageFailed(f"{path} cannot be read: {error}.", path=str(path)) from error


def _parse(kind: type[T], content: bytes, source: str) -> Iterator[T]:
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            yield codec.decode(kind, _wire_names(json.loads(line)))
        except ValueError as error:
            raise InvalidParams("data", f"{source}, line {number} is not JSON: {error}") from None
        except InvalidParams as error:
            raise error.inside(f"{source}, line {number}") from None


def _wire_names(record: Any) -> Any:
    """Rename the keys of public data sets, which are in snake case."""
    if not isinstance(record, dict):
        return record
    return {codec.camel_case(key) if key in _SNAKE_NAMES else key: value for key, value in record.items()}


def digest_of(parts: Iterable[str]) -> str:
    """Return a short hash of some texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
