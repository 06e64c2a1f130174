"""An embedder without a model: texts that share words are alike."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np

from core.knowledge.embedder import Readings, Vectors


class WordEmbedder:
    """Adds up one fixed random vector per word."""

    def __init__(self, fingerprint: str = "words-1", dimension: int = 64) -> None:
        self.fingerprint = fingerprint
        self.dimension = dimension
        self.embedded: list[str] = []
        """Every text that was embedded, in order."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.embedded += texts
        sums = [sum((self._word(word) for word in re.findall(r"\w+", text.lower())), self._word("")) for text in texts]
        vectors = np.asarray(sums, np.float32).reshape(len(texts), self.dimension)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)

    def read(self, texts: Sequence[str]) -> Readings:
        """Texts are worded alike, too, if they share words."""
        vectors = self.embed(texts)
        return Readings(vectors, vectors)

    def _word(self, word: str) -> Vectors:
        seed = zlib.crc32(f"{self.fingerprint} {word}".encode("utf-8", "replace"))
        return np.random.default_rng(seed).standard_normal(self.dimension).astype(np.float32)
