"""Values as text and tables for people."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from core.messages import MemoryInfo, MemoryUse, ModelInfo, ModelSetInfo, RouteChoice, TaskMatch, Timings

_CELL = 100
"""Characters of a text that a table shows; the whole text is in the details and in the JSON."""

DIM, GOOD, BAD, WARN = "dim", "green", "red", "yellow"


def route(choice: RouteChoice) -> Text:
    """Return a route with its scores in one line."""
    scores = ", ".join(f"{name} {score:.2f}" for name, score in choice.scores.items())
    unsure = "" if choice.sure else "; not sure"
    reason = f" {choice.reason}" if choice.reason else ""
    return Text(f"route: {choice.intent.value} ({scores}; margin {choice.margin:.2f}{unsure}){reason}", style="cyan")


def sources(console: Console, matches: Sequence[TaskMatch], threshold: float) -> Table:
    """Return the stored tasks that resemble a query."""
    title = f"Closest tasks (known from {threshold:.2f})"
    shown = table(console, "similarity", "task", "origin", "description", title=title)
    for match in matches:
        style = GOOD if match.similarity >= threshold else WARN
        similarity = Text(f"{match.similarity:.2f}", style=style)
        shown.add_row(similarity, match.task_id, match.origin.value, one_line(match.description))
    return shown


def timings(times: Timings) -> str:
    """Return the stages that took time, in one line."""
    names = ["queue", "route", "retrieve", "swap", "first_token", "total"]
    parts = [(name.replace("_", " "), getattr(times, name)) for name in names]
    texts = [f"{name} {value:.0f} ms" for name, value in parts if value is not None]
    if times.tokens_per_second is not None:
        texts.append(f"{times.tokens_per_second:.1f} tokens/s")
    return ", ".join(texts)


def memory_use(use: MemoryUse) -> str:
    """Return how full a conversation's prompt is, in one line."""
    text = f"{use.prompt_tokens} of {use.limit} tokens"
    if use.summarised:
        text += f", {use.summarised} turns summarised"
    if use.omitted:
        text += f", {use.omitted} turns left out"
    return text + (", selection shortened" if use.shortened else "")


def memory(info: MemoryInfo) -> str:
    """Return the memory of the engine and its device in one line."""
    device = "" if info.device_used is None else f", device {size(info.device_used)} of {size(info.device_total)}"
    return f"process {size(info.process)}{device}"


def size(count: int | None) -> str:
    """Return a number of bytes for people."""
    if count is None:
        return "?"
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:  # noqa: PLR2004 - the step between decimal units
            return f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def models(console: Console, infos: Sequence[ModelInfo]) -> Table:
    """Return the model of each role, and how it stands."""
    shown = table(console, "role", "model", "state", "size", "device", "detail", title="Models")
    for info in infos:
        state = info.state.value if info.installed else "not installed"
        place = " ".join(part for part in (info.device, info.dtype) if part)
        speed = "" if info.tokens_per_second is None else f" {info.tokens_per_second:.1f} tokens/s"
        shown.add_row(info.role.value, info.name, state, size(info.bytes), place, (info.detail or "") + speed)
    return shown


def model_sets(console: Console, infos: Sequence[ModelSetInfo]) -> Table:
    """Return the model sets one may choose."""
    shown = table(console, "set", "size", "installed", "hardware", "summary", title="Model sets")
    for info in infos:
        shown.add_row(info.name, size(info.bytes), yes_or_no(info.installed), info.hardware, info.summary)
    return shown


def table(console: Console, *headers: str, title: str | None = None) -> Table:
    """Return an empty table: ruled on a terminal, only aligned when piped."""
    frame = box.SIMPLE_HEAD if console.is_terminal else None
    empty = Table(title=title, title_justify="left", box=frame, pad_edge=False)
    for header in headers:
        empty.add_column(header, overflow="fold")
    return empty


def code(console: Console, text: str, language: str) -> Syntax | Text:
    """Return code: coloured on a terminal, as it is when piped."""
    return Syntax(text, language, background_color="default") if console.is_terminal else Text(text.rstrip("\n"))


def facts(parts: Sequence[str]) -> Text:
    """Return small print: what there is to say, in one line."""
    return Text(" · ".join(part for part in parts if part), style=DIM)


def number(value: float | None) -> str:
    """Return a number without its fraction, or nothing."""
    return "" if value is None else f"{value:.0f}"


def one_line(text: str) -> str:
    """Return the beginning of a text without line breaks, for a cell of a table."""
    return textwrap.shorten(text, _CELL, placeholder=" ...")


def yes_or_no(value: bool) -> str:  # noqa: FBT001 - the value is all there is
    """Return a truth value in words."""
    return "yes" if value else "no"
