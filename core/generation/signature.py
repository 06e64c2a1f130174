"""What a description says about the name and the parameters of the code it asks for."""

from __future__ import annotations

import ast
import builtins
import keyword
import re
from dataclasses import dataclass

from core.generation.syntax import parse

_NAME = r"([A-Za-z_]\w*)"
_KIND = r"(?:function|method|class|routine|helper|generator|coroutine|procedure|subroutine)"
_HEADER = re.compile(r"\b(?:def\s+|class\s+(?=[A-Z]))([A-Za-z_]\w*)")
_NAMED = re.compile(
    rf"(?:\b{_KIND}|\b(?:it|this|that|which|that\s+is|which\s+is))\s*,?\s*(?:is\s+|should\s+be\s+|to\s+be\s+)?"
    rf"(?:called|named)\s+(?:it\s+)?[`'\"]?{_NAME}",
    re.IGNORECASE,
)
_CALL_IT = re.compile(rf"\b(?:call|name)\s+(?:it|the\s+{_KIND})\s+[`'\"]?{_NAME}", re.IGNORECASE)
_KIND_QUOTED = re.compile(
    rf"\b(?:{_KIND}|write|implement|define|create|complete)\s+(?:a\s+|the\s+)?[`]{_NAME}", re.IGNORECASE
)
_QUOTED_CALL = re.compile(rf"`{_NAME}\s*\(")
_KIND_CALL = re.compile(rf"\b(?:{_KIND}|write|implement|define|create|complete)\s+{_NAME}\(", re.IGNORECASE)
_PATTERNS = (_HEADER, _NAMED, _CALL_IT, _KIND_QUOTED, _QUOTED_CALL, _KIND_CALL)

_ORDINARY = frozenset(
    {"a", "an", "the", "with", "when", "if", "for", "on", "by", "in", "as", "after", "from", "it", "to", "and", "or"}
    | {"that", "which", "what", "so"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What the code is to be called, and how it is to be called."""

    name: str
    parameters: tuple[str, ...] | None = None
    """Positional parameters; None if the description does not list them."""


def asked_signature(description: str) -> Signature | None:
    """Return the name that a description asks for, or None if it leaves the name open.

    It is understood from `def NAME(...)`, from "called NAME" and "named NAME" after a word like
    function, from "call it NAME", and from a name or a call in backticks. Of a piece of code, the
    last function is the one to complete; those before it are there to be used.
    """
    description = _from_last_function(description)
    for pattern in _PATTERNS:
        for found in pattern.finditer(description):
            name = found.group(1)
            if _may_be_defined(name):
                return Signature(name=name, parameters=_parameters(description[found.end(1) :]))
    return None


def _from_last_function(description: str) -> str:
    """Return the text from its last function on, if it is Python and has some at its top."""
    tree = parse(description)
    functions = (
        [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))] if tree else []
    )
    if not functions:
        return description
    return "".join(description.splitlines(keepends=True)[functions[-1].lineno - 1 :])


def _may_be_defined(name: str) -> bool:
    return not keyword.iskeyword(name) and name.lower() not in _ORDINARY and name not in vars(builtins)


def _parameters(rest: str) -> tuple[str, ...] | None:
    """Read the list of parameters that follows a name, annotations and defaults included."""
    if not rest.startswith("("):
        return None
    for found in re.finditer(r"\)", rest):
        tree = parse(f"def f{rest[: found.end()]}: ...")
        if tree and isinstance(function := tree.body[0], ast.FunctionDef):
            return tuple(one.arg for one in (*function.args.posonlyargs, *function.args.args))
    return None
