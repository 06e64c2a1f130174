"""Runs code and tests inside the sandbox and reports what came of it.

This file is a program: its text is given to a Python interpreter (`python -c`), which sees
nothing else of the assistant. It reads a request as JSON from standard input, and writes two
lines of JSON to what was its standard error: one when it starts, one when the tests have ended.
If the second is missing, the process did not get that far. Everything the code prints goes to
standard output.

A program that sets out to forge the second line can do so, since it shares the process with the
tests. That makes its tests worthless, and nothing else.

Standard library only.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import json
import os
import sys
import traceback
from typing import Any

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

NOBODY = 65534
LONGEST_PROBLEM = 2000


def main() -> None:
    """Run one request."""
    request = json.load(sys.stdin)
    report = os.fdopen(os.dup(2), "w")
    os.dup2(1, 2)
    unlimited = apply_limits(request["limits"])
    if request["drop"]:
        become_nobody()
    sys.path += request["paths"]
    send(report, request["nonce"], unlimited=unlimited)
    ourselves = os.getpid()
    problem = run(request["code"], request["tests"])
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    if os.getpid() == ourselves:  # a copy that the code has made of us has no say
        send(report, request["nonce"], problem=problem)
    os._exit(0)


def send(report: Any, nonce: str, **facts: Any) -> None:
    """Write one line."""
    report.write(json.dumps({"nonce": nonce, **facts}) + "\n")
    report.flush()


def apply_limits(limits: dict[str, int]) -> list[str]:
    """Set what the system knows of `RLIMIT_...: value`; return the names of the rest."""
    unlimited = []
    for name, value in limits.items():
        try:
            # At the soft limit of processor time comes a signal of its own, which tells what happened.
            hard = value + 1 if name == "RLIMIT_CPU" else value
            resource.setrlimit(getattr(resource, name), (value, hard))
        except (AttributeError, ValueError, OSError):
            unlimited.append(name)
    return unlimited


def become_nobody() -> None:
    """Give up the rights of root for good."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def run(code: str, tests: str) -> str | None:
    """Run the code, then its tests; return what went wrong, in words."""
    sources = {"<code>": code, "<tests>": tests}
    names: dict[str, Any] = {"__name__": "solution", "__builtins__": __builtins__}
    try:
        exec(compile(code, "<code>", "exec", dont_inherit=True), names)  # noqa: S102 -- what this program is for
        return run_tests(tests, names)
    except MemoryError:
        return "It needed more memory than it may have."
    except BaseException as error:  # noqa: BLE001 -- whatever the code raises is its result
        return describe(error, sources)[:LONGEST_PROBLEM]


def run_tests(tests: str, names: dict[str, Any]) -> str | None:
    """Run tests written as statements or as an interactive session."""
    try:
        compiled = compile(tests, "<tests>", "exec", dont_inherit=True)
    except SyntaxError:
        if ">>>" not in tests:
            raise
        return run_doctest(tests, names)
    exec(compiled, names)  # noqa: S102 -- what this program is for
    return None


def run_doctest(tests: str, names: dict[str, Any]) -> str | None:
    """Run an interactive session; return the first difference."""
    failures: list[str] = []
    session = doctest.DocTestParser().get_doctest(tests, names, "tests", None, 0)
    doctest.DocTestRunner(verbose=False, optionflags=doctest.REPORT_ONLY_FIRST_FAILURE).run(
        session, out=failures.append
    )
    return "".join(failures).strip()[:LONGEST_PROBLEM] or None


def describe(error: BaseException, sources: dict[str, str]) -> str:
    """Say what was raised and by which statement of the code or the tests."""
    said = "".join(traceback.format_exception_only(type(error), error)).strip()
    if isinstance(error, SyntaxError) and error.filename in sources:
        return f"{error.filename.strip('<>')}, line {error.lineno}: {error.msg}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in sources]
    if not frames:
        return said
    last = frames[-1]
    line = last.lineno or 0
    return f"{last.filename.strip('<>')}, line {line}: {statement_at(sources[last.filename], line)}\n{said}"


def statement_at(source: str, line: int) -> str:
    """Return the smallest statement that contains a line."""
    found = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    if not found:
        return ""
    smallest = min(found, key=lambda node: (node.end_lineno or node.lineno) - node.lineno)
    return ast.get_source_segment(source, smallest) or ""


if __name__ == "__main__":
    main()
