"""Where results go: one JSON document, or text for people."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TextIO

from core import codec
from core.errors import AssistantError
from core.messages import Event

OnEvent = Callable[[Event], None]


class Output(Protocol):
    """The ways out of a command."""

    def activity(self) -> AbstractContextManager[OnEvent]:
        """Show tokens and phases of the work done inside the context."""
        ...

    def show(self, result: Any) -> None:
        """Show a result: a dataclass of `core.messages` or `cli.reports`."""
        ...

    def say(self, text: str) -> None:
        """Tell a person something that is no part of the result."""
        ...

    def fail(self, error: AssistantError) -> None:
        """Say what went wrong."""
        ...


class JsonOutput:
    """Exactly one JSON document on standard output, also for errors."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def activity(self) -> AbstractContextManager[OnEvent]:
        """Show nothing: the result holds everything."""
        return nullcontext(_ignore)

    def show(self, result: Any) -> None:
        """Print a result in camelCase, as on the wire."""
        self._print(codec.encode(result))

    def say(self, text: str) -> None:
        """Say nothing: programs read the result."""

    def fail(self, error: AssistantError) -> None:
        """Print `{"error": {code, message, data}}`."""
        self._print({"error": error.to_wire()})

    def _print(self, document: Any) -> None:
        self._out.write(json.dumps(document, indent=2) + "\n")
        self._out.flush()


def open_output(*, as_json: bool, out: TextIO, notes: TextIO) -> Output:
    """Return the output a command line asks for.

    Args:
        as_json: Whether `--json` was given.
        out: Gets the answer itself, so that it can be piped.
        notes: Gets everything about the answer: progress, sources, timings, errors.
    """
    if as_json:
        return JsonOutput(out)
    # Loads rich, which `--help` and `--json` need not wait for.
    from cli.screen import Screen  # noqa: PLC0415

    return Screen(out, notes)


def _ignore(_: Event) -> None:
    """Take no notice."""
