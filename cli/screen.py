"""Text for people: rich on a terminal, plain when piped.

The answer itself goes to standard output, everything about it to standard error, so that
`generate ... > file.py` writes code and nothing else.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from cli import views
from cli.consoles import Consoles
from core.errors import AssistantError
from core.messages import Event, Phase, PhaseName, Tokens

_LONG_PHASES = {
    PhaseName.STARTING,
    PhaseName.DOWNLOADING,
    PhaseName.CONVERTING,
    PhaseName.LOADING,
    PhaseName.INDEXING,
}


class Screen:
    """Shows everything a command has to say."""

    def __init__(self, out: TextIO, notes: TextIO) -> None:
        self._consoles = Consoles.of(out, notes)

    @contextlib.contextmanager
    def activity(self) -> Iterator[Callable[[Event], None]]:
        """Show tokens and phases; on a terminal they make way for the result."""
        if not self._consoles.notes.is_terminal:
            yield PhaseLines(self._consoles.notes).on_event
            return
        preview = Preview(self._consoles.notes)
        with Live(console=self._consoles.notes, get_renderable=preview.render, transient=True, refresh_per_second=12):
            yield preview.on_event

    def show(self, result: Any) -> None:
        """Show a result in the view of its type."""
        views.show(result, self._consoles)

    def fail(self, error: AssistantError) -> None:
        """Say what went wrong."""
        self._consoles.notes.print(Text("error: ", style="bold red") + Text(error.message))

    def say(self, text: str) -> None:
        """Tell a person something that is no part of the result."""
        self._consoles.notes.print(Text(text))


class Preview:
    """What happens at this moment: the phase, and the end of the text so far."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._text = ""
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._phase: PhaseName | None = None
        self._task: TaskID | None = None

    def on_event(self, event: Event) -> None:
        """Take in a token or a phase."""
        if isinstance(event, Tokens):
            if not self._text:
                self._enter(PhaseName.GENERATING, "Answering")
            self._text += event.text
            return
        task = self._enter(event.name, event.message)
        total, completed = (None, 0.0) if event.fraction is None else (1.0, event.fraction)
        self._progress.update(task, description=event.message, total=total, completed=completed)

    def _enter(self, phase: PhaseName, message: str) -> TaskID:
        """Return the line of a phase, which takes the place of the phase before it."""
        if self._task is None or phase is not self._phase:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task, self._phase = self._progress.add_task(message, total=None), phase
        return self._task

    def render(self) -> RenderableType:
        """Return the phase above the last lines of the text, as many as fit."""
        room = max(self._console.height - 4, 1)
        lines = Text(self._text).wrap(self._console, max(self._console.width, 1))[-room:]
        return Group(self._progress.get_renderable(), *lines)


class PhaseLines:
    """Long phases as lines of text: one when the words change, one at each tenth of a phase."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: tuple[PhaseName, str, int] | None = None

    def on_event(self, event: Event) -> None:
        """Print a line if there is news worth one."""
        if not isinstance(event, Phase) or event.name not in _LONG_PHASES:
            return
        step = (event.name, re.sub(r"[\d.,]+", "", event.message), int((event.fraction or 0.0) * 10))
        if step != self._last:
            self._last = step
            share = "" if event.fraction is None else f" ({event.fraction:.0%})"
            self._console.print(f"{event.message}{share}")
