"""The words that go to the model when a description becomes code.

Solved tasks are shown as the turns of a conversation in which the model has already solved
them: even a very small model goes on in the same manner, and copies what fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.conversation.prompts import fenced
from core.errors import ContextTooLong
from core.models.interface import ChatMessage, CountTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """A solved task that resembles what is asked."""

    description: str
    implementation: str
    similarity: float
    """0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationPlan:
    """A prompt that fits, and the solutions it holds."""

    messages: list[ChatMessage]
    solutions: tuple[Solution, ...]
    """The most similar last, where a model looks first."""
    reply_prefix: str
    """What the reply starts with; it is part of the text to extract code from."""
    stop: tuple[str, ...]
    """Ends the reply after the code."""


def plan_generation(
    prompt: str, solutions: Sequence[Solution], language: str, *, count: CountTokens, limit: int
) -> GenerationPlan:
    """Choose the solutions that stand in the prompt: as many as fit, the most similar first.

    Args:
        prompt: What is asked for.
        solutions: Solved tasks, in any order.
        language: Of the code, as in a fence's info string.
        count: Counts a chat's tokens, template included.
        limit: Greatest number of prompt tokens: context length less the reply budget.

    Raises:
        ContextTooLong: Not even the bare prompt fits.
    """
    kept = sorted(solutions, key=lambda solution: solution.similarity)
    while (tokens := count(messages := generation_messages(prompt, kept, language))) > limit:
        if not kept:
            raise ContextTooLong(
                f"The description takes {tokens} tokens, but only {limit} fit into the model's context beside "
                "its reply. Shorten it, or choose a model with a longer context.",
                tokens=tokens,
                limit=limit,
            )
        kept = kept[1:]
    return GenerationPlan(messages=messages, solutions=tuple(kept), reply_prefix=f"```{language}\n", stop=("\n```",))


def generation_messages(prompt: str, solutions: Sequence[Solution], language: str) -> list[ChatMessage]:
    """Return the prompt, with the solutions in the given order."""
    examples = [
        message
        for solution in solutions
        for message in (
            ChatMessage("user", solution.description),
            ChatMessage("assistant", fenced(solution.implementation, language)),
        )
    ]
    return [ChatMessage("system", _system(language)), *examples, ChatMessage("user", prompt)]


def _system(language: str) -> str:
    return f"You write {language} code. Answer each task with one code block and nothing else."
