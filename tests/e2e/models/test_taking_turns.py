"""Two models that do not both fit, on the real model thread: answers are those of models that never left."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch

from core.cancellation import CancelToken
from core.messages import ModelState, Role
from core.models.copying import HostCopier
from core.models.interface import JobTimes, ModelJob, ModelRunner, SamplingParams
from core.models.loader import TorchBackend
from core.models.master import FileMasters
from core.models.registry import ModelRegistry
from core.models.swap import ArenaMemory
from core.models.worker import ModelWorker
from core.paths import DataFolders
from core.settings import Device, Precision

pytestmark = pytest.mark.e2e
TIMEOUT = 60.0
ROOM_FOR_ONE = 700_000
PARAMS = SamplingParams(max_tokens=24)

OpenWorker = Callable[[int | None], ModelWorker]


@pytest.fixture
def open_worker(tmp_path: Path) -> Iterator[OpenWorker]:
    workers: list[ModelWorker] = []

    def make(capacity: int | None) -> ModelWorker:
        memory = ArenaMemory(torch.device("cpu"), HostCopier(), FileMasters())
        backend = lambda: TorchBackend(capacity=capacity, open_memory=lambda _: memory)  # noqa: E731
        workers.append(ModelWorker(ModelRegistry(DataFolders(tmp_path)), lambda: None, open_backend=backend))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()


def ask(worker: ModelWorker, folder: Path, prompt: list[int], role: Role = Role.EXPLAIN) -> str:
    def run(runner: ModelRunner, _: JobTimes) -> str:
        return "".join(chunk.text for chunk in runner.generate(prompt, PARAMS, CancelToken()))

    job = ModelJob(
        role=role,
        model=str(folder),
        device=Device.CPU,
        precision=Precision.FLOAT32,
        token=CancelToken(),
        on_phase=lambda _: None,
        run=run,
        keep_alive=0.0,
    )
    return worker.submit(job).result(TIMEOUT)


def prompt_of(length: int, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(10, 390, (length,), generator=generator).tolist()


def test_answers_are_those_of_models_that_never_left(
    open_worker: OpenWorker, llama_folder: Path, phi3_folder: Path
) -> None:
    roomy, tight = open_worker(None), open_worker(ROOM_FOR_ONE)
    for number in range(12):
        folder, role = ((llama_folder, Role.EXPLAIN), (phi3_folder, Role.GENERATE))[number % 2]
        prompt = prompt_of(20 + 30 * number, seed=number)
        assert ask(tight, folder, prompt, role) == ask(roomy, folder, prompt, role)
    assert [info.state for info in roomy.snapshot().models] == [ModelState.READY, ModelState.READY]
    assert [info.state for info in tight.snapshot().models] == [ModelState.EVICTED, ModelState.READY]


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("changed", [0, 1, 40, 200])
def test_next_prompt_that_begins_alike_is_answered_as_if_it_were_the_first(
    open_worker: OpenWorker, llama_folder: Path, phi3_folder: Path, changed: int, *, swap: bool
) -> None:
    """Whatever is kept of the previous request: also past the sliding window, and with another model in between."""
    for folder, other in ((llama_folder, phi3_folder), (phi3_folder, llama_folder)):
        worker = open_worker(ROOM_FOR_ONE)
        first = prompt_of(300)
        ask(worker, folder, first)
        if swap:
            ask(worker, other, prompt_of(50))
        following = [*first[: len(first) - changed], *prompt_of(changed + 30, seed=1)]
        assert ask(worker, folder, following) == ask(open_worker(None), folder, following)
        assert ask(worker, folder, following) == ask(open_worker(None), folder, following)


def test_unloading_gives_memory_back_over_and_over(open_worker: OpenWorker, llama_folder: Path) -> None:
    worker = open_worker(None)

    def cycle(times: int) -> int:
        for _ in range(times):
            ask(worker, llama_folder, prompt_of(200))
            worker.unload().result(TIMEOUT)
        gc.collect()
        return psutil.Process().memory_info().rss

    before = cycle(8)
    assert cycle(20) < 1.01 * before
