"""Chats become the same tokens as with transformers, except that no text becomes a control token."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import CHATML, byte_level_tokenizer, sentencepiece_tokenizer
from transformers import PreTrainedTokenizerFast

from core.models.chat import ChatEncoder, fold_system
from core.models.interface import ChatMessage

pytestmark = pytest.mark.e2e

TOKENIZERS = {"byte_level": byte_level_tokenizer(), "sentencepiece": sentencepiece_tokenizer()}
CODE = "Explain:\n```python\ndef add(a, b):\n    return a + b\n```"


@pytest.fixture(params=sorted(TOKENIZERS))
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return TOKENIZERS[request.param]


def template_tokens(tokenizer: PreTrainedTokenizerFast, chat: list[ChatMessage]) -> list[int]:
    rows = [{"role": one.role, "content": one.content} for one in chat]
    return tokenizer.apply_chat_template(rows, add_generation_prompt=True, return_dict=True)["input_ids"]


@pytest.mark.parametrize(
    "chat",
    [
        [ChatMessage("user", CODE)],
        [ChatMessage("user", "first "), ChatMessage("assistant", "reply\n"), ChatMessage("user", "naïve 🙂 日本")],
        [ChatMessage("user", ""), ChatMessage("assistant", "x"), ChatMessage("user", "y")],
    ],
)
def test_tokens_are_those_of_the_template(tokenizer: PreTrainedTokenizerFast, chat: list[ChatMessage]) -> None:
    assert ChatEncoder(tokenizer).encode(chat) == template_tokens(tokenizer, chat)


@given(content=st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
def test_tokens_are_those_of_the_template_for_any_text(tokenizer: PreTrainedTokenizerFast, content: str) -> None:
    chat = [ChatMessage("user", f"x{content}")]
    assert ChatEncoder(tokenizer).encode(chat) == template_tokens(tokenizer, chat)


def test_indentation_at_the_start_of_a_message_is_kept() -> None:
    """Control tokens of Phi-3 swallow whitespace after them; that of the template may go, a person's may not."""
    tokenizer = sentencepiece_tokenizer()
    encoded = ChatEncoder(tokenizer).encode([ChatMessage("user", "    return 1")])
    assert "<|user|>     return 1<|end|>" in tokenizer.decode(encoded)


@pytest.mark.parametrize("name", sorted(TOKENIZERS))
def test_no_text_becomes_a_control_token(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    controls = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    harmless = [ChatMessage("user", "x"), ChatMessage("assistant", "y"), ChatMessage("user", "z")]
    injected = "".join(str(one) for one in tokenizer.added_tokens_decoder.values())
    hostile = [ChatMessage(one.role, f"a{injected}b") for one in harmless]
    encoder = ChatEncoder(tokenizer)
    wanted = [one for one in encoder.encode(harmless) if one in controls]
    encoded = encoder.encode(hostile, reply_prefix=injected)
    assert [one for one in encoded if one in controls] == wanted
    assert tokenizer.decode(encoded).count(injected) >= 4


def test_tool_like_tokens_are_kept_out_even_if_not_special() -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.add_tokens(["<tool_call>", "ordinary"])
    encoder = ChatEncoder(tokenizer)
    encoded = encoder.encode([ChatMessage("user", "<tool_call> ordinary")])
    assert tokenizer.convert_tokens_to_ids("<tool_call>") not in encoded
    assert tokenizer.convert_tokens_to_ids("ordinary") in encoded


def test_placeholders_cannot_be_guessed() -> None:
    """A message that repeats another message's text is not taken for a placeholder."""
    tokenizer = byte_level_tokenizer()
    chat = [ChatMessage("user", "0"), ChatMessage("assistant", "0 1"), ChatMessage("user", "user")]
    assert ChatEncoder(tokenizer).encode(chat) == template_tokens(tokenizer, chat)


def test_system_message_joins_the_first_question_where_the_template_has_none() -> None:
    tokenizer = sentencepiece_tokenizer()
    chat = [ChatMessage("system", "Be brief."), ChatMessage("user", "Hello")]
    assert ChatEncoder(tokenizer).encode(chat) == template_tokens(
        tokenizer, [ChatMessage("user", "Be brief.\n\nHello")]
    )


def test_system_message_is_not_lost_where_the_template_ignores_it() -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.chat_template = CHATML.replace(
        "%}<|im_start|>{{", "%}{% if message['role'] != 'system' %}<|im_start|>{{"
    ).replace("<|im_end|>\n{% endfor", "<|im_end|>\n{% endif %}{% endfor")
    encoded = ChatEncoder(tokenizer).encode([ChatMessage("system", "Be brief."), ChatMessage("user", "Hello")])
    assert "Be brief.\n\nHello" in tokenizer.decode(encoded)


def test_folding_keeps_every_message() -> None:
    chat = [
        ChatMessage("system", "a"),
        ChatMessage("system", "b"),
        ChatMessage("user", "c"),
        ChatMessage("assistant", "d"),
    ]
    assert fold_system(chat) == [ChatMessage("user", "a\n\nb\n\nc"), ChatMessage("assistant", "d")]
    assert fold_system(chat[:1]) == [ChatMessage("user", "a")]


def test_model_without_template_gets_a_plain_format() -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.chat_template = None
    encoder = ChatEncoder(tokenizer)
    encoded = encoder.encode([ChatMessage("system", "Be brief."), ChatMessage("user", "Hello <|im_end|>")], "Well")
    expected = "### System:\nBe brief.\n\n### User:\nHello <|im_end|>\n\n### Assistant:\nWell"
    assert tokenizer.decode(encoded) == expected
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") not in encoded
    assert encoder.stop_strings == ("\n### User:",)


def test_reply_prefix_starts_the_reply(tokenizer: PreTrainedTokenizerFast) -> None:
    encoder = ChatEncoder(tokenizer)
    chat = [ChatMessage("user", "Hello")]
    started = encoder.encode(chat, "```python\n")
    assert started[: len(encoder.encode(chat)) - 1] == encoder.encode(chat)[:-1]
    assert tokenizer.decode(started).endswith("```python\n")


def test_end_tokens_are_those_of_the_template() -> None:
    for tokenizer, end in ((byte_level_tokenizer(), "<|im_end|>"), (sentencepiece_tokenizer(), "<|end|>")):
        assert ChatEncoder(tokenizer).end_tokens() == {tokenizer.convert_tokens_to_ids(end)}


def test_space_before_the_first_word_is_put_only_there() -> None:
    """Newer files of SentencePiece models use a pre-tokenizer that adds a space to the first word of a text."""
    tokenizer = sentencepiece_tokenizer()
    data = json.loads(tokenizer.backend_tokenizer.to_str())
    data["normalizer"] = None
    data["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    newer = PreTrainedTokenizerFast(
        tokenizer_object=type(tokenizer.backend_tokenizer).from_str(json.dumps(data)),
        bos_token="<s>",
        eos_token="</s>",
        chat_template=tokenizer.chat_template,
    )
    chat = [ChatMessage("user", CODE), ChatMessage("assistant", "It adds."), ChatMessage("user", "Why?")]
    assert ChatEncoder(newer).encode(chat) == template_tokens(newer, chat)
