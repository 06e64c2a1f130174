"""Turning messages into tokens with the model's own chat template.

Text that people write must never become a control token: `<|im_end|>` inside somebody's code is
plain text. The template is therefore rendered with placeholders for the contents, split at its
own control tokens, and everything between them is encoded by a tokenizer that knows none.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerFast

from core.models.interface import ChatMessage

_PLAIN_HEADINGS = {"system": "System", "user": "User", "assistant": "Assistant"}
PLAIN_STOP = "\n### User:"
"""Where a model without a chat template starts to invent the next question."""


@dataclass(frozen=True, slots=True)
class _Rendered:
    """A rendered template: pieces of it, alternating with contents."""

    pieces: tuple[str, ...]
    contents: tuple[str, ...]


class ChatEncoder:
    """Encodes chats for one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer
        backend = tokenizer.backend_tokenizer
        self._controls = {
            token.content: (number, token)
            for number, token in backend.get_added_tokens_decoder().items()
            if _is_control(token)
        }
        self._first, self._later = _plain_tokenizers(backend, set(self._controls))
        self._split = re.compile(
            "|".join(re.escape(one) for one in sorted(self._controls, key=len, reverse=True)) or r"(?!)"
        )

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """What ends a reply beside end tokens."""
        return () if self._tokenizer.chat_template else (PLAIN_STOP,)

    def count(self, text: str) -> int:
        """Return the number of tokens of plain text."""
        return len(self._first.encode(text, add_special_tokens=False).ids)

    def encode(self, messages: Sequence[ChatMessage], reply_prefix: str = "") -> list[int]:
        """Return the tokens of a chat up to where the reply starts, and of its given start."""
        rendered = self._render(messages)
        closed = _Rendered(rendered.pieces, (*rendered.contents, reply_prefix))
        return list(self._encode(closed))

    def end_tokens(self) -> set[int]:
        """Return the control tokens with which the template ends a reply."""
        if not self._tokenizer.chat_template:
            return set()
        chat = [ChatMessage("user", "a"), ChatMessage("assistant", "b")]
        pieces = self._render(chat, reply=False).pieces
        match = self._split.match(pieces[-1].lstrip())
        return {self._controls[match.group()][0]} if match else set()

    def _render(self, messages: Sequence[ChatMessage], *, reply: bool = True) -> _Rendered:
        if not self._tokenizer.chat_template:
            return _render_plain(messages, self._bos)
        try:
            return self._render_template(messages, reply=reply)
        except (jinja2.TemplateError, _LostMessage):
            return self._render_template(fold_system(messages), reply=reply)

    def _render_template(self, messages: Sequence[ChatMessage], *, reply: bool) -> _Rendered:
        marks = [f"{secrets.token_hex(8)}" for _ in messages]
        chat = [{"role": one.role, "content": mark} for one, mark in zip(messages, marks, strict=True)]
        text = self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=reply)
        pieces = []
        for mark in marks:
            piece, found, text = str(text).partition(mark)
            if not found:
                raise _LostMessage
            pieces.append(piece)
        return _Rendered((*pieces, str(text)), tuple(one.content for one in messages))

    @property
    def _bos(self) -> str:
        starts = self._tokenizer("", add_special_tokens=True).input_ids
        return str(self._tokenizer.bos_token) if starts and starts[0] == self._tokenizer.bos_token_id else ""

    def _encode(self, rendered: _Rendered) -> Iterator[int]:
        """Encode run by run, a run being all text between two control tokens of the template."""
        run, trim = "", False
        first = True
        for piece, content in zip(rendered.pieces, rendered.contents, strict=True):
            for text, control in self._controls_of(piece):
                run += text.lstrip() if trim and not run else text
                if control is None:
                    continue
                number, token = control
                yield from self._encode_run(run.rstrip() if token.lstrip else run, first=first)
                yield number
                run, trim, first = "", token.rstrip, False
            run += content
        yield from self._encode_run(run, first=first)

    def _controls_of(self, piece: str) -> Iterator[tuple[str, tuple[int, AddedToken] | None]]:
        """Split a piece of template into text and the control token after it."""
        at = 0
        for match in self._split.finditer(piece):
            yield piece[at : match.start()], self._controls[match.group()]
            at = match.end()
        yield piece[at:], None

    def _encode_run(self, run: str, *, first: bool) -> list[int]:
        if not run:
            return []
        plain = self._first if first else self._later
        return list(plain.encode(run, add_special_tokens=False).ids)


class _LostMessage(Exception):
    """The template left a message out."""


def fold_system(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Join system messages to the first message of the user, for templates that know none."""
    system = [one.content for one in messages if one.role == "system"]
    rest = [one for one in messages if one.role != "system"]
    at = next((i for i, one in enumerate(rest) if one.role == "user"), None)
    joined = "\n\n".join([*system, *([rest[at].content] if at is not None else [])])
    folded = ChatMessage("user", joined)
    return [*rest[:at], folded, *rest[at + 1 :]] if at is not None else [folded, *rest]


def _render_plain(messages: Sequence[ChatMessage], start: str) -> _Rendered:
    """Render for a model without a template.

    The format is `### System:`, `### User:` and `### Assistant:`, each on a line of its own,
    followed by the text and an empty line.
    """
    headings = [f"### {_PLAIN_HEADINGS[one.role]}:\n" for one in messages] + ["### Assistant:\n"]
    pieces = [start + headings[0], *(f"\n\n{heading}" for heading in headings[1:])]
    return _Rendered(tuple(pieces), tuple(one.content for one in messages))


def _is_control(token: AddedToken) -> bool:
    """Vocabularies also add ordinary text as tokens; control tokens are special or in brackets."""
    return bool(token.special) or (token.content.startswith("<") and token.content.endswith(">"))


def _plain_tokenizers(backend: Tokenizer, controls: set[str]) -> tuple[Tokenizer, Tokenizer]:
    """Return tokenizers without control tokens: for the start of a text, and for later runs."""
    data: dict[str, Any] = json.loads(backend.to_str())
    vocabulary = backend.get_vocab(with_added_tokens=False)
    data["added_tokens"] = [
        _hide(token) if token["content"] in controls else token
        for token in data["added_tokens"]
        if token["content"] not in controls or token["content"] not in vocabulary
    ]
    data["post_processor"] = None
    first = Tokenizer.from_str(json.dumps(data))
    _never_prepend(data.get("pre_tokenizer"))
    return first, Tokenizer.from_str(json.dumps(data))


def _hide(token: dict[str, Any]) -> dict[str, Any]:
    """Rename a token so that no text contains it.

    Tokens beyond the vocabulary are numbered in order, so leaving one out would renumber the rest.
    """
    return {**token, "content": f"\ue000{secrets.token_hex(8)}"}


def _never_prepend(pre_tokenizer: Any) -> None:
    """A space that is put before the first word of a text must not be put before later runs."""
    if not isinstance(pre_tokenizer, dict):
        return
    if pre_tokenizer.get("prepend_scheme") == "first":
        pre_tokenizer["prepend_scheme"] = "never"
    for inner in pre_tokenizer.get("pretokenizers", []):
        _never_prepend(inner)
