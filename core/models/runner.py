"""Prefill and decode.

Runs on the thread that made the runner, and nowhere else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from transformers import PreTrainedTokenizerFast

from core.cancellation import CancelToken
from core.errors import AssistantError, ContextTooLong, ModelFailed, OutOfMemory
from core.models.causal_model import CausalModel
from core.models.chat import ChatEncoder
from core.models.interface import ChatMessage, SamplingParams, TokenChunk
from core.models.prompt_lookup import PromptLookup
from core.models.sampling import Sampler
from core.models.streaming import Detokenizer, StopStrings

_DECODE_CONTEXT = 8
"""Tokens of the prompt's end that the first token of the reply is decoded after."""
_HOST_FULL = "can't allocate memory"
"""What torch says instead of raising `OutOfMemoryError` when it is the host's memory that has run out."""


class _ReplyText:
    """The text of a reply, token by token, up to a stop string."""

    def __init__(self, detokenizer: Detokenizer, stops: StopStrings) -> None:
        self._detokenizer = detokenizer
        self._stops = stops

    @property
    def stopped(self) -> bool:
        return self._stops.found

    def push(self, token: int) -> str:
        return self._stops.push(self._detokenizer.push(token))

    def end(self) -> str:
        """Return what was held back until the end."""
        return self._stops.push(self._detokenizer.flush()) + self._stops.flush()


class Runner:
    """A loaded model and its tokenizer; implements `ModelRunner`.

    What the model has read stays known: a prompt that starts like the text before, as the next turn
    of a conversation does, is read only from where it differs.
    """

    def __init__(
        self, name: str, model: CausalModel, tokenizer: PreTrainedTokenizerFast, end_tokens: Iterable[int]
    ) -> None:
        """Pair a model with its tokenizer.

        Args:
            name: The model's name for people.
            model: What computes.
            tokenizer: The model's.
            end_tokens: Tokens that end a reply, beside those of the tokenizer and its chat template.
        """
        self.name = name
        self.model = model
        """What computes."""
        self._tokenizer = tokenizer
        self._chat = ChatEncoder(tokenizer)
        self.end_tokens = {*end_tokens, *list_tokens(tokenizer.eos_token_id), *self._chat.end_tokens()}
        """Tokens of which each ends a reply."""
        self._thread = threading.get_ident()
        self._read: list[int] = []
        """The tokens whose keys and values the model holds."""

    @property
    def context_length(self) -> int:
        """Longest prompt plus reply, in tokens."""
        return self.model.context_length

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of plain text, without special tokens."""
        return self._chat.count(text)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without control tokens."""
        return self._tokenizer.backend_tokenizer.decode(list(tokens), skip_special_tokens=True)

    def encode_chat(self, messages: Sequence[ChatMessage], reply_prefix: str = "") -> list[int]:
        """Render with the model's chat template, up to where the reply starts."""
        return self._chat.encode(messages, reply_prefix)

    def generate(self, prompt: Sequence[int], params: SamplingParams, token: CancelToken) -> Iterator[TokenChunk]:
        """Prefill and decode; see `ModelRunner.generate`."""
        self._check_thread()
        self._check_length(len(prompt), params.max_tokens)
        text = _ReplyText(
            Detokenizer(self.decode, prompt[-_DECODE_CONTEXT:]),
            StopStrings((*params.stop, *self._chat.stop_strings)),
        )
        for count, number in enumerate(self.tokens(prompt, params, token), start=1):
            if number in self.end_tokens:
                yield TokenChunk(text=text.end(), finish="stop")
                return
            new = text.push(number)
            if text.stopped:
                yield TokenChunk(text=new, finish="stop")
                return
            if count == params.max_tokens:
                yield TokenChunk(text=new + text.end(), finish="length")
                return
            yield TokenChunk(text=new)

    def release(self) -> None:
        """Forget what was read, and give the memory of its keys and values back."""
        self._read.clear()
        self.model.release()

    def tokens(self, prompt: Sequence[int], params: SamplingParams, token: CancelToken) -> Iterator[int]:
        """Yield the tokens of a reply, without end; the caller decides when it is complete.

        Tokens that are probably copied from the text so far are read together with the last one:
        half as many as can be, until all of a guess were right.
        Each is chosen all the same, from the logits after those before it; what was read after the
        first that is chosen otherwise is forgotten.
        """
        sampler = Sampler(params, prompt, self.model.device)
        lookup = PromptLookup(prompt)
        logits = self._prefill(prompt, token)
        draft: list[int] = []
        left = params.max_tokens
        while True:
            accepted = 0
            for row in logits:
                with self._guarded(len(prompt)):
                    number = sampler.choose(row)
                left -= 1
                yield number
                token.raise_if_cancelled()
                lookup.push(number)
                if accepted == len(draft) or number != draft[accepted]:
                    break
                accepted += 1
            if accepted < len(draft):
                self._keep(len(self._read) - len(draft) + accepted)
            width = self.model.step_width if draft and accepted == len(draft) else self.model.step_width // 2
            draft = lookup.draft(max(0, min(width, left) - 1))
            logits = self._read_with(self.model.decode, [number, *draft], token, len(prompt))

    def _prefill(self, prompt: Sequence[int], token: CancelToken) -> torch.Tensor:
        """Read what is new of a prompt, in chunks.

        Returns:
            Logits after its last token; shape (1, vocabulary).
        """
        known = self._read[: self.model.length]
        self._keep(min(_common_length(known, prompt), len(prompt) - 1))
        logits = torch.empty(0)
        for start in range(len(self._read), len(prompt), self.model.prefill_chunk):
            token.raise_if_cancelled()
            chunk = prompt[start : start + self.model.prefill_chunk]
            logits = self._read_with(self.model.prefill, chunk, token, len(prompt))
        token.raise_if_cancelled()
        return logits[None]

    def _keep(self, length: int) -> None:
        """Forget what was read after the first `length` tokens."""
        with self._guarded(length):
            self.model.truncate(length)
        del self._read[length:]

    def _read_with(
        self,
        run: Callable[[Sequence[int], CancelToken], torch.Tensor],
        tokens: Sequence[int],
        token: CancelToken,
        prompt_length: int,
    ) -> torch.Tensor:
        """Let the model read tokens; returns what it predicts."""
        with self._guarded(prompt_length):
            logits = run(tokens, token)
        self._read += tokens
        return logits

    @contextmanager
    def _guarded(self, prompt_length: int) -> Iterator[None]:
        """Compute without gradients, and turn failures of the device into errors for people."""
        try:
            with torch.inference_mode():
                yield
        except AssistantError:
            raise
        except torch.OutOfMemoryError as error:
            raise self._explain_memory(prompt_length) from error
        except RuntimeError as error:
            if _HOST_FULL in str(error):
                raise self._explain_memory(prompt_length) from error
            raise ModelFailed(f"The model {self.name} failed: {_first_line(error)}", model=self.name) from error

    def _explain_memory(self, prompt_length: int) -> OutOfMemory:
        torch.cuda.empty_cache()
        return OutOfMemory(
            f"A prompt of {prompt_length} tokens does not fit in the memory of {self.model.device} beside the model "
            f"{self.name}. Select less code, start a new conversation, or set device to 'cpu'.",
            model=self.name,
            promptTokens=prompt_length,
        )

    def _check_thread(self) -> None:
        if threading.get_ident() != self._thread:
            message = "A model runs only on the thread that loaded it."
            raise RuntimeError(message)

    def _check_length(self, prompt: int, reply: int) -> None:
        if prompt == 0:
            raise ModelFailed("The prompt is empty.", model=self.name)
        if prompt + reply > self.context_length:
            raise ContextTooLong(
                f"The prompt has {prompt} tokens and the reply may have {reply}, but {self.name} can hold "
                f"{self.context_length} in all. Select less code or start a new conversation.",
                promptTokens=prompt,
                maxTokens=reply,
                contextLength=self.context_length,
            )


def list_tokens(tokens: int | Sequence[int] | None) -> list[int]:
    """Return as a list what configurations hold as one token, several or none."""
    if tokens is None:
        return []
    return [tokens] if isinstance(tokens, int) else list(tokens)


def _common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many tokens two texts have in common at their start."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((index for index, (one, other) in pairs if one != other), min(len(first), len(second)))


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
