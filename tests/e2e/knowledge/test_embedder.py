"""The real embedder gives the vectors that sentence-transformers gives for the same model, only sooner."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.knowledge.embedder import SentenceEmbedder
from core.messages import Role
from core.models.registry import ModelRegistry
from core.paths import DataFolders
from core.settings import Settings

pytestmark = pytest.mark.e2e

TEXTS = [
    "",
    " ",
    "sort",
    "Sort a list of dates, the LATEST first!",
    "  words with\tblanks \n around  ",
    "def mean(xs):\n    return sum(xs) / len(xs)  # {'a': 1} != [] -> 3.14e-7",
    "Größe, naïve, ÇA VA, İstanbul, ﬁne, e\u0301",
    "日本語のテキスト 한국어 العربية עברית ไทย",
    "😀 \u200b zero \ufeff width \x00 and \x07 controls",
    "[CLS] a text [SEP] with marks [PAD] of its [MASK] model [UNK]",
    "antidisestablishmentarianism" * 20,
    "one word too many " * 64,
    "far longer than the model reads " * 200,
]


@pytest.fixture(scope="module")
def folder(starter_home: Path) -> Path:
    registry = ModelRegistry(DataFolders(starter_home))
    return registry.locate(registry.resolve(Settings(), Role.EMBED))


@pytest.fixture(scope="module")
def library(folder: Path, embedder: SentenceEmbedder) -> Any:  # noqa: ARG001 - the embedder sees to it that nothing goes online
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - seconds of import

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def assert_same_vectors(embedder: SentenceEmbedder, library: Any) -> None:
    expected = np.stack([library.encode(text, normalize_embeddings=True) for text in TEXTS])
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    assert np.abs(alone - expected).max() < 1e-6
    assert np.abs(embedder.embed(TEXTS) - expected).max() < 1e-6


def assert_same_wording(embedder: SentenceEmbedder, library: Any) -> None:
    """Compare with what the library's own layers give, text by text."""
    import torch  # noqa: PLC0415 - seconds of import

    bert, tokenizer = library[0].auto_model, library.tokenizer
    expected = []
    for text in TEXTS:
        tokens = tokenizer([text], truncation=True, max_length=library.max_seq_length, return_tensors="pt")
        with torch.inference_mode():
            states = bert(**tokens, output_hidden_states=True).hidden_states[4][0].numpy()
        words = states[1:-1] if len(states) > 2 else states
        parts = [states.mean(axis=0), words[:4].mean(axis=0), words[-4:].mean(axis=0)]
        parts = [weight * part / np.linalg.norm(part) for weight, part in zip((1, 0.7, 0.7), parts, strict=True)]
        expected.append(np.concatenate(parts) / np.linalg.norm(np.concatenate(parts)))
    together = embedder.read(TEXTS)
    assert np.abs(together.wording - np.stack(expected)).max() < 1e-5
    assert np.abs(together.meaning - embedder.embed(TEXTS)).max() < 1e-6
    alone = np.concatenate([embedder.read([text]).wording for text in TEXTS])
    assert np.abs(alone - together.wording).max() < 1e-6


def test_wording_is_what_the_middle_layer_tells(embedder: SentenceEmbedder, library: Any) -> None:
    assert_same_wording(embedder, library)


def test_vectors_are_those_of_the_library(embedder: SentenceEmbedder, library: Any) -> None:
    assert_same_vectors(embedder, library)


def test_same_text_gives_the_same_bits(embedder: SentenceEmbedder) -> None:
    first = embedder.embed(TEXTS[:8])
    assert all(np.array_equal(embedder.embed(TEXTS[:8]), first) for _ in range(5))


def test_no_texts_give_no_vectors(embedder: SentenceEmbedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.dimension)


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}),
        ("config.json", {"hidden_act": "relu"}),
        ("config_sentence_transformers.json", {"prompts": {"ask": "query: "}, "default_prompt_name": "ask"}),
        ("sentence_bert_config.json", {"max_seq_length": 16}),
    ],
)
def test_other_models_are_embedded_as_they_ask_for(
    folder: Path, tmp_path: Path, file: str, change: dict[str, Any]
) -> None:
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - seconds of import

    other = tmp_path / "model"
    shutil.copytree(folder, other)
    settings = json.loads((other / file).read_text("utf-8"))
    (other / file).write_text(json.dumps(settings | change), "utf-8")
    embedder, library = (
        SentenceEmbedder(other),
        SentenceTransformer(str(other), device="cpu", local_files_only=True),
    )
    assert_same_vectors(embedder, library)
    if "prompts" not in change:  # which are read before the text
        assert_same_wording(embedder, library)
