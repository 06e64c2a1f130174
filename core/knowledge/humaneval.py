"""HumanEval's records as solved tasks: Python source in, description and implementation out."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Mapping

from core.knowledge.task import Task
from core.messages import Origin

_EXAMPLES = re.compile(
    r"^\s*(>>>|\[input/output\]|(for )?examples?\b[^.]{0,40}:?\s*$|examples?\s*\d*\s*:|note\s*:\s*$|for example\b|constraints\s*:)"
    r"|(==|=>|➞|->)",
    re.IGNORECASE,
)
"""Where a docstring stops describing and starts showing."""


def to_task(record: Mapping[str, str], origin: Origin = Origin.BUILTIN) -> Task:
    """Turn one record of the data set into a task.

    Args:
        record: Has `task_id`, `prompt`, `canonical_solution`, `entry_point` and `test`.
        origin: Where the task is said to come from.

    Raises:
        KeyError: A field is missing.
        SyntaxError: The record's code does not parse, or has no function of that name.
    """
    code = record["prompt"] + record["canonical_solution"]
    name = record["entry_point"]
    return Task(
        id=record["task_id"],
        description=describe(code, name),
        implementation=code.strip() + "\n",
        tests=record["test"].strip() + f"\n\ncheck({name})\n",
        origin=origin,
        metadata={"entry_point": name},
    )


def describe(code: str, name: str) -> str:
    """Return what the docstring of the function `name` says, without its examples.

    Examples resemble each other whatever the task is, so a description that holds them is
    found for the wrong reasons.

    Raises:
        SyntaxError: The code does not parse, or has no function of that name.
    """
    functions = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef) and node.name == name]
    if not functions:
        raise SyntaxError(f"there is no function {name!r}")
    return prose(_docstring(functions[-1])) or f"{name.replace('_', ' ').strip()}"


def _docstring(function: ast.FunctionDef) -> str:
    """Return the first bare string of the body: some records import before their docstring."""
    for node in function.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return textwrap.dedent(node.value.value)
    return ""


def prose(docstring: str) -> str:
    """Return the lines of a docstring before its first example, joined."""
    lines = [line.strip() for line in docstring.strip().splitlines()]
    kept: list[str] = []
    for line in lines:
        if _EXAMPLES.search(line) and kept:
            break
        kept.append(line)
    return re.sub(r"\s+", " ", " ".join(kept)).strip()
