"""Models with random weights, in the shapes of the default ones: for timing, never for quality."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, Phi3Config, PretrainedConfig, PreTrainedTokenizerFast

_CHAT = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a decoder."""

    hidden: int
    feed_forward: int
    layers: int
    heads: int
    vocabulary: int


FULL = {
    "phi3": Shape(3072, 8192, 32, 32, 32064),
    "coder": Shape(2048, 5504, 24, 16, 32256),
}
"""Phi-3-mini-4k and deepseek-coder-1.3b."""
SMALL = {
    "phi3": Shape(768, 2048, 16, 8, 8064),
    "coder": Shape(512, 1408, 12, 4, 8256),
}
TINY = {
    "phi3": Shape(192, 512, 6, 4, 2064),
    "coder": Shape(128, 352, 6, 4, 2256),
}
SIZES = {"full": FULL, "small": SMALL, "tiny": TINY}
KINDS = tuple(FULL)


class Prompts:
    """Prompts that have nothing in common, so that nothing of one helps to answer the next."""

    def __init__(self) -> None:
        self._choose = random.Random(2)

    def new(self, length: int) -> list[int]:
        """Return the tokens of a new prompt."""
        return [self._choose.randrange(40, 240) for _ in range(length)]


def make_models(folder: Path, size: str, *, device: str = "cpu") -> dict[str, Path]:
    """Write one model of each kind, in bfloat16; those that are there already are kept.

    Args:
        folder: Gets a folder for each model.
        size: `full`, `small` or `tiny`.
        device: Where the weights are made up; a GPU is faster for large ones.
    """
    return {kind: _make(folder / f"{kind}-{size}", kind, SIZES[size][kind], device) for kind in KINDS}


def _make(folder: Path, kind: str, shape: Shape, device: str) -> Path:
    if (folder / "tokenizer.json").is_file():
        return folder
    torch.manual_seed(KINDS.index(kind))
    config = _config(kind, shape)
    with torch.device(device):
        make: Any = AutoModelForCausalLM.from_config
        model = make(config, dtype=torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="2GB")
    _tokenizer(shape.vocabulary).save_pretrained(folder)
    return folder


def _config(kind: str, shape: Shape) -> PretrainedConfig:
    common: dict[str, Any] = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    if kind == "phi3":
        return Phi3Config(**common, max_position_embeddings=4096, sliding_window=2047)
    rope = {"rope_type": "linear", "factor": 4.0}
    # Version 5 of transformers has both in `rope_parameters`, and understands what version 4 wants.
    old: dict[str, Any] = {"rope_scaling": rope, "rope_theta": 100000.0}
    return LlamaConfig(**common, **old, max_position_embeddings=16384)


def _tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer of bytes, filled up with words that never occur."""
    names = ["<s>", "</s>", *pre_tokenizers.ByteLevel.alphabet()]
    names += [f"<unused {number}>" for number in range(vocabulary - len(names))]
    tokenizer = Tokenizer(models.BPE(vocab={name: number for number, name in enumerate(names)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    make: Any = PreTrainedTokenizerFast
    result: PreTrainedTokenizerFast = make(tokenizer_object=tokenizer, chat_template=_CHAT, **specials)
    return result
