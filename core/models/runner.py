"""Prefill and decode over a transformers model.

Runs on the thread that made the runner, and nowhere else.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerFast

from core.cancellation import CancelToken
from core.errors import AssistantError, ContextTooLong, ModelFailed, OutOfMemory
from core.models.chat import ChatEncoder
from core.models.interface import ChatMessage, SamplingParams, TokenChunk
from core.models.sampling import Sampler
from core.models.streaming import Detokenizer, StopStrings

PREFILL_CHUNK = 256
"""Tokens between two looks at the cancel token while the prompt is read."""
_DECODE_CONTEXT = 8
"""Tokens of the prompt's end that the first token of the reply is decoded after."""


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


class TransformersRunner:
    """A loaded model and its tokenizer; implements `ModelRunner`."""

    def __init__(self, name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
        self.name = name
        self._model = model
        self._tokenizer = tokenizer
        self._chat = ChatEncoder(tokenizer)
        self._end_tokens = _end_tokens(model, tokenizer) | self._chat.end_tokens()
        self._thread = threading.get_ident()

    @property
    def context_length(self) -> int:
        """Longest prompt plus reply, in tokens."""
        return int(self._model.config.max_position_embeddings)

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of plain text, without special tokens."""
        return self._chat.count(text)

    def encode_chat(self, messages: Sequence[ChatMessage], reply_prefix: str = "") -> list[int]:
        """Render with the model's chat template, up to where the reply starts."""
        return self._chat.encode(messages, reply_prefix)

    def generate(self, prompt: Sequence[int], params: SamplingParams, token: CancelToken) -> Iterator[TokenChunk]:
        """Prefill and decode; see `ModelRunner.generate`."""
        self._check_thread()
        self._check_length(len(prompt), params.max_tokens)
        text = _ReplyText(
            Detokenizer(self._decode_tokens, prompt[-_DECODE_CONTEXT:]),
            StopStrings((*params.stop, *self._chat.stop_strings)),
        )
        for count, number in enumerate(self._tokens(prompt, params, token), start=1):
            if number in self._end_tokens:
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

    def _tokens(self, prompt: Sequence[int], params: SamplingParams, token: CancelToken) -> Iterator[int]:
        """Yield the tokens of a reply, without end; the caller decides when it is complete."""
        device = self._model.device
        sampler = Sampler(params, prompt, device)
        cache = DynamicCache(config=self._model.config)
        logits = self._prefill(prompt, cache, token)
        while True:
            with self._guarded(len(prompt)):
                number = sampler.choose(logits)
            yield number
            token.raise_if_cancelled()
            logits = self._forward([number], cache, len(prompt))

    def _prefill(self, prompt: Sequence[int], cache: DynamicCache, token: CancelToken) -> torch.Tensor:
        """Read the prompt in chunks; returns the logits after its last token."""
        logits = torch.empty(0)
        for start in range(0, len(prompt), PREFILL_CHUNK):
            token.raise_if_cancelled()
            logits = self._forward(prompt[start : start + PREFILL_CHUNK], cache, len(prompt))
        token.raise_if_cancelled()
        return logits

    def _forward(self, tokens: Sequence[int], cache: DynamicCache, prompt_length: int) -> torch.Tensor:
        """Run the model on tokens that follow those in the cache.

        Returns:
            Logits after the last token; shape (vocabulary,).
        """
        with self._guarded(prompt_length):
            ids = torch.tensor([list(tokens)], device=self._model.device)
            output = self._model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            logits: torch.Tensor = output.logits[0, -1]
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
            raise ModelFailed(f"The model {self.name} failed: {_first_line(error)}", model=self.name) from error

    def _explain_memory(self, prompt_length: int) -> OutOfMemory:
        torch.cuda.empty_cache()
        return OutOfMemory(
            f"A prompt of {prompt_length} tokens does not fit in the memory of {self._model.device} beside the model "
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

    def _decode_tokens(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.backend_tokenizer.decode(list(tokens), skip_special_tokens=True)


def _end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> set[int]:
    """Return every token that its makers say ends a reply."""
    ends: set[int] = set()
    for named in (model.generation_config.eos_token_id, model.config.eos_token_id, tokenizer.eos_token_id):
        ends.update(named if isinstance(named, (list, tuple)) else [named] if named is not None else [])
    return ends


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
