"""From a model folder to a runner on a device.

Imports torch: only the model thread does so.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from core.cancellation import CancelToken
from core.errors import ModelDamaged, OutOfMemory
from core.models.placement import DeviceMemory, Placement
from core.models.runner import TransformersRunner
from core.models.weights import damaged
from core.settings import Device, Precision

_DTYPES = {
    Precision.FLOAT32: torch.float32,
    Precision.BFLOAT16: torch.bfloat16,
    Precision.FLOAT16: torch.float16,
}
OnProgress = Callable[[str, float], None]
"""Called with what is being done and how far the load has got, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model in memory."""

    runner: TransformersRunner
    bytes: int


class TorchBackend:
    """Loads transformers models with torch; implements `core.models.worker.Backend`."""

    def __init__(self) -> None:
        """Leave one core to the editor.

        With a thread on every core, each step waits for whichever thread lost its core to another
        program: on two busy cores that made decoding many times slower than one thread alone.
        """
        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        torch.set_num_threads(max(1, _count_cores() - 1))

    def measure(self) -> list[DeviceMemory]:
        """Return the devices of this machine with their memory as it is now, fastest first."""
        return [*_measure_cuda(), *_measure_host()]

    def load(
        self, name: str, folder: Path, placement: Placement, token: CancelToken, on_progress: OnProgress
    ) -> LoadedModel:
        """Load any causal language model that transformers knows, from safetensors.

        Nothing is fetched, no code of the model's folder is run and no pickle is read.

        Raises:
            ModelDamaged: Files are missing, unreadable or do not fit together.
            OutOfMemory: The device's memory ran out.
            Cancelled: The token was set; checked between stages.
        """
        token.raise_if_cancelled()
        on_progress("reading the tokenizer", 0.0)
        tokenizer = _load_tokenizer(folder)
        token.raise_if_cancelled()
        on_progress("reading the weights", 0.1)
        model = _load_weights(name, folder, placement)
        token.raise_if_cancelled()
        on_progress("ready", 1.0)
        size = sum(tensor.nbytes for tensor in {*model.parameters(), *model.buffers()})
        return LoadedModel(runner=TransformersRunner(name, model, tokenizer), bytes=size)

    def release(self) -> None:
        """Give back what dropped models held."""
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if torch.backends.mps.is_available():
            torch.mps.empty_cache()


def _count_cores() -> int:
    """Return how many cores this process may use, which is fewer than there are in a container."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _measure_cuda() -> Iterator[DeviceMemory]:
    if not torch.cuda.is_available():
        return
    free, total = torch.cuda.mem_get_info()
    yield DeviceMemory(
        device=Device.CUDA,
        name=torch.cuda.get_device_name(),
        free=free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated(),
        total=total,
        fast_bfloat16=torch.cuda.is_bf16_supported(including_emulation=False),
    )


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


def _load_weights(name: str, folder: Path, placement: Placement) -> PreTrainedModel:
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=_DTYPES[placement.precision],
            device_map={"": placement.device.value} if placement.device is not Device.CPU else None,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(f"The model {name} does not fit: {_first_line(error)}", model=name) from error
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError) as error:
        raise _explain(name, folder, error) from error
    model: PreTrainedModel = loaded[0]
    report: dict[str, Any] = loaded[1]
    if missing := sorted(report["missing_keys"]):
        raise _explain(name, folder, f"its files lack the weights {', '.join(missing[:3])}")
    return model.eval()  # type: ignore[no-untyped-call,no-any-return]


def _explain(name: str, folder: Path, problem: object) -> ModelDamaged:
    reason = problem if isinstance(problem, str) else _first_line(problem)
    return ModelDamaged(
        f"The model {name} in {folder} cannot be loaded: {reason}. Install it again: "
        "`ai-codegen-assistant models pull` checks every file and fetches what is damaged.",
        model=name,
        folder=str(folder),
    )


def _first_line(error: object) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
