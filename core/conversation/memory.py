"""The summary-buffer conversation memory, as pure functions over token counts.

A prompt consists of the system text, a summary of old turns, the newest turns word for word,
and the question, in this order: what changes least comes first, so that a model's KV cache of
the previous prompt stays usable. The prompt never exceeds its limit, counted by the model's
own tokenizer and chat template over everything in it.

When the turns no longer fit, the oldest leave until half of their room is free, not just until
the rest fits: the beginning of the prompt then stays the same for several turns. What left is
summarised later, away from the person's waiting time; the raw turns remain on disk.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.conversation import prompts
from core.errors import ContextTooLong
from core.messages import CodeSelection, MemoryUse, Turn
from core.models.interface import ChatMessage

Count = Callable[[Sequence[ChatMessage]], int]
"""Tokens of a rendered chat, template included: `len(runner.encode_chat(messages))`."""

SUMMARY_SHARE = 8
"""The summary may take one part in this many of a prompt's limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What remains of old turns in the prompt."""

    text: str
    covers: int
    """Number of leading turns it stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptPlan:
    """A prompt that fits."""

    messages: list[ChatMessage]
    use: MemoryUse


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryPlan:
    """How to bring the summary up to date: one step, to be repeated until none is needed."""

    messages: list[ChatMessage]
    covers: int
    """Number of leading turns that the new summary will stand for."""
    max_tokens: int


def plan_prompt(
    system: str,
    summary: Summary | None,
    turns: Sequence[Turn],
    question: str,
    selection: CodeSelection | None,
    *,
    count: Count,
    limit: int,
) -> PromptPlan:
    """Choose what stands in the prompt of a question.

    In order of importance: the question is never cut; the selection is shortened only if it
    does not fit without any turns; then come the newest turns, whole, as many as fit.

    Args:
        system: What the model is told about its job.
        summary: Stands for the leading `summary.covers` turns.
        turns: All turns, oldest first.
        question: What is asked now.
        selection: Code the question is about.
        count: Counts a chat's tokens, template included.
        limit: Greatest number of prompt tokens: context length less the reply budget.

    Raises:
        ContextTooLong: Not even the question and a line of the selection fit.
    """
    summary = _affordable(system, summary, question=question, selection=selection, count=count, limit=limit)
    head = prompts.system_message(system, summary.text if summary else None)
    shown = _fit_selection([head], question, selection, count, limit)
    last = prompts.user_message(question, shown)
    covered = summary.covers if summary else 0
    room = limit - count([head, last])
    first = covered + _first_kept(turns[covered:], count, room)
    messages = [head, *_dialogue(turns[first:]), last]
    while count(messages) > limit:
        first += 1
        messages = [head, *_dialogue(turns[first:]), last]
    use = MemoryUse(
        prompt_tokens=count(messages),
        limit=limit,
        summarised=covered,
        omitted=first - covered,
        shortened=shown != selection,
    )
    return PromptPlan(messages=messages, use=use)


def plan_summary(
    system: str, summary: Summary | None, turns: Sequence[Turn], *, count: Count, limit: int
) -> SummaryPlan | None:
    """Return how to summarise the turns that have left the prompt, or None if none have.

    The result covers as many of them as fit into one prompt of the summariser. Commit its
    reply with `covers` once it exists, and ask again.
    """
    covered = summary.covers if summary else 0
    head = prompts.system_message(system, summary.text if summary else None)
    leaving = _first_kept(turns[covered:], count, limit - count([head, ChatMessage("user", "")]))
    if not leaving:
        return None
    max_tokens = max(1, limit // SUMMARY_SHARE)
    return SummaryPlan(
        messages=summary_messages(summary, turns[covered : covered + leaving]),
        covers=covered + leaving,
        max_tokens=max_tokens,
    )


def summary_messages(summary: Summary | None, turns: Sequence[Turn]) -> list[ChatMessage]:
    """Return the summariser's prompt."""
    before = f"Summary so far:\n{summary.text}\n\n" if summary else ""
    lines = "\n".join(f"User: {turn.question}\nAssistant: {turn.answer}" for turn in turns)
    return [
        ChatMessage("system", "You summarise conversations about code."),
        ChatMessage("user", f"{before}New lines:\n{lines}\n\nSummarise all of this in a few sentences."),
    ]


def _affordable(
    system: str,
    summary: Summary | None,
    *,
    question: str,
    selection: CodeSelection | None,
    count: Count,
    limit: int,
) -> Summary | None:
    """Return the summary if the question fits beside it."""
    if summary is None:
        return None
    head = prompts.system_message(system, summary.text)
    bare = _shortened(selection, 1) if selection else None
    return summary if count([head, prompts.user_message(question, bare)]) <= limit else None


def _fit_selection(
    before: list[ChatMessage], question: str, selection: CodeSelection | None, count: Count, limit: int
) -> CodeSelection | None:
    """Return the selection, with as few lines left out as will do."""

    def needed(shown: CodeSelection | None) -> int:
        return count([*before, prompts.user_message(question, shown)])

    if selection is None:
        if (tokens := needed(None)) > limit:
            raise _too_long(tokens, limit)
        return None
    total = len(selection.text.split("\n"))
    if (tokens := needed(_shortened(selection, 1))) > limit:
        raise _too_long(tokens, limit)
    low, high = 1, 2
    while high < total and needed(_shortened(selection, high)) <= limit:
        low, high = high, high * 2
    high = min(high, total + 1)
    if high > total and needed(selection) <= limit:
        return selection
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if needed(_shortened(selection, middle)) <= limit else (low, middle)
    return _shortened(selection, low)


def _too_long(tokens: int, limit: int) -> ContextTooLong:
    return ContextTooLong(
        f"The question takes {tokens} tokens, but only {limit} fit into the model's context beside its reply. "
        "Ask a shorter question, select less code, or choose a model with a longer context.",
        tokens=tokens,
        limit=limit,
    )


def _shortened(selection: CodeSelection, kept: int) -> CodeSelection:
    """Keep `kept` lines, three of four from the beginning, and say how many are missing."""
    lines = selection.text.split("\n")
    if kept >= len(lines):
        return selection
    tail = kept // 4
    head = kept - tail
    marker = f"[... {len(lines) - kept} of {len(lines)} lines left out: too long for the model ...]"
    return dataclasses.replace(selection, text="\n".join([*lines[:head], marker, *lines[len(lines) - tail :]]))


def _first_kept(turns: Sequence[Turn], count: Count, room: int) -> int:
    """Return the index of the oldest turn that stays.

    The turns are replayed from the oldest: each time they outgrow the room, the oldest leave
    until half of it is free. So the answer changes only when the room is outgrown again.
    """
    costs = [count(_dialogue([turn])) for turn in turns]
    first, total = 0, 0
    for last, cost in enumerate(costs):
        total += cost
        if total > room:
            while first <= last and (total > room // 2 and (first < last or total > room)):
                total -= costs[first]
                first += 1
    return first


def _dialogue(turns: Sequence[Turn]) -> list[ChatMessage]:
    return [
        message
        for turn in turns
        for message in (
            prompts.user_message(turn.question, turn.selection),
            ChatMessage("assistant", turn.answer),
        )
    ]
