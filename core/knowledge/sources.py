"""Where solved tasks can be read from: files, folders of Python code, data sets.

A source yields records, each a mapping of fields; what a record means is decided elsewhere.
"""

from __future__ import annotations

import ast
import gzip
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from core.errors import DownloadFailed, InvalidParams, NotFound, StorageFailed
from core.knowledge.humaneval import prose

HUB = "hub:"
PROBLEM = "\0problem"
"""Key of the field that says why a record cannot be read."""

_DATA_FILES = (".parquet", ".arrow", ".json", ".jsonl", ".csv")
_NOT_SOURCE_CODE = {"__pycache__", "node_modules", "site-packages", "venv"}
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a source, before anybody knows whether it is a solved task."""

    source: str
    """Short name of the file or data set that it is from."""
    place: str
    """Where it stands in that, for people."""
    fields: Mapping[str, Any]
    fraction: float | None
    """How much of the source is read with it, if the source knows its length."""


def records(source: str) -> Iterator[Record]:
    """Yield the records of a source.

    Args:
        source: Path of a JSON-lines file (`.jsonl`, `.jsonl.gz`), of a Python file, of a folder
            of Python files or of a data set; or `hub:OWNER/NAME`, `hub:OWNER/NAME/CONFIGURATION`.

    Raises:
        NotFound: There is no such source.
        InvalidParams: It is of no known kind.
        StorageFailed: It cannot be read.
        DownloadFailed: The hub's data set cannot be fetched.
    """
    if source.startswith(HUB):
        return _data_set(source.removeprefix(HUB))
    path = Path(source).expanduser()
    if not path.exists():
        raise NotFound(f"There is no file or folder {source!r} to import.")
    if path.is_dir():
        return _data_set(str(path)) if _holds_data(path) else _python_files(path)
    if path.suffix == ".py":
        return _python_functions(path, path.name, 1.0)
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        return _json_lines(path)
    raise InvalidParams(
        "source",
        f"{path.name} is no source of tasks; give a .jsonl, .jsonl.gz or .py file, a folder, or hub:OWNER/NAME",
    )


@contextmanager
def reporting(path: Path) -> Iterator[None]:
    """Turn what the file system raises into an error for people."""
    try:
        yield
    except (OSError, EOFError) as error:
        raise StorageFailed(f"{path} cannot be read or written: {error}.", path=str(path)) from error


def _json_lines(path: Path) -> Iterator[Record]:
    with reporting(path), path.open("rb") as raw:
        size = max(1, path.stat().st_size)
        lines = cast("Iterator[bytes]", gzip.open(raw) if path.suffix == ".gz" else raw)  # noqa: SIM115 - `raw` is closed
        stem = path.name.removesuffix(".gz").removesuffix(".jsonl")
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield Record(stem, f"{path.name}:{number}", _parse(line), min(1.0, raw.tell() / size))


def _parse(line: bytes | str) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return {PROBLEM: f"not JSON: {error}"}
    return value if isinstance(value, dict) else {PROBLEM: "not a JSON object"}


# --- data sets ----------------------------------------------------------------------------


def _data_set(name: str) -> Iterator[Record]:
    """Yield the rows of a data set; a child process reads them, since this one may be offline for good."""
    title = Path(name).name
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "core.knowledge.dataset", name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**_online(os.environ), "PYTHONPATH": str(_PACKAGE_ROOT)},
    )
    with child:
        try:
            for number, line in enumerate(child.stdout or (), 1):
                row = json.loads(line)
                if "error" in row:
                    raise DownloadFailed(f"The data set {name!r} cannot be read: {row['error']}")
                yield Record(title, f"{title}:{number}", row["row"], row["fraction"])
        finally:
            child.kill()


def _online(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.endswith("_OFFLINE")}


def _holds_data(folder: Path) -> bool:
    return any(path.suffix in _DATA_FILES for path in folder.rglob("*")) and not any(folder.rglob("*.py"))


# --- Python code --------------------------------------------------------------------------


def _python_files(folder: Path) -> Iterator[Record]:
    with reporting(folder):
        paths = sorted(path for path in folder.rglob("*.py") if _is_source(path.relative_to(folder)))
    if not paths:
        raise NotFound(f"The folder {folder} holds no Python files and no data set.")
    for number, path in enumerate(paths, 1):
        yield from _python_functions(path, path.relative_to(folder.parent).as_posix(), number / len(paths))


def _is_source(path: Path) -> bool:
    return not any(part.startswith(".") or part in _NOT_SOURCE_CODE for part in path.parts)


def _python_functions(path: Path, name: str, fraction: float) -> Iterator[Record]:
    """Yield the functions of a module; those of classes and of other functions need what surrounds them."""
    try:
        source = path.read_text("utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = ast.parse(source)
    except (OSError, ValueError, SyntaxError, RecursionError) as error:
        yield Record(name, name, {PROBLEM: f"cannot be read as Python: {error}"}, fraction)
        return
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Record(name, f"{name}:{node.lineno}", _function(source, module, node, name), fraction)


def _function(
    source: str, module: ast.Module, function: ast.FunctionDef | ast.AsyncFunctionDef, name: str
) -> Mapping[str, Any]:
    docstring = ast.get_docstring(function)
    if not docstring:
        return {PROBLEM: f"the function {function.name!r} has no docstring to find it by"}
    first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    lines = source.splitlines()[first - 1 : function.end_lineno]
    imports = _imports_for(module, function)
    return {
        "taskId": f"{name}::{function.name}",
        "description": prose(docstring),
        "implementation": "\n".join([*imports, *([""] * 2 if imports else []), *lines]) + "\n",
    }


def _imports_for(module: ast.Module, function: ast.AST) -> Sequence[str]:
    """Return the module's import statements that bind a name which the function uses."""
    used = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
    statements = [node for node in module.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return [ast.unparse(node) for node in statements if used & {_bound(alias) for alias in node.names}]


def _bound(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]
