"""How each result looks to a person."""

from __future__ import annotations

import difflib
from functools import singledispatch
from typing import Any

from rich.console import Console
from rich.markdown import Markdown
from rich.text import Text

from cli import texts
from cli.consoles import Consoles
from cli.reports import BufferChange, DemoReport, DoctorReport, Verdict
from core.messages import (
    Conversation,
    ConversationList,
    Done,
    Explanation,
    Exported,
    Generation,
    Imported,
    Models,
    Status,
    TaskDetails,
    TaskList,
    Taught,
    Timings,
)

_STYLES = {Verdict.OK: texts.GOOD, Verdict.WARNING: texts.WARN, Verdict.PROBLEM: texts.BAD}


@singledispatch
def show(result: Any, to: Consoles) -> None:  # noqa: ARG001 - the views registered below use both
    """Print a result: the answer itself to `to.out`, what is said about it to `to.notes`."""
    raise TypeError(f"There is no view of {type(result).__name__}.")


@show.register
def _(result: Explanation, to: Consoles) -> None:
    if result.route is not None:
        to.notes.print(texts.route(result.route))
    to.out.print(Markdown(result.text) if to.out.is_terminal else Text(result.text))
    if result.finish == "length":
        to.notes.print(
            Text("The reply budget ended this answer; --set explainMaxTokens=N allows more.", style=texts.WARN)
        )
    facts = [
        result.model,
        texts.timings(result.timings),
        texts.memory_use(result.memory),
        f"conversation {result.conversation_id}",
    ]
    to.notes.print(texts.facts(facts))


@show.register
def _(result: Generation, to: Consoles) -> None:
    if result.route is not None:
        to.notes.print(texts.route(result.route))
    if result.status == "unknown":
        _show_unknown(result, to.notes)
        return
    to.notes.print(texts.sources(to.notes, result.sources, result.threshold))
    if result.band == "weak":
        to.notes.print(
            Text("Weak match: no stored task is clearly the same; check the code with care.", style=texts.WARN)
        )
    elif not result.grounded:
        to.notes.print(Text("Not grounded: no stored task is close enough; generated anyway.", style=texts.WARN))
    to.out.print(texts.code(to.out, result.code or "", "python"))
    if result.adapted and result.message:
        to.notes.print(Text(result.message))
    if result.checks is not None:
        verdict = "The syntax is valid." if result.checks.syntax else f"Invalid syntax: {result.checks.problem}"
        to.notes.print(Text(verdict, style=texts.GOOD if result.checks.syntax else texts.BAD))
    if result.finish == "length":
        to.notes.print(
            Text("The reply budget ended this code; --set generateMaxTokens=N allows more.", style=texts.WARN)
        )
    to.notes.print(texts.facts([result.model or "no model needed", texts.timings(result.timings)]))


def _show_unknown(result: Generation, notes: Console) -> None:
    notes.print(Text(result.message or "Unknown task: nothing stored is close enough.", style=texts.WARN))
    notes.print(texts.sources(notes, result.sources, result.threshold))
    notes.print(Text("Teach it:         ai-codegen-assistant teach --description '...' --file solution.py"))
    notes.print(Text("Generate anyway:  the same command with --force"))
    notes.print(texts.facts([texts.timings(result.timings)]))


@show.register
def _(result: Taught, to: Consoles) -> None:
    to.out.print(Text(f"Taught as {result.task_id}: it is stored for good and found by the next request."))
    if result.verified:
        to.out.print(Text("Its tests have passed."))
    if result.note:
        to.notes.print(Text(result.note))
    if result.similar:
        table = texts.table(
            to.notes, "similarity", "task", "description", title="Similar tasks that were there already"
        )
        for match in result.similar:
            table.add_row(f"{match.similarity:.2f}", match.task_id, texts.one_line(match.description))
        to.notes.print(table)


@show.register
def _(result: TaskList, to: Consoles) -> None:
    searched = any(task.similarity is not None for task in result.tasks)
    table = texts.table(to.out, *(["similarity"] if searched else []), "task", "origin", "created", "description")
    for task in result.tasks:
        similarity = [f"{task.similarity:.2f}"] if task.similarity is not None else []
        table.add_row(
            *similarity, task.task_id, task.origin.value, task.created_at[:10], texts.one_line(task.description)
        )
    to.out.print(table)
    to.notes.print(Text(f"{len(result.tasks)} of {result.total} tasks", style=texts.DIM))


@show.register
def _(result: TaskDetails, to: Consoles) -> None:
    state = " (forgotten; `tasks restore` brings it back)" if result.forgotten else ""
    to.out.print(Text(f"{result.task_id}: {result.origin.value}, {result.language}{state}", style="bold"))
    to.out.print(Text(result.description))
    to.out.print(texts.code(to.out, result.implementation, result.language))
    if result.tests:
        to.out.print(Text("tests:", style="bold"))
        to.out.print(texts.code(to.out, result.tests, result.language))
    to.notes.print(Text(f"created {result.created_at}, changed {result.updated_at}", style=texts.DIM))


@show.register
def _(result: Imported, to: Consoles) -> None:
    to.out.print(
        Text(f"{result.source}: {result.added} added, {result.unchanged} already there, {result.skipped} left out")
    )
    for problem in result.problems:
        to.notes.print(Text(problem, style=texts.WARN))


@show.register
def _(result: Exported, to: Consoles) -> None:
    to.out.print(Text(f"{result.count} tasks written to {result.path}"))


@show.register
def _(result: Models, to: Consoles) -> None:
    if result.sets:
        to.out.print(texts.model_sets(to.out, result.sets))
    to.out.print(texts.models(to.out, result.models))


@show.register
def _(result: Status, to: Consoles) -> None:
    engine, queue, knowledge = result.engine, result.queue, result.knowledge
    to.out.print(Text(f"engine     process {engine.pid}, version {engine.version}, up for {engine.uptime:.0f} s"))
    to.out.print(Text(f"clients    {engine.clients}"))
    to.out.print(Text(f"queue      {queue.running or 'nothing'} running, {queue.waiting} waiting"))
    detail = f": {knowledge.detail}" if knowledge.detail else ""
    to.out.print(Text(f"knowledge  {knowledge.count} tasks, {knowledge.state}{detail}, in {knowledge.path}"))
    to.out.print(Text(f"memory     {texts.memory(result.memory)}"))
    to.out.print(texts.models(to.out, result.models))


@show.register
def _(result: ConversationList, to: Consoles) -> None:
    table = texts.table(to.out, "conversation", "turns", "last", "title")
    for one in result.conversations:
        table.add_row(one.conversation_id, str(one.turns), one.updated_at[:16], texts.one_line(one.title))
    to.out.print(table)


@show.register
def _(result: Conversation, to: Consoles) -> None:
    to.out.print(Text(result.title, style="bold"))
    for turn in result.turns:
        if turn.selection is not None:
            to.out.print(texts.code(to.out, turn.selection.text, turn.selection.language))
        to.out.print(Text("> " + turn.question, style="cyan"))
        to.out.print(Markdown(turn.answer) if to.out.is_terminal else Text(turn.answer))
    if result.summary:
        to.notes.print(Text(f"Summary of earlier turns: {result.summary}", style=texts.DIM))


@show.register
def _(result: Done, to: Consoles) -> None:
    to.out.print(Text(result.message))


@show.register
def _(result: DoctorReport, to: Consoles) -> None:
    machine = result.machine
    to.out.print(Text(f"AI-CodeGen-Assistant {result.version}, Python {result.python}, {machine.platform}"))
    to.out.print(Text(f"data in {result.data_folder}, {texts.size(machine.disk_free)} of disk free"))
    to.out.print(
        Text(
            f"{machine.cores} cores, {texts.size(machine.memory_available)} of {texts.size(machine.memory_total)} of memory available"
        )
    )
    for device in machine.devices:
        free = "" if device.free is None else f", {texts.size(device.free)} of {texts.size(device.total)} free"
        to.out.print(Text(f"{device.kind}: {device.name}{free}"))
    packages = ", ".join(f"{name} {version or 'MISSING'}" for name, version in result.packages.items())
    to.out.print(Text(packages, style=texts.DIM))
    sets = texts.table(to.out, "set", "size", "installed", "fits", "why", title="Model sets")
    for one in result.sets:
        sets.add_row(
            one.name, texts.size(one.bytes), texts.yes_or_no(one.installed), texts.yes_or_no(one.fits), one.reason
        )
    to.out.print(sets)
    checks = texts.table(to.out, "check", "result", "detail", title="Checks")
    for check in result.checks:
        checks.add_row(check.name, Text(check.verdict.value, style=_STYLES[check.verdict]), check.detail)
    to.out.print(checks)
    for check in result.checks:
        if check.remedy is not None:
            to.out.print(Text(f"{check.name}: ") + Text(check.remedy, style="bold"))
    if result.healthy:
        to.out.print(Text("All that is needed is there.", style=texts.GOOD))
    else:
        to.out.print(Text("Something needed is missing.", style=texts.BAD))


@show.register
def _(result: DemoReport, to: Consoles) -> None:
    shown = ["queue", "route", "retrieve", "swap", "first_token", "total"]
    headers = ["", "step", *(f"{name.replace('_', ' ')} ms" for name in shown), "tokens/s", "seen s"]
    table = texts.table(to.out, *headers, title="Timings")
    for step in result.steps:
        timing = step.timings or Timings()
        cells = [texts.number(getattr(timing, name)) for name in [*shown, "tokens_per_second"]]
        mark = Text("ok", style=texts.GOOD) if step.passed else Text("FAILED", style=texts.BAD)
        table.add_row(mark, step.title, *cells, f"{step.seconds:.1f}")
    to.out.print(table)
    for step in result.steps:
        if step.problem is not None:
            to.out.print(Text(f"{step.title}: {step.problem}", style=texts.BAD))
    if result.process_bytes is not None:
        to.out.print(Text(f"The engine uses {texts.size(result.process_bytes)} of memory."))
    if result.kept is not None:
        to.out.print(Text(f"The demo's data and logs are kept in {result.kept}."))
    verdict = "Every step did what it claims" if result.passed else "The demo failed"
    to.out.print(Text(f"{verdict}; it took {result.seconds:.0f} s.", style=texts.GOOD if result.passed else texts.BAD))
    to.out.print(Text("\nTo go on:"))
    for command in result.next_steps:
        to.out.print(Text(f"  {command}"))


@show.register
def _(result: BufferChange, to: Consoles) -> None:
    before, after = (text.splitlines() for text in (result.before, result.after))
    lines = difflib.unified_diff(before, after, f"{result.name} before", f"{result.name} after", lineterm="")
    to.out.print(texts.code(to.out, "\n".join(lines), "diff"))
