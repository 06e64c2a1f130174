"""Sentence embeddings on the CPU; the only module that imports sentence_transformers."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from core.errors import ModelDamaged, ModelMissing
from core.knowledge.wording import describe_wording, middle_layer

Vectors = NDArray[np.float32]

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


class Readings(NamedTuple):
    """What a model makes of texts: unit vectors, whose dot product is a cosine."""

    meaning: Vectors
    """What each is about: shape (texts, dimension)."""
    wording: Vectors
    """How each says so, see `core.knowledge.wording`: shape (texts, another dimension)."""


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

    def read(self, texts: Sequence[str]) -> Readings:
        """Return the same vectors, and with them how the texts are worded."""
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
        self._model = _fastest(_LibraryPass(model))
        self._lock = threading.Lock()
        self.fingerprint = fingerprint(folder)
        self.dimension = int(model.get_embedding_dimension())

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per text: shape (len(texts), dimension), float32.

        A vector describes the beginning of its text: as much as the model reads (256 tokens
        for all-MiniLM-L6-v2).
        """
        vectors = np.empty((len(texts), self.dimension), np.float32)
        for some in _batches(texts):
            with self._lock:
                vectors[some] = self._model.embed([_readable(texts[i]) for i in some])
        return vectors

    def read(self, texts: Sequence[str]) -> Readings:
        """Return the same vectors, and with them how the texts are worded; of at least one text."""
        order, parts = [], []
        for some in _batches(texts):
            order += some
            with self._lock:
                parts.append(self._model.read([_readable(texts[i]) for i in some]))
        back = np.argsort(order)
        meaning, wording = (np.concatenate(kind)[back] for kind in zip(*parts, strict=True))
        return Readings(meaning, wording)


def _batches(texts: Sequence[str]) -> list[list[int]]:
    """Return the numbers of texts that share a batch: those of like length, since all are padded to the longest."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    return [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]


def _readable(text: str) -> str:
    return text[:_LONGEST].encode("utf-8", "replace").decode("utf-8")


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


class _Pass(Protocol):
    """A forward pass, of at least one text at a time."""

    def embed(self, texts: Sequence[str]) -> Vectors: ...

    def read(self, texts: Sequence[str]) -> tuple[Vectors, Vectors]: ...


class _LibraryPass:
    """The library's, which takes any model."""

    def __init__(self, model: Any) -> None:
        self.model = model
        transformer = getattr(model[0], "auto_model", None)
        if transformer is not None:
            transformer.config.output_hidden_states = True

    def embed(self, texts: Sequence[str]) -> Vectors:
        vectors = self.model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, np.float32)

    def read(self, texts: Sequence[str]) -> tuple[Vectors, Vectors]:
        # One by one, so that no padding is among the states.
        both = [self._read(text) for text in texts]
        meaning, wording = (np.stack(kind) for kind in zip(*both, strict=True))
        return meaning, wording

    def _read(self, text: str) -> tuple[Vectors, Vectors]:
        seen: list[Any] = []
        hook = self.model[0].register_forward_hook(lambda _module, _inputs, features: seen.append(features))
        try:
            meaning = self.embed([text])[0]
        finally:
            hook.remove()
        states = seen[0].get("all_layer_embeddings")
        if states is None:  # a model without layers
            return meaning, meaning
        middle = states[middle_layer(len(states) - 1)]  # the first are the inputs of the first layer
        return meaning, describe_wording(np.asarray(middle[0], np.float32))


def _fastest(library: _LibraryPass) -> _Pass:
    """Return our own forward pass if it comes to the same as the library's, which else is returned."""
    from core.knowledge.bert import Bert  # noqa: PLC0415 - seconds of import, only where needed

    own = Bert.of(library.model)
    if own is None:
        return library
    expected, found = library.read(_PROBE), own.read(_PROBE)
    same = all(
        one.shape == other.shape and np.allclose(one, other, rtol=0, atol=_SAME)
        for one, other in zip(expected, found, strict=True)
    )
    return own if same else library
