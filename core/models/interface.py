"""What the rest of the system may ask of a language model: types only.

Standard library only, so that prompts, memory and fakes need no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from core.cancellation import CancelToken
from core.messages import Phase, Role
from core.settings import Device, Precision

T_co = TypeVar("T_co", covariant=True)

OnPhase = Callable[[Phase], None]
"""Called on the model thread, and for `queued` on the thread that hands in the job; must return at once."""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


CountTokens = Callable[[Sequence[ChatMessage]], int]
"""Tokens of a whole chat, template included: `len(runner.encode_chat(messages))`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How to choose tokens; the default is greedy and deterministic."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    """Texts that end the reply; they are not part of it."""
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenChunk:
    """A piece of a reply. Text may be empty while a character is still incomplete."""

    text: str
    tokens: int = 1
    finish: Literal["stop", "length"] | None = None
    """Set on the last chunk only."""


class ModelRunner(Protocol):
    """A loaded model, valid only inside the job it is given to, on the model thread."""

    @property
    def name(self) -> str:
        """The model's name for people."""
        ...

    @property
    def context_length(self) -> int:
        """Longest prompt plus reply, in tokens."""
        ...

    def count_tokens(self, text: str) -> int:
        """Number of tokens of plain text, without special tokens."""
        ...

    def encode_chat(self, messages: Sequence[ChatMessage], reply_prefix: str = "") -> list[int]:
        """Render with the model's chat template, up to where the reply starts.

        Models whose template knows no system message get it joined to the first user message.
        Text of the messages never becomes a special token.
        """
        ...

    def generate(self, prompt: Sequence[int], params: SamplingParams, token: CancelToken) -> Iterator[TokenChunk]:
        """Prefill and decode; the last chunk has `finish` set.

        Raises:
            ContextTooLong: prompt + max_tokens exceed the context; gives both lengths.
            Cancelled: the token was set; raised between chunks of the prefill or tokens.
            OutOfMemory, ModelFailed: the model could not go on; it stays usable.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTimes:
    """Milliseconds a job spent before it ran."""

    queue: float
    swap: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelJob(Generic[T_co]):
    """Work for one model, done on the model thread."""

    role: Role
    model: str
    """What `ModelRegistry.resolve` named: a model of a set, hub id, folder or GGUF file."""
    device: Device
    precision: Precision
    token: CancelToken
    on_phase: OnPhase
    run: Callable[[ModelRunner, JobTimes], T_co]
    keep_alive: float
    """Seconds that models stay loaded without work from now on; 0 keeps them."""
    method: str = "job"
    """For `QueueInfo.running`."""
    background: bool = False
    """Runs only when nothing else waits, and gives way."""
