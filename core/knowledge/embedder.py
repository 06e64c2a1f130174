"""Sentence embeddings on the CPU; the only module that imports sentence_transformers."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from core.errors import ModelDamaged, ModelMissing

Vectors = NDArray[np.float32]
_Encode = Callable[[Sequence[str]], Vectors]

_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
_LONGEST = 4000
"""Characters read of a text. Sentence models see a few hundred tokens, and tokenizing megabytes takes seconds."""
_PROBE = ("Sort a list of DATES", "Écris une fonction : 日本語?")
"""Texts that tell whether two ways to embed are the same."""
_SAME = 1e-5
"""By how much a number in a unit vector may differ in rounding; another pooling or prompt differs by hundredths."""
_BATCH = 8
"""Texts per forward pass: small, so that a query waits only briefly while an import embeds."""


class Embedder(Protocol):
    """Turns texts into vectors whose dot product is their cosine similarity."""

    @property
    def fingerprint(self) -> str:
        """Identifies the model: vectors of different fingerprints must never be compared."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per text: shape (len(texts), dimension), float32."""
        ...


class SentenceEmbedder:
    """A sentence-transformers model read from a local folder.

    Usable from several threads: a lock is held for one small batch at a time.
    """

    def __init__(self, folder: Path) -> None:
        """Load the model in `folder`.

        Raises:
            ModelMissing: There is no such folder.
            ModelDamaged: The folder holds no usable sentence model.
        """
        if not folder.is_dir():
            raise ModelMissing(
                f"The embedding model is not in {folder}. Install it with: ai-codegen-assistant models pull starter"
            )
        model = _load(folder)
        self._encode = _fastest(model)
        self._lock = threading.Lock()
        self.fingerprint = fingerprint(folder)
        self.dimension = int(model.get_embedding_dimension())

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per text: shape (len(texts), dimension), float32.

        A vector describes the beginning of its text: as much as the model reads (256 tokens
        for all-MiniLM-L6-v2).
        """
        vectors = np.empty((len(texts), self.dimension), np.float32)
        # Texts of like length share a batch, since all are padded to the longest.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), _BATCH):
            some = order[start : start + _BATCH]
            vectors[some] = self._embed_batch([texts[i] for i in some])
        return vectors

    def _embed_batch(self, texts: Sequence[str]) -> Vectors:
        readable = [text[:_LONGEST].encode("utf-8", "replace").decode("utf-8") for text in texts]
        with self._lock:
            return self._encode(readable)


def fingerprint(folder: Path) -> str:
    """Return a hash of everything in `folder` that decides what the vectors are."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in {".json", ".safetensors", ".txt", ".model"}:
            digest.update(path.relative_to(folder).as_posix().encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _load(folder: Path) -> Any:
    os.environ.update(_OFFLINE)  # read when the libraries are imported
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - seconds of import, only where needed

    try:
        return SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    except Exception as error:
        # The libraries raise whatever their parsers meet: OSError, KeyError, SafetensorError, ...
        raise ModelDamaged(
            f"The embedding model in {folder} cannot be loaded ({type(error).__name__}: {error}). "
            "Remove it and install it again: ai-codegen-assistant models pull starter"
        ) from error


def _fastest(model: Any) -> _Encode:
    """Return what embeds as `model` does, by our own forward pass if it comes to the same."""

    def encode(texts: Sequence[str]) -> Vectors:
        vectors = model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, np.float32)

    expected = encode(_PROBE)
    own = _own_pass(model)
    if own is None:
        return encode
    vectors = own(_PROBE)
    same = vectors.shape == expected.shape and np.allclose(vectors, expected, rtol=0, atol=_SAME)
    return own if same else encode


def _own_pass(model: Any) -> _Encode | None:
    from core.knowledge.bert import Bert  # noqa: PLC0415 - seconds of import, as above

    bert = Bert.of(model)
    return None if bert is None else bert.embed
