"""From a model folder to a runner on a device.

Imports torch: only the model thread does so.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import torch
import transformers
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from core.cancellation import CancelToken
from core.cores import usable_cores
from core.errors import OutOfMemory
from core.models.causal_model import CausalModel, TransformersModel
from core.models.copying import StreamCopier
from core.models.master import CudaPageLock, PinnedMasters
from core.models.placement import DeviceMemory, Placement, compute_precision
from core.models.quantised_files import quantise
from core.models.quantised_linear import Multiply, find_kernel, use_kernel
from core.models.recording import GraphRecorder
from core.models.runner import Runner, list_tokens
from core.models.skeleton import Skeleton
from core.models.static_model import StaticModel, StepPass
from core.models.swap import ArenaMemory, OnFraction, SeparateMemory, WeightMemory
from core.models.weights import PACKED_BITS, Stamp, damaged, stamp
from core.settings import Device, Precision

if TYPE_CHECKING:
    from core.models.packed.models import PackedModels

_DTYPES = {
    Precision.FLOAT32: torch.float32,
    Precision.BFLOAT16: torch.bfloat16,
    Precision.FLOAT16: torch.float16,
}
OnProgress = Callable[[str, float], None]
"""Called with what is being done and how far the load has got, 0 to 1."""
OpenMemory = Callable[[Device], WeightMemory]
OpenModel = Callable[[Skeleton, Device], CausalModel]
_SHARED = (0, 0)
"""What torch calls the memory that belongs to no recording."""
_MODEL_START, _WEIGHTS_START = 0.1, 0.3
_log = logging.getLogger(__name__)
_STEP = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model in memory."""

    skeleton: Skeleton | None
    """Its modules; None for a packed model."""
    runner: Runner
    bytes: int
    evict: Callable[[], None]

    @property
    def remark(self) -> str:
        """What people should know about how it runs now; empty if nothing."""
        return self.runner.model.remark


@dataclass(frozen=True, slots=True)
class _Kept:
    """What stays of a model when its weights leave."""

    skeleton: Skeleton
    runner: Runner
    files: Stamp


class TorchBackend:
    """Loads transformers models with torch; implements `core.models.worker.Backend`."""

    def __init__(
        self,
        *,
        capacity: int | None = None,
        open_memory: OpenMemory | None = None,
        open_model: OpenModel | None = None,
    ) -> None:
        """Leave one core to the editor.

        With a thread on every core, each step waits for whichever thread lost its core to another
        program: on two busy cores that made decoding many times slower than one thread alone.

        Args:
            capacity: Bytes that weights may take on a device, if not all that is free.
            open_memory: Makes the memory of a device, if not the one made for it.
            open_model: Makes what computes with a skeleton, if not what is best for the device.
        """
        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        torch.set_num_threads(max(1, usable_cores() - 1))
        self._capacity = capacity
        self._open_memory = open_memory or _open_memory
        self._open_model = open_model or _open_model
        self._memories: dict[Device, WeightMemory] = {}
        self._packed: PackedModels | None = None
        self._kernels: dict[torch.dtype, Multiply | None] = {}
        self._kept: dict[tuple[Path, Device, Precision], _Kept] = {}

    def measure(self) -> list[DeviceMemory]:
        """Return the devices of this machine with their memory as it is now, fastest first."""
        return [replace(one, free=one.free + self._reusable(one.device)) for one in _measure()]

    def load(
        self, name: str, folder: Path, placement: Placement, token: CancelToken, on_progress: OnProgress
    ) -> LoadedModel:
        """Load any causal language model that transformers knows, from safetensors.

        Raises:
            ModelDamaged: Files are missing, unreadable or do not fit together.
            OutOfMemory: The device's memory ran out.
            Cancelled: The token was set; checked between stages, and while weights are copied.
        """
        if placement.device is Device.CPU and placement.precision in PACKED_BITS:
            return self._load_packed(name, folder, PACKED_BITS[placement.precision], token, on_progress)
        token.raise_if_cancelled()
        kept = self._keep(name, folder, placement, token, on_progress)
        memory = self._memory(placement.device)
        skeleton = kept.skeleton
        on_progress("reading the weights", _WEIGHTS_START)
        self._make_room(kept, placement, memory)

        def report(fraction: float) -> None:
            on_progress("reading the weights", _between(_WEIGHTS_START, 1.0, fraction))

        try:
            memory.load(skeleton, self._growth(placement, memory), token, _in_steps(report))
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(f"The model {name} does not fit: {_first_line(error)}", model=name) from error
        on_progress("ready", 1.0)
        return LoadedModel(
            skeleton=skeleton, runner=kept.runner, bytes=skeleton.bytes, evict=lambda: memory.evict(skeleton)
        )

    def _load_packed(
        self, name: str, folder: Path, bits: int, token: CancelToken, on_progress: OnProgress
    ) -> LoadedModel:
        # What prepares packed models is for the CPU; a GPU machine may have another version of what it is made of.
        from core.models.packed.models import PackedModels  # noqa: PLC0415

        self._packed = self._packed or PackedModels(_load_tokenizer)
        opened = self._packed.load(name, folder, bits, token, on_progress)
        return LoadedModel(skeleton=None, runner=opened.runner, bytes=opened.facts.bytes, evict=opened.evict)

    def release(self) -> None:
        """Give back what is held for models that are not in use."""
        if self._packed:
            self._packed.release()
        for memory in self._memories.values():
            memory.release()
        self._forget_idle()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if torch.backends.mps.is_available():
            torch.mps.empty_cache()

    def find_lost(self) -> str:
        """Return why the GPU will never compute again in this process; empty as long as it does."""
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            try:
                torch.cuda.synchronize()
            except RuntimeError as error:
                return _first_line(error)
        return ""

    def _keep(
        self, name: str, folder: Path, placement: Placement, token: CancelToken, on_progress: OnProgress
    ) -> _Kept:
        """Return a model's modules and tokenizer, made on the first load and again if its files have changed."""
        key, files = (folder, placement.device, placement.precision), stamp(folder)
        if key not in self._kept or self._kept[key].files != files:
            self._kept.pop(key, None)
            on_progress("reading the tokenizer", 0.0)
            tokenizer = _load_tokenizer(folder)
            token.raise_if_cancelled()
            on_progress("building the model", _MODEL_START)
            skeleton = self._build(name, folder, placement, token, on_progress)
            token.raise_if_cancelled()
            model = self._open_model(skeleton, placement.device)
            runner = Runner(name, model, tokenizer, _end_tokens(skeleton.model))
            self._kept[key] = _Kept(skeleton, runner, files)
        return self._kept[key]

    def _build(
        self, name: str, folder: Path, placement: Placement, token: CancelToken, on_progress: OnProgress
    ) -> Skeleton:
        place = next(one for one in _measure() if one.device is placement.device)
        dtype = _DTYPES[compute_precision(placement.precision, place)]
        if placement.precision in _DTYPES:
            return Skeleton(name, folder, dtype)

        def rewrite(model: PreTrainedModel) -> Path:
            doing = f"quantising its weights to {placement.precision.value}, once"
            report = _in_steps(lambda fraction: on_progress(doing, _between(_MODEL_START, _WEIGHTS_START, fraction)))
            return quantise(model, folder, placement.precision, report, token)

        skeleton = Skeleton(name, folder, dtype, rewrite)
        if placement.device is Device.CUDA:
            use_kernel(skeleton.model, self._kernel(dtype))
        return skeleton

    def _kernel(self, dtype: torch.dtype) -> Multiply | None:
        """Return what multiplies by 8 bits best on the GPU, tried once."""
        if dtype not in self._kernels:
            self._kernels[dtype] = find_kernel(torch.device(Device.CUDA.value), dtype)
        return self._kernels[dtype]

    def _memory(self, device: Device) -> WeightMemory:
        if device not in self._memories:
            self._memories[device] = self._open_memory(device)
        return self._memories[device]

    def _reusable(self, device: Device) -> int:
        return self._memories[device].reusable if device in self._memories else 0

    def _free(self, device: Device) -> int:
        return next(one.free for one in _measure() if one.device is device)

    def _make_room(self, kept: _Kept, placement: Placement, memory: WeightMemory) -> None:
        """Forget what evicted models have read if there is no room for it; what this one has read comes last.

        What it has kept is part of the room that it needs.
        """
        needed = placement.headroom + max(0, kept.skeleton.bytes - memory.reusable) - kept.runner.model.bytes_kept
        if self._free(placement.device) < needed:
            self._forget_idle(but=kept)
        if self._free(placement.device) < needed:
            kept.runner.release()

    def _forget_idle(self, but: _Kept | None = None) -> None:
        """Forget what evicted models have read, which is otherwise kept for their next request."""
        for kept in self._kept.values():
            if kept is not but and not kept.skeleton.is_present():
                kept.runner.release()

    def _growth(self, placement: Placement, memory: WeightMemory) -> int:
        """Return the bytes that weights may take beyond what they have."""
        free = self._free(placement.device) - placement.headroom
        return max(0, free if self._capacity is None else min(free, self._capacity - memory.size))


def _open_memory(device: Device) -> WeightMemory:
    where = torch.device(device.value)
    if device is Device.CUDA:
        return ArenaMemory(where, StreamCopier(where), PinnedMasters(CudaPageLock(where)))
    return SeparateMemory(where)


def _open_model(skeleton: Skeleton, device: Device) -> CausalModel:
    """Record steps where starting kernels takes longer than they do."""
    if device is not Device.CUDA:
        return TransformersModel(skeleton.model)
    try:
        recorder = GraphRecorder(torch.device(device.value))
        return StaticModel(skeleton.model, skeleton, recorder, find_step_kernels(skeleton.model))
    except Exception as error:  # noqa: BLE001 - whatever cannot be recorded can still be run
        remark = f"replies are computed step by step: {_first_line(error)}"
        _log.warning("%s: %s", skeleton.name, remark)
        return TransformersModel(skeleton.model, remark)


def find_step_kernels(model: PreTrainedModel) -> StepPass | None:
    """Return what computes steps in kernels of our own, if there is Triton and they can."""
    try:
        from core.models.kernel_step import KernelStep, Unsupported  # noqa: PLC0415 - Triton is not everywhere
    except ImportError:
        return None
    try:
        return KernelStep(model)
    except Unsupported as error:
        _log.info("Steps are computed by torch's kernels: %s", error)
        return None


def _in_steps(report: OnFraction) -> OnFraction:
    """Report only what a person would see: twenty steps instead of hundreds of weights."""
    shown = 0.0

    def report_some(fraction: float) -> None:
        nonlocal shown
        if fraction - shown >= _STEP:
            shown = fraction
            report(fraction)

    return report_some


def _between(start: float, end: float, fraction: float) -> float:
    return start + (end - start) * fraction


def _measure() -> list[DeviceMemory]:
    return [*_measure_cuda(), *_measure_host()]


def _measure_cuda() -> Iterator[DeviceMemory]:
    if not torch.cuda.is_available():
        return
    free, total = torch.cuda.mem_get_info()
    yield DeviceMemory(
        device=Device.CUDA,
        name=torch.cuda.get_device_name(),
        free=free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated() - _kept_by_recordings(),
        total=total,
        fast_bfloat16=torch.cuda.is_bf16_supported(including_emulation=False),
    )


def _kept_by_recordings() -> int:
    """Return the bytes that are no tensor's between two replays, and yet nobody else's: those of recorded steps."""
    segments: list[dict[str, Any]] = torch.cuda.memory_snapshot()  # type: ignore[no-untyped-call]
    kept = [one for one in segments if tuple(one.get("segment_pool_id", _SHARED)) != _SHARED]
    return sum(int(one["total_size"]) - int(one["allocated_size"]) for one in kept)


def _measure_host() -> Iterator[DeviceMemory]:
    memory = psutil.virtual_memory()
    if torch.backends.mps.is_available():
        yield DeviceMemory(
            device=Device.MPS, name="MPS", free=memory.available, total=memory.total, fast_bfloat16=False
        )
    yield DeviceMemory(
        device=Device.CPU,
        name="CPU",
        free=memory.available,
        total=memory.total,
        fast_bfloat16=torch.backends.cpu.get_cpu_capability() not in {"DEFAULT", "NO AVX", "AVX2"},
    )


def _load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    file = folder / "tokenizer.json"
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False, use_fast=True)
    except Exception as error:
        # The tokenizers library raises plain `Exception` for a damaged file.
        raise damaged(file, f"cannot be used: {_first_line(error)}") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise damaged(file, f"gives a {type(tokenizer).__name__}, which is not a fast tokenizer")
    return tokenizer


def _end_tokens(model: PreTrainedModel) -> set[int]:
    """Return every token that the model's makers say ends a reply."""
    return {*list_tokens(model.generation_config.eos_token_id), *list_tokens(model.config.eos_token_id)}


def _first_line(error: object) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
