"""Tiny models on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import byte_level_tokenizer, save, sentencepiece_tokenizer, tiny_llama, tiny_phi3, tiny_qwen2


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tiny_llama(), byte_level_tokenizer(), tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def phi3_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phi-3 with a sliding window that prompts of the tests exceed."""
    return save(tiny_phi3(), sentencepiece_tokenizer(), tmp_path_factory.mktemp("phi3"))


@pytest.fixture(scope="session")
def qwen2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Qwen2 with tied embeddings, in several shards."""
    model = tiny_qwen2(tie_word_embeddings=True)
    return save(model, byte_level_tokenizer(), tmp_path_factory.mktemp("qwen2"), max_shard_size="100KB")
