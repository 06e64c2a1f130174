"""What the parts of the benchmark for GPU machines share: the models, their turns, and taking the time."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from bench.figures import median, percentile
from core.cancellation import CancelToken
from core.models.causal_model import CausalModel, TransformersModel
from core.models.copying import Copier, HostCopier, StreamCopier
from core.models.loader import LoadedModel, OpenModel, TorchBackend, find_step_kernels
from core.models.master import CudaPageLock, FileMasters, Masters, PinnedMasters
from core.models.placement import Placement
from core.models.recording import DirectRecorder, GraphRecorder
from core.models.skeleton import Skeleton
from core.models.static_model import StaticModel, StepPass
from core.models.swap import ArenaMemory
from core.settings import Device, Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure."""

    name: str
    median: float
    p95: float
    unit: str
    target: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Setup:
    """Where and on what to measure."""

    device: torch.device
    folders: dict[str, Path]
    twins: dict[str, Path]
    """The same models under other names: taking turns with its twin, a model has to come back as a whole."""
    rounds: int
    prompt: int
    """Tokens of the prompt whose first token is timed."""
    reply: int
    lengths: Sequence[int]
    """Tokens of the prompts that replies are timed and compared after."""

    @property
    def is_cuda(self) -> bool:
        """Whether there is a GPU."""
        return self.device.type == "cuda"

    def synchronize(self) -> None:
        """Wait until the device has done all it was given."""
        if self.is_cuda:
            torch.cuda.synchronize(self.device)

    def size(self, kind: str) -> int:
        """Return the bytes of a model's weights."""
        return sum(file.stat().st_size for file in self.folders[kind].glob("*.safetensors"))


class PacedStreamCopier(StreamCopier):
    """Copies no faster than the link of a smaller card."""

    def __init__(self, device: torch.device, bytes_per_second: float) -> None:
        super().__init__(device)
        self._speed = bytes_per_second

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        """Copy one chunk, and wait as long as it would have taken."""
        started = time.perf_counter()
        super().copy(target, source)
        self.wait()
        time.sleep(max(0.0, target.nbytes / self._speed - (time.perf_counter() - started)))


class Turns:
    """Models that take turns in an arena of a given size."""

    def __init__(
        self, setup: Setup, capacity: float, copier: Copier | None = None, open_model: OpenModel | None = None
    ) -> None:
        free(setup)
        self._setup = setup
        masters: Masters = PinnedMasters(CudaPageLock(setup.device)) if setup.is_cuda else FileMasters()
        self._memory = ArenaMemory(setup.device, copier or _copier(setup.device), masters)
        self._backend = TorchBackend(
            capacity=int(capacity), open_memory=lambda _: self._memory, open_model=open_model or recorded
        )
        self._loaded: dict[Path, LoadedModel] = {}

    def bring(self, folder: Path, *, alone: bool = True, precision: Precision = Precision.BFLOAT16) -> LoadedModel:
        """Load a model; the others leave first if it is to be alone."""
        if alone:
            for path in [path for path in self._loaded if path != folder]:
                self._loaded.pop(path).evict()
        if folder not in self._loaded:
            device = Device.CUDA if self._setup.is_cuda else Device.CPU
            place = Placement(device=device, precision=precision, bytes=0)
            self._loaded[folder] = self._backend.load(folder.name, folder, place, CancelToken(), _nothing)
        return self._loaded[folder]

    def close(self) -> None:
        """Give all memory back."""
        for loaded in self._loaded.values():
            loaded.evict()
        self._loaded.clear()
        self._backend.release()


def recorded(skeleton: Skeleton, device: Device) -> CausalModel:
    """Open a model with recorded steps; where nothing can be recorded, with steps that could be."""
    where = torch.device(device.value)
    recorder = GraphRecorder(where) if device is Device.CUDA else DirectRecorder()
    return StaticModel(skeleton.model, skeleton, recorder, _kernels(skeleton, device))


def unrecorded(skeleton: Skeleton, device: Device) -> CausalModel:
    """Open a model with the same steps, each run from Python."""
    return StaticModel(skeleton.model, skeleton, DirectRecorder(), _kernels(skeleton, device))


def with_modules(skeleton: Skeleton, device: Device) -> CausalModel:
    """Open a model with recorded steps of its modules, computed by torch's kernels, as where there is no Triton."""
    where = torch.device(device.value)
    return StaticModel(skeleton.model, skeleton, GraphRecorder(where) if device is Device.CUDA else DirectRecorder())


def growing(skeleton: Skeleton, _: Device) -> CausalModel:
    """Open a model whose keys and values are copied to a larger place in each step."""
    return TransformersModel(skeleton.model)


def timed(setup: Setup, work: Callable[[], object], rounds: int | None = None) -> list[float]:
    """Return the seconds of each round, until the device is done."""
    work()
    times = []
    for _ in range(rounds or setup.rounds):
        setup.synchronize()
        started = time.perf_counter()
        work()
        setup.synchronize()
        times.append(time.perf_counter() - started)
    return times


def make_row(name: str, times: Sequence[float], unit: str, target: str = "", note: str = "") -> Row:
    """Make a figure of times."""
    print(f"  {name}: {median(times):.4f} {unit}", flush=True)
    return Row(name=name, median=median(times), p95=percentile(times, 95), unit=unit, target=target, note=note)


def _kernels(skeleton: Skeleton, device: Device) -> StepPass | None:
    return find_step_kernels(skeleton.model) if device is Device.CUDA else None


def _copier(device: torch.device) -> Copier:
    return StreamCopier(device) if device.type == "cuda" else HostCopier()


def from_pretrained(folder: Path, device: torch.device) -> PreTrainedModel:
    """Load a model as transformers does."""
    where = {"": str(device)} if device.type != "cpu" else None
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, device_map=where, attn_implementation="sdpa"
    )
    result: PreTrainedModel = model.eval()
    return result


def compute_logits(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    """Return what a model computes, on the host."""
    with torch.inference_mode():
        logits: torch.Tensor = model(ids).logits.cpu()
    return logits


def free(setup: Setup) -> None:
    """Give back all memory that nothing refers to."""
    gc.collect()
    if setup.is_cuda:
        torch.cuda.empty_cache()


def used(setup: Setup) -> int:
    """Return the bytes of device memory in use, by whomever."""
    if not setup.is_cuda:
        import psutil  # noqa: PLC0415 - comes with accelerate; not needed on a GPU

        return int(psutil.Process().memory_info().rss)
    setup.synchronize()
    free, total = torch.cuda.mem_get_info(setup.device)
    return int(total - free)


def _nothing(*_: object) -> None:
    """Take no notice of progress."""
