"""The summary-buffer conversation memory, as pure functions over token counts.

A prompt consists of the system text, a summary of old turns, the newest turns word for word,
and the question, in this order: what changes least comes first, so that a model's KV cache of
the previous prompt stays usable. The prompt never exceeds its limit, counted by the model's
own tokenizer and chat template over everything in it.

When the turns no longer fit, the oldest leave until half of their room is free, not just until
the rest fits: the beginning of the prompt then stays the same for several turns. What left is
summarised later, away from the person's waiting time; the raw turns remain on disk. What the
person stated in them stands before the summary, word for word.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from core.conversation import prompts
from core.conversation.notes import notes_of
from core.errors import ContextTooLong
from core.messages import CodeSelection, MemoryUse, Turn
from core.models.interface import ChatMessage, CountTokens

SUMMARY_TOKENS = 256
"""The longest summary, where the limit of the prompt allows it."""
SUMMARY_SHARE = 8
"""A summary takes at most one part in this many of the prompt's limit."""
NOTES_SHARE = 2
"""Notes take at most one part in this many of the summary they belong to."""
USUAL_LINES = 256
"""Selections up to this length are counted at once."""
QUESTION_SHARE = 4
"""One part in this many of the limit is kept free for the next question, when turns leave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What remains of old turns in the prompt."""

    text: str
    """In the words of the model."""
    covers: int
    """Number of leading turns it stands for."""
    notes: list[str] = field(default_factory=list)
    """What the person stated in them, word for word, oldest first."""

    def render(self) -> str:
        """Return all of it as it stands in the prompt."""
        return prompts.summary_text(self.text, self.notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptPlan:
    """A prompt that fits."""

    messages: list[ChatMessage]
    use: MemoryUse


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryPlan:
    """One step of bringing the summary up to date."""

    messages: list[ChatMessage]
    covers: int
    """Number of leading turns that the new summary will stand for."""
    notes: list[str]
    """What it will keep word for word."""
    max_tokens: int
    """Of the reply; prompt and reply together stay within the limit."""

    def summary(self, reply: str) -> Summary:
        """Return the summary that the model's reply makes."""
        return Summary(text=reply, covers=self.covers, notes=self.notes)


def plan_prompt(
    system: str,
    summary: Summary | None,
    turns: Sequence[Turn],
    question: str,
    selection: CodeSelection | None,
    *,
    count: CountTokens,
    limit: int,
) -> PromptPlan:
    """Choose what stands in the prompt of a question.

    In order of importance: the question is never cut; its code is shortened, by whole lines,
    only if it does not fit without any turns; then come the newest turns, as many as fit, and
    never half a turn. Code that several turns in a row are about stands in the prompt once.

    Args:
        system: What the model is told about its job.
        summary: Stands for the leading `summary.covers` turns.
        turns: All turns, oldest first.
        question: What is asked now.
        selection: Code the question is about.
        count: Counts a chat's tokens, template included.
        limit: Greatest number of prompt tokens: context length less the reply budget.

    Raises:
        ContextTooLong: The question and a single line of its code are too long already.
    """
    meter = _Meter(prompts.system_message(system, _text(summary)), count)
    if summary and meter.asked(question, _line(selection)) > limit:
        summary, meter = None, _Meter(prompts.system_message(system, None), count)
    covered = summary.covers if summary else 0
    asked = _asked(meter, question, selection, limit=limit, alone=not turns)
    (*_, last) = _render([*map(_whole, turns[-1:]), asked])
    room = limit - count([meter.head, last])
    past = [_past(meter, turn, room) for turn in turns[covered:]]
    first = _first_kept(meter, past, room)
    while count(messages := [meter.head, *_render([*past[first:], asked])]) > limit:
        first += 1
    use = MemoryUse(
        prompt_tokens=count(messages),
        limit=limit,
        summarised=covered,
        omitted=first,
        shortened=any(one.shown != one.selection for one in [*past[first:], asked]),
    )
    return PromptPlan(messages=messages, use=use)


def plan_summary(
    system: str, summary: Summary | None, turns: Sequence[Turn], *, count: CountTokens, limit: int
) -> SummaryPlan | None:
    """Return how to summarise the turns that leave the prompt, or None if none do.

    One step covers as many of them as fit into one prompt of the summariser. Commit the summary
    that its reply makes, then ask again.

    Args:
        system: What the model is told when it answers questions.
        summary: The present one.
        turns: All turns, oldest first.
        count: Counts a chat's tokens, template included.
        limit: As for `plan_prompt`.
    """
    covered = summary.covers if summary else 0
    meter = _Meter(prompts.system_message(system, _text(summary)), count)
    room = limit - limit // QUESTION_SHARE - meter.base
    past = [_past(meter, turn, room) for turn in turns[covered:]]
    leaving = min(_first_kept(meter, past, room), len(past) - 1)  # the newest is what is talked about
    if leaving <= 0:
        return None
    return _summary_step(summary, turns[: covered + leaving], count=count, limit=limit)


# --- what fits ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exchange:
    """A turn, or the question that has no answer yet, as it may stand in the prompt."""

    question: str
    answer: str | None
    selection: CodeSelection | None
    """As the person made it."""
    shown: CodeSelection | None
    """As much of it as there is room for."""


class _Meter:
    """Measures what messages add to a prompt that begins with `head`."""

    def __init__(self, head: ChatMessage, count: CountTokens) -> None:
        self.head = head
        self._count = count
        self.base = count([head, _EMPTY])

    def added(self, messages: Sequence[ChatMessage]) -> int:
        """Return the tokens that messages take between the head and a question."""
        return self._count([self.head, *messages, _EMPTY]) - self.base

    def asked(self, question: str, shown: CodeSelection | None) -> int:
        """Return the tokens of a prompt that holds the question only."""
        return self._count([self.head, prompts.user_message(question, shown)])


_EMPTY = ChatMessage("user", "")
"""Templates want a user's message after an assistant's, and one at the end."""


def _asked(meter: _Meter, question: str, selection: CodeSelection | None, *, limit: int, alone: bool) -> _Exchange:
    """Return the question with as much of its code as fits.

    Code that has to be shortened anyway leaves half of the prompt to the turns, if there are any.
    """

    def longest(room: int) -> CodeSelection | None:
        return selection and _longest(selection, lambda shown: meter.asked(question, shown) <= room)

    if (least := meter.asked(question, _line(selection))) > limit:
        raise ContextTooLong(
            f"The question takes {least} tokens, but only {limit} fit into the model's context beside its reply. "
            "Ask a shorter question, select less code, or choose a model with a longer context.",
            tokens=least,
            limit=limit,
        )
    shown = longest(limit)
    if shown != selection and not alone:
        shown = longest(limit // 2) or shown
    return _Exchange(question=question, answer=None, selection=selection, shown=shown)


def _past(meter: _Meter, turn: Turn, room: int) -> _Exchange:
    """Return a turn whose code is shortened if it could not stand in the room alone."""
    whole = _whole(turn)
    if turn.selection is None:
        return whole
    shown = _longest(
        turn.selection, lambda shown: meter.added(_render([dataclasses.replace(whole, shown=shown)])) <= room
    )
    return dataclasses.replace(whole, shown=shown or turn.selection)


def _whole(turn: Turn) -> _Exchange:
    return _Exchange(question=turn.question, answer=turn.answer, selection=turn.selection, shown=turn.selection)


def _longest(selection: CodeSelection, fits: Callable[[CodeSelection], bool]) -> CodeSelection | None:
    """Return the selection with the fewest lines left out that fits, or None if no line does.

    Most selections fit as they are. The number of lines is doubled until it is too large, so that
    the tokens of a huge selection are never counted as a whole.
    """
    total = selection.text.count("\n") + 1
    low, high = 0, min(USUAL_LINES, total)
    while fits(_shortened(selection, high)):
        if high == total:
            return selection
        low, high = high, min(2 * high, total)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(_shortened(selection, middle)) else (low, middle)
    return _shortened(selection, low) if low else None


def _line(selection: CodeSelection | None) -> CodeSelection | None:
    return selection and _shortened(selection, 1)


def _shortened(selection: CodeSelection, kept: int) -> CodeSelection:
    """Keep `kept` lines, three of four from the beginning, and say how many are missing."""
    lines = selection.text.split("\n")
    missing = len(lines) - kept
    if missing <= 0:
        return selection
    head = kept - kept // 4
    marker = f"[... {missing} of {len(lines)} lines left out: too long for the model ...]"
    return dataclasses.replace(selection, text="\n".join([*lines[:head], marker, *lines[head + missing :]]))


# --- what stays -----------------------------------------------------------------------------


def _first_kept(meter: _Meter, past: Sequence[_Exchange], room: int) -> int:
    """Return the index of the oldest turn that stays.

    The turns are replayed from the oldest: each time they outgrow the room, the oldest leave
    until half of it is free (the newest may take all of it). So the answer changes only when
    the room is outgrown again.
    """
    costs = [_cost(meter, one) for one in past]
    first = 0
    for last in range(len(past)):
        if _total(past, costs, first, last) > room:
            while first < last and _total(past, costs, first, last) > room // 2:
                first += 1
            if _total(past, costs, first, last) > room:
                first += 1
    return first


def _cost(meter: _Meter, one: _Exchange) -> tuple[int, int]:
    """Return the tokens of an exchange without its code, and of its code."""
    bare = meter.added(_render([dataclasses.replace(one, selection=None, shown=None)]))
    return bare, meter.added(_render([one])) - bare


def _total(past: Sequence[_Exchange], costs: Sequence[tuple[int, int]], first: int, last: int) -> int:
    window = slice(first, last + 1)
    shown = _shows_code(past[window])
    return sum(bare + (code if shows else 0) for (bare, code), shows in zip(costs[window], shown, strict=True))


def _render(exchanges: Sequence[_Exchange]) -> list[ChatMessage]:
    messages = []
    for one, shows in zip(exchanges, _shows_code(exchanges), strict=True):
        messages.append(prompts.user_message(one.question, one.shown if shows else None))
        if one.answer is not None:
            messages.append(ChatMessage("assistant", one.answer))
    return messages


def _shows_code(exchanges: Sequence[_Exchange]) -> Iterator[bool]:
    """Tell for each exchange whether its code stands in it: not if it was the last to be shown."""
    latest: CodeSelection | None = None
    for one in exchanges:
        yield one.selection is not None and one.selection != latest
        latest = one.selection or latest


# --- what becomes of the rest ---------------------------------------------------------------


def _summary_step(
    summary: Summary | None, turns: Sequence[Turn], *, count: CountTokens, limit: int
) -> SummaryPlan | None:
    """Put as many of the turns as fit into one summariser's prompt.

    A single turn that does not fit is cut off; it remains whole on the disk. If not even its
    beginning fits beside the old summary, there is nothing to be done.
    """
    covered = summary.covers if summary else 0
    tokens = max(1, min(SUMMARY_TOKENS, limit // SUMMARY_SHARE))

    def fits(messages: list[ChatMessage]) -> bool:
        return count(messages) + tokens <= limit

    def plan(messages: list[ChatMessage], covers: int) -> SummaryPlan:
        notes, taken = _notes(turns[:covers], count, tokens // NOTES_SHARE)
        return SummaryPlan(messages=messages, covers=covers, notes=notes, max_tokens=tokens - taken)

    for covers in range(len(turns), covered, -1):
        if fits(messages := summary_messages(summary, turns[covered:covers])):
            return plan(messages, covers)
    turn = turns[covered]
    longest = max(len(turn.question), len(turn.answer))
    while longest := longest // 2:
        if fits(messages := summary_messages(summary, [_clipped(turn, longest)])):
            return plan(messages, covered + 1)
    return None


def _notes(turns: Sequence[Turn], count: CountTokens, room: int) -> tuple[list[str], int]:
    """Return what was stated in the turns, the newest that fit, and the tokens that they take."""

    def measure(notes: list[str]) -> int:
        return count([ChatMessage("user", prompts.summary_text(".", notes))])

    kept: list[str] = []
    taken, without = 0, measure([])
    for note in reversed(notes_of([turn.question for turn in turns])):
        if (tokens := measure([note, *kept]) - without) <= room:
            kept, taken = [note, *kept], tokens
    return kept, taken


def summary_messages(summary: Summary | None, turns: Sequence[Turn]) -> list[ChatMessage]:
    """Return the summariser's prompt: the old summary and what was said after it."""
    return prompts.summary_messages(summary.text if summary else None, [(turn.question, turn.answer) for turn in turns])


def _text(summary: Summary | None) -> str | None:
    return summary.render() if summary else None


def _clipped(turn: Turn, longest: int) -> Turn:
    def clip(text: str) -> str:
        return text if len(text) <= longest else f"{text[:longest]} [...]"

    return dataclasses.replace(turn, question=clip(turn.question), answer=clip(turn.answer))
