"""How an evaluation looks to a person: its progress, then tables."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from cli.consoles import Consoles
from core.evaluation import progress as reports
from core.evaluation.progress import OnProgress
from core.evaluation.report import Report
from core.evaluation.report import Table as ReportTable

_STEPS = 20
"""Lines of progress where nobody watches a terminal."""


@contextlib.contextmanager
def progress() -> Iterator[OnProgress]:
    """Show how far an evaluation has got, and how long it will still take."""
    notes = Consoles.of(sys.stdout, sys.stderr).notes
    if not notes.is_terminal:
        yield _Lines(notes).on_progress
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TextColumn("{task.fields[left]}"), console=notes, transient=True) as bar:
        task = bar.add_task("Starting", total=None, left="")

        def on_progress(one: reports.Progress) -> None:
            bar.update(task, description=one.message, completed=one.done, total=one.total, left=_left(one))

        yield on_progress


def show(report: Report, page: Path | None) -> None:
    """Print a report."""
    out = Consoles.of(sys.stdout, sys.stderr).out
    out.print(Text(report.title, style="bold"))
    out.print()
    for name, fact in report.facts:
        out.print(Text(f"{name}: ", style="dim") + Text(fact))
    for table in report.tables:
        if table.rows:
            out.print()
            out.print(_table(table))
    if page is not None:
        out.print(Text(f"\nThe page with the plots is {page}."))


def _table(table: ReportTable) -> Table:
    shown = Table(title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for column in table.columns:
        shown.add_column(column, overflow="fold")
    for row in table.rows:
        shown.add_row(*map(Text, row))
    return shown


def _left(one: reports.Progress) -> str:
    return "" if one.remaining is None else f"about {timedelta(seconds=round(one.remaining))} left"


class _Lines:
    """Progress as lines of text, not too many."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._step = -1

    def on_progress(self, one: reports.Progress) -> None:
        """Print a line if there is news worth one."""
        step = one.done * _STEPS // max(1, one.total)
        if step != self._step:
            self._step = step
            self._console.print(Text(", ".join(filter(None, [f"{one.done} of {one.total} {one.message}", _left(one)]))))
