"""What editors without a panel show to people: short texts, made from results.

Pure functions.
"""

from __future__ import annotations

import re
import textwrap

from core.messages import CodeSelection, Generation, ModelInfo, ModelState, Status, Taught

_LOADED = frozenset({ModelState.LOADING, ModelState.READY, ModelState.RUNNING})


def explanation(selection: CodeSelection | None, question: str | None, text: str) -> str:
    """Return one turn of a conversation as Markdown."""
    parts = [f"## {question}" if question else "## Explanation"]
    if selection is not None:
        where = f"{selection.name or 'Selection'}, line {selection.start_line or 1}"
        parts += [where, fenced(selection.text, selection.language)]
    return "\n\n".join([*parts, text.strip(), ""])


def fenced(code: str, language: str) -> str:
    """Return code as a Markdown block, whatever backticks it holds."""
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{code.rstrip()}\n{fence}"


def unknown(generation: Generation) -> str:
    """Say why nothing was generated, and which stored tasks come closest."""
    why = generation.message or f"No stored task is close enough (threshold {generation.threshold:.2f})."
    closest = "; ".join(f"“{_short(match.description)}” ({match.similarity:.2f})" for match in generation.sources[:3])
    return f"{why} Closest: {closest}." if closest else why


def remarks(generation: Generation) -> str | None:
    """Return what a person should know about code that was generated, if there is anything."""
    found = []
    if generation.checks is not None and not generation.checks.syntax:
        found.append(f"The code does not parse: {generation.checks.problem or 'syntax error'}.")
    if generation.finish == "length":
        found.append("It ends where the limit of tokens was reached (setting generateMaxTokens).")
    if generation.band == "weak":
        found.append("The stored task it follows resembles the comment only weakly, so check it with care.")
    elif not generation.grounded:
        found.append("No stored task was close enough to follow, so check it with care.")
    return " ".join(found) or None


def taught(description: str, result: Taught) -> str:
    """Say what was learnt."""
    text = f"Learnt: “{_short(description)}” (task {result.task_id})."
    if result.note:
        text += f" {result.note}"
    if result.similar:
        text += f" Similar: “{_short(result.similar[0].description)}”."
    return text


def status(state: Status) -> str:
    """Return the engine's state in a few lines."""
    if state.engine.state != "running":
        return f"The engine is {state.engine.state}. {state.engine.detail or ''}".strip()
    models = [_model(model) for model in state.models if model.state in _LOADED]
    lines = [
        f"Engine {state.engine.pid}, running for {state.engine.uptime:.0f} s.",
        f"Models: {'; '.join(models) or 'none is loaded'}.",
        f"Knowledge: {state.knowledge.count} tasks, {state.knowledge.state}.",
    ]
    if state.queue.running or state.queue.waiting:
        lines.append(f"Running: {state.queue.running or 'nothing'}; waiting: {state.queue.waiting}.")
    return "\n".join(lines)


def _model(model: ModelInfo) -> str:
    return f"{model.name} ({model.role}, {model.state}{f', on {model.device}' if model.device else ''})"


def _short(text: str) -> str:
    return textwrap.shorten(text, 100, placeholder=" …")
