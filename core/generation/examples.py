"""Examples in a request, which tell better than any similarity whether a stored task is the one asked for.

Understood are interactive sessions (`>>> double(2)` and `4` below) and lines such as
`double(2) == 4`, `double(2) => 4`, `double(2) returns 4` or `For number = 2 the output should be 4`, as
far as they hold literals only.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from core import sandbox
from core.cancellation import CancelToken
from core.errors import SandboxFailed
from core.generation.adapt import adapt, entry_point
from core.generation.signature import Signature, asked_signature
from core.generation.syntax import parse
from core.sandbox import Limits

_LIMITS = Limits(wall_seconds=3, cpu_seconds=3)
"""A person waits for the answer."""
_MOST = 20
"""Examples tried."""
_SESSION = re.compile(r"^\s*>>>\s*(?P<call>\S.*?)\s*$")
_CALL = r"(?P<call>[A-Za-z_]\w*\(.*\))"
_SAYS = (
    r"(?:={1,3}>?|[-\u2013]+>|\u279e|\u2192|\u21d2|(?:should\s+|will\s+|would\s+)?(?:returns?|gives?|equals?|is|be))"
)
_LINE = re.compile(rf"(?:^|[^\w.]){_CALL}\s*{_SAYS}\s*(?P<result>\S.*)$")
_GIVEN = re.compile(
    r"\b(?:for|with|if|when|given)\s+(?P<given>[A-Za-z_]\w*\s*=\s*\S.*?)\s*[,:]?\s+"
    rf"(?:then\s+)?(?:the\s+)?(?:output|result|answer|value|function|it)\s+{_SAYS}\s*(?P<result>\S.*)$",
    re.IGNORECASE,
)
_RESULT_ENDS = (".", ",", ";", '"""', "'''", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A call and what it is to return, both as Python."""

    function: str
    call: str
    result: str

    def __str__(self) -> str:
        """Return it as a person would write it."""
        return f"{self.call} == {self.result}"


def read_examples(request: str) -> tuple[Example, ...]:
    """Return the examples of the function that a request asks for.

    Calls of other functions say nothing of it. If the request does not name the function, all
    examples have to agree on its name.
    """
    signature = asked_signature(request)
    found = tuple(dict.fromkeys(_examples(request.splitlines(), signature)))
    names = {one.function for one in found}
    if signature is None and len(names) > 1:
        return ()
    return tuple(one for one in found if signature is None or one.function == signature.name)[:_MOST]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What examples say of an implementation; nothing, if it could not be run."""

    met: bool = False
    """Whether it meets all of them."""
    failed: str | None = None
    """The first that it does not meet."""


def try_on(request: str, implementation: str, examples: tuple[Example, ...], token: CancelToken) -> Trial:
    """Run an implementation, fitted to the request, on its examples, in the sandbox.

    A list and a tuple of the same, or numbers that are nearly the same, are no difference.

    Raises:
        Cancelled: The token was set.
    """
    code = adapt(request, implementation).code
    entry = entry_point(code)
    if entry is None:
        return Trial()
    name = examples[0].function
    renamed = "" if entry.name == name else f"\n\n{name} = {entry.name}\n"
    try:
        result = sandbox.run(f"{code}\n{renamed}", _tests(examples), limits=_LIMITS, token=token)
    except SandboxFailed:
        return Trial()
    if result.passed:
        return Trial(met=True)
    failed = re.search(r"example number (\d+)", result.problem or "")
    return Trial(failed=str(examples[int(failed.group(1)) if failed else 0]))


def are_telling(examples: tuple[Example, ...]) -> bool:
    """Return whether code that meets the examples hardly does so by chance."""
    return len({one.result for one in examples}) > 1


def _examples(lines: list[str], signature: Signature | None) -> Iterator[Example]:
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if session := _SESSION.match(line):
            example = _example(session.group("call"), following)
        elif told := _LINE.search(line):
            example = _example(told.group("call"), told.group("result"))
        elif signature is not None and (told := _GIVEN.search(line)):
            example = _example(_call_with(told.group("given"), signature), told.group("result"))
        else:
            continue
        if example is not None:
            yield example


def _call_with(given: str, signature: Signature) -> str:
    """Return the call with values given by name, such as `a = 1, b = 2`; an empty text if they are not all there."""
    named = _expression(f"{signature.name}({given})")
    if not isinstance(named, ast.Call) or named.args:
        return ""
    values = {one.arg or "": ast.unparse(one.value) for one in named.keywords}
    order = signature.parameters or tuple(values)
    return f"{signature.name}({', '.join(values[one] for one in order)})" if set(order) == set(values) else ""


def _example(call: str, result: str) -> Example | None:
    tree = _expression(call)
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name) or not _literal_arguments(tree):
        return None
    value = _literal(result)
    return None if value is None else Example(function=tree.func.id, call=call, result=value)


def _literal_arguments(call: ast.Call) -> bool:
    values = [*call.args, *(one.value for one in call.keywords)]
    return all(one.arg for one in call.keywords) and all(_is_literal(one) for one in values)


def _literal(text: str) -> str | None:
    """Return the literal that a text consists of, without the punctuation of the sentence around it."""
    rest = text.strip()
    for end in _RESULT_ENDS:
        candidate = rest.removesuffix(end).rstrip()
        tree = _expression(candidate) if rest.endswith(end) else None
        if tree is not None and _is_literal(tree):
            return ast.unparse(tree)  # without a comment behind it
    return None


def _expression(text: str) -> ast.expr | None:
    tree = parse(text)
    if tree is None or len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
        return None
    return tree.body[0].value


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _tests(examples: tuple[Example, ...]) -> str:
    checks = [
        f"assert _same({one.call}, {one.result}), 'example number {number}'" for number, one in enumerate(examples)
    ]
    return "\n".join([_SAME, *checks])


_SAME = """
def _same(one, other):
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) or isinstance(other, float):
        try:
            return abs(one - other) <= 1e-6 * max(1, abs(one), abs(other))
        except TypeError:
            return False
    return one == other
"""
