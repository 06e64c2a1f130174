"""Models that take turns in memory compute exactly what freshly loaded ones compute, whatever went wrong before."""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_models import byte_level_tokenizer, save, tiny_llama
from transformers import AutoModelForCausalLM

from core.cancellation import CancelToken
from core.errors import Cancelled, ModelDamaged, OutOfMemory
from core.models import loader, swap
from core.models.copying import HostCopier
from core.models.interface import SamplingParams
from core.models.loader import LoadedModel, TorchBackend
from core.models.master import FileMasters
from core.models.placement import Placement
from core.models.swap import ArenaMemory
from core.settings import Device, Precision

pytestmark = pytest.mark.e2e

OVERLAP = 100_000
HEADROOM = 1 << 20
LARGEST_WEIGHT = 2 * 500 * 64 * 4
PROMPT = torch.arange(20, 40).view(1, -1)
SEQUENCES = 200
TIGHT = 700_000
"""Bytes that hold the largest of the models, but not two of them."""


class Mishap(HostCopier):
    """Does something just before a chunk is copied."""

    def __init__(self) -> None:
        self.countdown = -1
        self.action: Callable[[], None] = lambda: None
        self.bytes = 0

    def plan(self, chunks: int, action: Callable[[], None]) -> None:
        self.countdown, self.action = chunks, action

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        self.countdown -= 1
        if self.countdown == 0:
            self.action()
        self.bytes += target.nbytes
        super().copy(target, source)


def break_down() -> None:
    raise RuntimeError("the link is gone")


def placement(precision: Precision = Precision.FLOAT32) -> Placement:
    return Placement(device=Device.CPU, precision=precision, bytes=0, headroom=HEADROOM)


def load(backend: TorchBackend, folder: Path, token: CancelToken | None = None, **options: Precision) -> LoadedModel:
    return backend.load(folder.name, folder, placement(**options), token or CancelToken(), lambda _, __: None)


def compute(loaded: LoadedModel) -> torch.Tensor:
    with torch.inference_mode():
        return loaded.skeleton.model(PROMPT).logits


def fresh(folder: Path, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    with torch.inference_mode():
        return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)(PROMPT).logits


@pytest.fixture(scope="module")
def folders(llama_folder: Path, phi3_folder: Path, qwen2_folder: Path) -> list[Path]:
    """Llama, Phi-3 with a sliding window, and Qwen2 with tied weights in several shards."""
    return [llama_folder, phi3_folder, qwen2_folder]


@pytest.fixture(scope="module")
def expected(folders: list[Path]) -> dict[Path, torch.Tensor]:
    return {folder: fresh(folder) for folder in folders}


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "CHUNK", 8192)


class Turns:
    """Three models in an arena that has not room for two of them."""

    def __init__(self, folders: list[Path], capacity: int) -> None:
        self.copier = Mishap()
        memory = ArenaMemory(torch.device("cpu"), self.copier, FileMasters())
        self.memory = memory
        self.backend = TorchBackend(capacity=capacity, open_memory=lambda _: memory)
        self.folders = folders
        self.resident: dict[Path, LoadedModel] = {}

    def bring(self, folder: Path, token: CancelToken | None = None) -> LoadedModel:
        """Load a model as the worker does: when there is no room, the others leave."""
        if folder not in self.resident:
            try:
                self.resident[folder] = load(self.backend, folder, token)
            except OutOfMemory:
                self.leave()
                self.resident[folder] = load(self.backend, folder, token)
        return self.resident[folder]

    def leave(self) -> None:
        for loaded in self.resident.values():
            loaded.evict()
        self.resident.clear()


@pytest.mark.usefixtures("small_chunks")
def test_outputs_are_those_of_fresh_models_over_random_sequences(
    folders: list[Path], expected: dict[Path, torch.Tensor]
) -> None:
    choose = random.Random(5)
    for capacity in (TIGHT, 900_000, 1_100_000):
        turns = Turns(folders, capacity)
        for _ in range(SEQUENCES // 3):
            for _ in range(choose.randint(1, 4)):
                one_step(turns, choose)
            turns.copier.plan(-1, break_down)
            folder = choose.choice(folders)
            assert torch.equal(compute(turns.bring(folder)), expected[folder])
        assert turns.memory.size <= capacity


def one_step(turns: Turns, choose: random.Random) -> None:
    token, chunk = CancelToken(), choose.randint(1, 60)
    match choose.choices(["load", "cancel", "fail", "leave", "release"], [6, 6, 6, 3, 1])[0]:
        case "leave":
            turns.leave()
        case "release":
            turns.backend.release()
        case "load":
            turns.copier.plan(-1, break_down)
            turns.bring(choose.choice(turns.folders))
        case "cancel":
            turns.copier.plan(chunk, token.cancel)
            with contextlib.suppress(Cancelled):
                turns.bring(choose.choice(turns.folders), token)
        case "fail":
            turns.copier.plan(chunk, break_down)
            with contextlib.suppress(RuntimeError):
                turns.bring(choose.choice(turns.folders))


def test_both_stay_when_both_fit_and_switching_copies_nothing(
    folders: list[Path], expected: dict[Path, torch.Tensor]
) -> None:
    turns = Turns(folders, 10_000_000)
    for folder in folders:
        turns.bring(folder)
    copied = turns.copier.bytes
    for folder in folders * 2:
        assert torch.equal(compute(turns.bring(folder)), expected[folder])
    assert turns.copier.bytes == copied


def test_only_the_overlap_is_copied_again(folders: list[Path]) -> None:
    one, two = folders[:2]
    sizes = [load(TorchBackend(), folder).bytes for folder in (one, two)]
    turns = Turns(folders, sum(sizes) - OVERLAP)
    for folder in (one, two):
        turns.leave()
        turns.bring(folder)
    assert turns.copier.bytes == sum(sizes)
    for folder in (one, two) * 2:
        before = turns.copier.bytes
        turns.leave()
        turns.bring(folder)
        assert OVERLAP <= turns.copier.bytes - before < OVERLAP + LARGEST_WEIGHT


def test_addresses_stay_once_both_have_been_there(folders: list[Path]) -> None:
    turns, addresses = Turns(folders, TIGHT), []
    for folder in folders[:2] * 4:
        turns.leave()
        model = turns.bring(folder).skeleton.model
        addresses.append({name: one.data_ptr() for name, one in model.named_parameters()})
    assert addresses[2:4] == addresses[4:6] == addresses[6:8]


def test_model_that_has_lost_its_weights_refuses_to_compute(folders: list[Path]) -> None:
    for backend in (TorchBackend(), Turns(folders, TIGHT).backend):
        loaded = load(backend, folders[0])
        loaded.evict()
        with pytest.raises(RuntimeError, match="not in memory"):
            compute(loaded)
        load(backend, folders[1])
        with pytest.raises(RuntimeError, match="not in memory"):
            compute(loaded)


@pytest.mark.usefixtures("small_chunks")
def test_cancelled_load_stops_at_the_next_chunk(folders: list[Path]) -> None:
    turns = Turns(folders, 1_000_000)
    token = CancelToken()
    turns.copier.plan(3, token.cancel)
    with pytest.raises(Cancelled):
        turns.bring(folders[0], token)
    assert turns.copier.bytes <= 3 * 8192


def test_model_that_is_too_large_says_what_there_is(folders: list[Path]) -> None:
    backend = Turns(folders, 100_000).backend
    with pytest.raises(OutOfMemory, match=r"needs 0\.\d MiB on cpu .* only 0\.1 MiB"):
        load(backend, folders[0])


@pytest.mark.parametrize("precision", [Precision.BFLOAT16, Precision.FLOAT16])
def test_other_precision_is_that_of_transformers(folders: list[Path], precision: Precision) -> None:
    for backend in (TorchBackend(), Turns(folders, 10_000_000).backend):
        for folder in folders:
            for _ in range(2):
                loaded = load(backend, folder, precision=precision)
                assert torch.equal(compute(loaded), fresh(folder, getattr(torch, precision.value)))
                loaded.evict()


def test_files_that_have_changed_are_read_anew(tmp_path: Path, llama_folder: Path) -> None:
    folder = shutil.copytree(llama_folder, tmp_path / "model")
    backend = TorchBackend()
    load(backend, folder).evict()
    save(tiny_llama(num_hidden_layers=1), byte_level_tokenizer(), folder)
    assert torch.equal(compute(load(backend, folder)), fresh(folder))


def test_files_that_are_damaged_after_the_first_load_are_named(tmp_path: Path, llama_folder: Path) -> None:
    folder = shutil.copytree(llama_folder, tmp_path / "model")
    backend = TorchBackend()
    load(backend, folder).evict()
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelDamaged, match="models pull"):
        load(backend, folder)


def test_unloading_gives_the_memory_back(folders: list[Path]) -> None:
    turns = Turns(folders, 10_000_000)
    for folder in folders:
        turns.bring(folder)
    assert turns.memory.size > 0
    turns.leave()
    turns.backend.release()
    assert turns.memory.size == 0
    assert all(one.is_meta for kept in turns.backend._kept.values() for one in kept.skeleton.model.parameters())


def test_what_was_read_stays_over_a_swap_while_there_is_room(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = Turns(folders, TIGHT)
    runner = turns.bring(folders[0]).runner
    list(runner.generate(PROMPT[0].tolist(), SamplingParams(max_tokens=2), CancelToken()))
    assert runner.model.length >= PROMPT.numel()
    turns.leave()
    turns.bring(folders[1])
    assert runner.model.length >= PROMPT.numel()
    measured = loader._measure()
    free = HEADROOM - runner.model.bytes_kept
    monkeypatch.setattr(loader, "_measure", lambda: [replace(one, free=free) for one in measured])
    turns.leave()
    turns.bring(folders[0])
    assert runner.model.length >= PROMPT.numel(), "what the model itself keeps is part of what it needs"
    turns.leave()
    turns.bring(folders[2])
    assert runner.model.length == 0
