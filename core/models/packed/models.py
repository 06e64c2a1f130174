"""The packed models that are open, and their runners."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoConfig, GenerationConfig, PreTrainedTokenizerFast

from core.cancellation import CancelToken
from core.errors import ModelDamaged
from core.models.packed.config import DecoderConfig
from core.models.packed.facts import FOLDERS, PackFacts, read_facts
from core.models.packed.model import PackedModel
from core.models.packed.prepare import prepare
from core.models.packed.sources import SafetensorsSource
from core.models.packed.store import open_decoder
from core.models.runner import Runner, list_tokens

OnProgress = Callable[[str, float], None]
ReadTokenizer = Callable[[Path], PreTrainedTokenizerFast]
_OPENING = 0.9


@dataclass(slots=True)
class OpenModel:
    """A packed model; its weights are pages of its files, which the system drops when it needs the memory."""

    runner: Runner
    facts: PackFacts
    in_use: bool = True

    def evict(self) -> None:
        """Let it go with the next release."""
        self.in_use = False


class PackedModels:
    """Opens packed models, and keeps them open until their memory is wanted."""

    def __init__(self, read_tokenizer: ReadTokenizer) -> None:
        self._read_tokenizer = read_tokenizer
        self._open: dict[tuple[Path, int], OpenModel] = {}

    def load(self, name: str, folder: Path, bits: int, token: CancelToken, on_progress: OnProgress) -> OpenModel:
        """Open a model packed in 4 or 8 bits; it is packed now if it was not yet, or by another version.

        Raises:
            ModelDamaged: Files are missing or unreadable.
            Cancelled: The token was set.
        """
        token.raise_if_cancelled()
        known = self._open.get((folder, bits))
        if known is None or known.facts != read_facts(folder, bits):
            self._open.pop((folder, bits), None)
            known = self._open[folder, bits] = self._read(name, folder, bits, token, on_progress)
        known.in_use = True
        on_progress("ready", 1.0)
        return known

    def release(self) -> None:
        """Close the models that are not in use."""
        self._open = {key: one for key, one in self._open.items() if one.in_use}

    def _read(self, name: str, folder: Path, bits: int, token: CancelToken, on_progress: OnProgress) -> OpenModel:
        facts = read_facts(folder, bits)
        if facts is None or not facts.current:
            facts = _pack(name, folder, bits, token, on_progress)
        on_progress("reading the tokenizer", _OPENING)
        tokenizer = self._read_tokenizer(folder)
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        with torch.inference_mode():
            stored = folder / FOLDERS[bits]
            decoder = open_decoder(stored, SafetensorsSource(folder), DecoderConfig.of(config), token)
        ends = {*list_tokens(config.eos_token_id), *_generation_ends(folder)}
        return OpenModel(Runner(name, PackedModel(decoder), tokenizer, ends), facts)


def _pack(name: str, folder: Path, bits: int, token: CancelToken, on_progress: OnProgress) -> PackFacts:
    doing = f"packing its weights in {bits} bits, once"
    problem = prepare(folder, lambda done: on_progress(doing, _OPENING * done), token, bits)
    facts = read_facts(folder, bits)
    if facts is None or not facts.current:
        raise ModelDamaged(
            f"The model {name} cannot be packed: {problem or 'its files cannot be read'}. Choose another precision "
            "with the setting precision, for example 'bfloat16'.",
            model=name,
        )
    return facts


def _generation_ends(folder: Path) -> list[int]:
    """Return the end tokens of the generation settings, which not every model has."""
    if not (folder / "generation_config.json").is_file():
        return []
    return list_tokens(GenerationConfig.from_pretrained(folder, local_files_only=True).eos_token_id)
