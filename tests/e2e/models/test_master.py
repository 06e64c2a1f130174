"""Copies of weights that a device can read by itself: made where there is room, and never kept longer than needed."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
import torch
from fakes.page_lock import CountingPageLock

from core.cancellation import CancelToken
from core.errors import Cancelled
from core.models.copying import HostCopier
from core.models.loader import TorchBackend
from core.models.master import PinnedMasters
from core.models.placement import Placement
from core.models.skeleton import Skeleton
from core.models.swap import ArenaMemory
from core.settings import Device, Precision

pytestmark = pytest.mark.e2e
ROOM_FOR_ONE = 700_000


@pytest.fixture
def skeletons(llama_folder: Path, phi3_folder: Path) -> list[Skeleton]:
    return [Skeleton(folder.name, folder, torch.bfloat16) for folder in (llama_folder, phi3_folder)]


def assert_weights(tensors: Sequence[torch.Tensor], skeleton: Skeleton) -> None:
    stored = [one.to(torch.bfloat16) for one in skeleton.read()]
    assert all(torch.equal(one.to(torch.bfloat16), other) for one, other in zip(tensors, stored, strict=True))


def test_copies_hold_the_weights_and_take_what_they_need(skeletons: list[Skeleton]) -> None:
    pages = CountingPageLock()
    masters = PinnedMasters(pages)
    for skeleton in skeletons * 2:
        assert_weights(masters.read(skeleton, CancelToken()), skeleton)
    assert pages.attempts == 2
    needed = sum(skeleton.bytes for skeleton in skeletons)
    assert needed <= sum(pages.locked.values()) < 1.1 * needed


def test_released_copy_is_unlocked_and_made_anew(skeletons: list[Skeleton]) -> None:
    one, two = skeletons
    pages = CountingPageLock()
    masters = PinnedMasters(pages)
    for skeleton in skeletons:
        masters.read(skeleton, CancelToken())
    masters.release(but=[two])
    assert len(pages.locked) == 1
    assert_weights(masters.read(two, CancelToken()), two)
    assert_weights(masters.read(one, CancelToken()), one)
    assert pages.attempts == 3


def test_memory_that_cannot_be_locked_is_not_tried_again_and_weights_come_from_the_files(
    skeletons: list[Skeleton],
) -> None:
    pages = CountingPageLock(limit=0)
    masters = PinnedMasters(pages)
    for _ in range(3):
        assert_weights(masters.read(skeletons[1], CancelToken()), skeletons[1])
    assert pages.attempts == 1
    assert pages.locked == {}


def test_rest_of_the_system_comes_first(skeletons: list[Skeleton], monkeypatch: pytest.MonkeyPatch) -> None:
    little = psutil.virtual_memory()._replace(available=skeletons[0].bytes)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: little)
    pages = CountingPageLock()
    assert_weights(PinnedMasters(pages).read(skeletons[0], CancelToken()), skeletons[0])
    assert pages.attempts == 0


def test_cancelled_copy_is_given_back(skeletons: list[Skeleton]) -> None:
    token = CancelToken()
    token.cancel()
    pages = CountingPageLock()
    masters = PinnedMasters(pages)
    with pytest.raises(Cancelled):
        masters.read(skeletons[0], token)
    assert pages.locked == {}
    assert_weights(masters.read(skeletons[0], CancelToken()), skeletons[0])


def test_copies_that_nobody_has_any_more_are_unlocked(skeletons: list[Skeleton]) -> None:
    pages = CountingPageLock()
    masters = PinnedMasters(pages)
    masters.read(skeletons[0], CancelToken())
    del masters
    gc.collect()
    assert pages.locked == {}


def test_unloading_all_models_unlocks_all_copies(llama_folder: Path, phi3_folder: Path, qwen2_folder: Path) -> None:
    """Also of those that had lost their place in the arena to others before."""
    pages = CountingPageLock()
    memory = ArenaMemory(torch.device("cpu"), HostCopier(), PinnedMasters(pages))
    backend = TorchBackend(capacity=ROOM_FOR_ONE, open_memory=lambda _: memory)
    place = Placement(device=Device.CPU, precision=Precision.FLOAT32, bytes=0)
    for folder in (llama_folder, qwen2_folder, phi3_folder, llama_folder):
        backend.load(folder.name, folder, place, CancelToken(), lambda _, __: None).evict()
    assert len(pages.locked) == 3
    backend.release()
    assert pages.locked == {}
    assert memory.size == 0
