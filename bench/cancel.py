"""How soon work stops that was cancelled: `python -m bench.cancel [--rounds 20] [--json]`.

Models with random weights, shaped like the default ones at a smaller size, on the real model
thread. A job is cancelled at a random moment of its decoding, of the prefill of a long prompt,
or of a load whose copy is held back to the speed of a slow disk. The same is done to the starter
model in packed weights, which is what runs on a processor, if it is installed. Two times are taken: until its
waiter is answered, and until the next job has begun, be it with a load. A first load is one of
a model that this process has not seen before, whose modules and tokenizer have to be made.
"""

from __future__ import annotations

import argparse
import itertools
import random
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from bench.figures import finish, percentile, show
from bench.random_models import Prompts, make_models
from core.cancellation import CancelToken
from core.errors import Cancelled, ModelMissing
from core.messages import Phase, PhaseName, Role
from core.models.copying import HostCopier
from core.models.interface import JobTimes, ModelJob, ModelRunner, SamplingParams
from core.models.loader import TorchBackend
from core.models.master import FileMasters
from core.models.packed.model import PackedModel
from core.models.registry import ModelRegistry
from core.models.swap import ArenaMemory
from core.models.worker import ModelWorker
from core.paths import DataFolders
from core.settings import Device, Precision, Settings

T = TypeVar("T")

LONG_PROMPT = 3000
CHUNK = 256
"""Tokens of a prompt between two looks at the cancel token."""
SLOW_LINK = 200 << 20
"""Bytes per second of the copy that is cancelled, so that there is time to."""
TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class Stopped:
    """Milliseconds from the cancel until its waiter was answered, and until the slot was of use again."""

    answered: float
    usable: float


class PacedCopier(HostCopier):
    """Copies no faster than a link of a given speed."""

    def __init__(self, bytes_per_second: float) -> None:
        self._speed = bytes_per_second

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        """Copy one chunk, and wait as long as it would have taken."""
        started = time.perf_counter()
        super().copy(target, source)
        time.sleep(max(0.0, target.nbytes / self._speed - (time.perf_counter() - started)))


class Bench:
    """A model thread with two models of which one fits."""

    def __init__(
        self, folders: dict[str, Path], precision: Precision, open_backend: Callable[[], TorchBackend], chunk: int
    ) -> None:
        self._folders = folders
        self._precision = precision
        self._chunk = chunk
        self._prompts = Prompts()
        registry = ModelRegistry(DataFolders(folders["coder"].parent))
        self._worker = ModelWorker(registry, _nothing, open_backend=open_backend)
        self._random = random.Random(time.perf_counter())

    @classmethod
    def of_two(cls, folders: dict[str, Path]) -> Bench:
        """Return one whose memory has room for one of two models."""
        largest = max(sum(file.stat().st_size for file in one.glob("*.safetensors")) for one in folders.values())
        return cls(folders, Precision.BFLOAT16, lambda: _backend(largest), CHUNK)

    @classmethod
    def of_packed(cls, folder: Path) -> Bench:
        """Return one with a model as it runs on a processor."""
        return cls({"coder": folder}, Precision.AUTO, TorchBackend, PackedModel.prefill_chunk)

    def close(self) -> None:
        """End the model thread."""
        self._worker.close()

    def decode(self) -> Stopped:
        """Cancel while tokens are decoded."""
        return self._cancel("coder", 20, self._random.randint(1, 12))

    def prefill(self) -> Stopped:
        """Cancel while the prompt is read."""
        return self._cancel("coder", LONG_PROMPT, 0)

    def load(self) -> Stopped:
        """Cancel while weights are copied."""
        self._run("coder", lambda runner, _: runner.name)
        return self.first_load()

    def first_load(self) -> Stopped:
        """Cancel a load at any stage of it."""
        token, loading = CancelToken(), threading.Event()
        future = self._worker.submit(self._job("phi3", lambda _, __: None, token, lambda _: loading.set()))
        loading.wait(TIMEOUT)
        time.sleep(self._random.uniform(0, 0.3))
        return self._stop(token, future.exception, "coder")

    def single_step(self) -> float:
        """Return the milliseconds of a long step of decoding: one that reads guessed tokens as well."""
        times: list[float] = []

        def work(runner: ModelRunner, _: JobTimes) -> None:
            chunks = runner.generate(self._prompts.new(20), SamplingParams(max_tokens=60), CancelToken())
            times.extend(time.perf_counter() for _ in chunks)

        self._run("coder", work)
        return percentile([1000 * (after - before) for before, after in itertools.pairwise(times)], 95)

    def single_chunk(self) -> float:
        """Return the milliseconds that a chunk of the long prompt takes, on average; and have all models seen."""
        for model in self._folders:
            self._run(model, lambda runner, _: runner.name)

        def work(runner: ModelRunner, _: JobTimes) -> float:
            started = time.perf_counter()
            list(runner.generate(self._prompts.new(LONG_PROMPT), SamplingParams(max_tokens=1), CancelToken()))
            return 1000 * (time.perf_counter() - started)

        return self._run("coder", work) * self._chunk / LONG_PROMPT

    def _cancel(self, model: str, prompt: int, after_tokens: int) -> Stopped:
        token, reached = CancelToken(), threading.Event()

        def work(runner: ModelRunner, _: JobTimes) -> None:
            if not after_tokens:
                reached.set()
            chunks = runner.generate(self._prompts.new(prompt), SamplingParams(max_tokens=500), token)
            for count, _chunk in enumerate(chunks, 1):
                if count == after_tokens:
                    reached.set()

        future = self._worker.submit(self._job(model, work, token))
        reached.wait(TIMEOUT)
        time.sleep(self._random.uniform(0, 0.05))
        return self._stop(token, future.exception, model)

    def _stop(self, token: CancelToken, outcome: Callable[[float], BaseException | None], model: str) -> Stopped:
        started = time.perf_counter()
        token.cancel()
        error = outcome(TIMEOUT)
        answered = time.perf_counter()
        if not isinstance(error, Cancelled):
            raise SystemExit(f"A cancelled job ended with {error!r} instead of the error for cancelled ones.")
        begun = threading.Event()

        def notice(phase: Phase) -> None:
            if phase.name is PhaseName.LOADING:
                begun.set()

        following = self._job(model, lambda _, __: begun.set(), CancelToken(), notice)
        done = self._worker.submit(following)
        begun.wait(TIMEOUT)
        usable = time.perf_counter()
        done.result(TIMEOUT)
        return Stopped(1000 * (answered - started), 1000 * (usable - started))

    def _run(self, model: str, work: Callable[[ModelRunner, JobTimes], T]) -> T:
        return self._worker.submit(self._job(model, work, CancelToken())).result(TIMEOUT)

    def _job(
        self,
        model: str,
        work: Callable[[ModelRunner, JobTimes], T],
        token: CancelToken,
        on_phase: Callable[[Phase], None] | None = None,
    ) -> ModelJob[T]:
        return ModelJob(
            role=Role.GENERATE,
            model=str(self._folders[model]),
            device=Device.CPU,
            precision=self._precision,
            token=token,
            on_phase=on_phase or _nothing,
            run=work,
            keep_alive=0.0,
        )


def main() -> None:
    """Measure and print the figures; the last line is one JSON object."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench-cancel-") as scratch:
        folders = make_models(Path(scratch), "small")
        found, lengths = measure(Bench.of_two(folders), options.rounds, loads=True)
        found["firstLoad"] = [first_load(folders) for _ in range(options.rounds)]
    packed = find_packed()
    if packed is not None:
        of_packed, packed_lengths = measure(Bench.of_packed(packed), options.rounds, loads=False)
        found |= {f"packed{_capitalised(stage)}": times for stage, times in of_packed.items()}
        lengths |= {f"packed{_capitalised(name)}": length for name, length in packed_lengths.items()}
    result = {f"{stage}Ms": _p95([one.answered for one in times]) for stage, times in found.items()}
    result |= {f"{stage}UsableMs": _p95([one.usable for one in times]) for stage, times in found.items()}
    if not options.json:
        rows = [(stage, f"{result[f'{stage}Ms']:8.1f} ms / {result[f'{stage}UsableMs']:8.1f} ms") for stage in found]
        show(f"Cancel, p95 of {options.rounds} (answered / slot usable)", rows)
        show("What there is to wait for", [(name, f"{length:8.1f}") for name, length in lengths.items()])
    finish({**result, **lengths, "rounds": options.rounds})


def measure(bench: Bench, rounds: int, *, loads: bool) -> tuple[dict[str, list[Stopped]], dict[str, float]]:
    """Return the cancels of each stage, and how long a step and a chunk take."""
    lengths = {"stepMs": round(bench.single_step(), 1), "chunkMs": round(bench.single_chunk(), 1)}
    stages = [bench.decode, bench.prefill, *([bench.load] if loads else [])]
    found = {stage.__name__: [stage() for _ in range(rounds)] for stage in stages}
    bench.close()
    return found, lengths


def find_packed() -> Path | None:
    """Return the folder of the starter model, if it is installed."""
    registry = ModelRegistry(DataFolders.locate())
    try:
        return registry.locate(registry.resolve(Settings(), Role.GENERATE))
    except ModelMissing:
        return None


def first_load(folders: dict[str, Path]) -> Stopped:
    """Cancel the first load of a model thread."""
    bench = Bench.of_two(folders)
    try:
        return bench.first_load()
    finally:
        bench.close()


def _backend(largest: int) -> TorchBackend:
    memory = ArenaMemory(torch.device("cpu"), PacedCopier(SLOW_LINK), FileMasters())
    return TorchBackend(capacity=int(1.1 * largest), open_memory=lambda _: memory)


def _capitalised(name: str) -> str:
    return name[0].upper() + name[1:]


def _p95(values: Sequence[float]) -> float:
    return round(percentile(values, 95), 1)


def _nothing(*_: object) -> None:
    """Take no notice."""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.cancel", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="cancels at each stage")
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    main()
