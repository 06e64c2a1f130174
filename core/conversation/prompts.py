"""The words that go to the model when code is explained and talked about.

Prompts are short: one clear instruction, the code, then the question. The code stands before
the question, since a small model follows best what it read last, and since a second question
about the same code then shares the longer prefix.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from core.messages import CodeSelection
from core.models.interface import ChatMessage

SYSTEM = (
    "You are a programming assistant. Answer the user's question about code, "
    "clearly, correctly and briefly. If you do not know, say so."
)

DEFAULT_QUESTION = "Explain what this code does."
"""Asked when a person selects code and asks nothing."""

SUMMARISE = "Summarise all of this in a few sentences. Keep the names, the facts and what was decided."


def system_message(system: str, summary: str | None) -> ChatMessage:
    """Return the system message, with the summary of what was said before, if any."""
    if not summary:
        return ChatMessage("system", system)
    return ChatMessage("system", f"{system}\n\nSummary of the conversation so far:\n{summary}")


def summary_text(text: str, notes: Sequence[str]) -> str:
    """Return a summary as it stands in prompts: what the user stated, then the model's text."""
    lines = "\n".join(f"- {note}" for note in notes)
    return f"The user said:\n{lines}\n\n{text}" if notes else text


def summary_messages(summary: str | None, said: Sequence[tuple[str, str]]) -> list[ChatMessage]:
    """Return the prompt of the summariser.

    Args:
        summary: What was said before, in short.
        said: Questions and answers since then, oldest first.
    """
    before = [f"Summary of what was said before:\n{summary}"] if summary else []
    lines = [f"User: {question}\nAssistant: {answer}" for question, answer in said]
    return [
        ChatMessage("system", "You summarise conversations between a user and a programming assistant."),
        ChatMessage("user", "\n\n".join([*before, *lines, SUMMARISE])),
    ]


def user_message(question: str, selection: CodeSelection | None) -> ChatMessage:
    """Return a question as the model reads it: where the code is from, the code, the question."""
    if selection is None:
        return ChatMessage("user", question)
    return ChatMessage("user", f"{_origin(selection)}\n{fenced(selection.text, selection.language)}\n\n{question}")


def fenced(code: str, language: str) -> str:
    """Return `code` as a fenced block whose fence is longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{code.rstrip()}\n{fence}"


def _origin(selection: CodeSelection) -> str:
    where = f"Code from {selection.name}" if selection.name else "Code"
    return f"{where}, starting at line {selection.start_line}:" if selection.start_line else f"{where}:"
