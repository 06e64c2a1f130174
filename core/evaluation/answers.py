"""Trying out generated code, in the sandbox and nowhere else."""

from __future__ import annotations

import ast
import asyncio
import warnings
from dataclasses import dataclass

from core import sandbox
from core.cancellation import CancelToken

_LIMITS = sandbox.Limits(wall_seconds=30.0)
"""Generous by the clock, so that a busy machine fails nobody; processor time stays limited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How code did on its tests."""

    passed: bool
    problem: str | None = None
    """What went wrong, in a line."""


async def try_out(code: str, tests: str) -> Verdict:
    """Run tests on code in the sandbox; cancelling the task ends the run."""
    token = CancelToken()
    try:
        result = await asyncio.to_thread(sandbox.run, code, tests, limits=_LIMITS, token=token)
    except asyncio.CancelledError:
        token.cancel()
        raise
    return Verdict(passed=result.passed, problem=result.problem)


def under_name(code: str, name: str) -> str:
    """Let the only function of `code` be called by `name` as well.

    A description rarely says what the function is called, but tests have to call it.
    """
    tree = _parse(code)
    if tree is None or name in _names(tree):
        return code
    functions = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    if len(functions) != 1:
        return code
    return f"{code}\n\n{name} = {functions[0].name}\n"


def preamble(prompt: str, entry_point: str) -> str:
    """Return what stands before a function in the prompt that has it completed: imports and helpers."""
    tree = _parse(prompt)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)] if tree else []
    first = next((node.lineno for node in functions if node.name == entry_point), 1)
    return "\n".join(prompt.splitlines()[: first - 1])


def _names(tree: ast.Module) -> set[str]:
    """Return what the module defines at its top."""
    defined = {
        node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    }
    targets = (target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets)
    return defined | {target.id for target in targets if isinstance(target, ast.Name)}


def _parse(code: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape in generated code is not ours to show
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
