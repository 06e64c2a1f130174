"""Packs installed models for this machine: `python -m core.models.packed.prepare FOLDER`."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional
from transformers import AutoConfig

from core.cancellation import CancelToken
from core.errors import AssistantError
from core.models.child import fail, report_progress
from core.models.manifest import find_gguf
from core.models.packed.config import DecoderConfig, why_unsupported
from core.models.packed.facts import DEFAULT_BITS, FOLDERS, write_facts
from core.models.packed.linear import find_kernel, open_linear, pack_matrix
from core.models.packed.sources import SafetensorsSource, WeightSource
from core.models.packed.store import OnProgress, pack
from core.models.quantize import quantize

_WORTH = 1.1
"""Speed-up below which packing is not worth its rounding."""
_PROBE = 4096
"""Rows and columns of the matrix that is measured: larger than the caches of a core."""
_ROUNDS = 30
_PERCENT = 100


def prepare(model: Path, on_progress: OnProgress, token: CancelToken, bits: int = DEFAULT_BITS) -> str | None:
    """Pack an installed model beside its other files, replacing what was packed before.

    Returns:
        Why it was not packed, or None.

    Raises:
        Cancelled: The token was set; what was packed before is still there.
    """
    config = AutoConfig.from_pretrained(model, local_files_only=True)
    if problem := why_unsupported(config):
        return problem
    try:
        speedup = measure_speedup(bits)
    except RuntimeError as error:
        return f"no packed kernel can be used on this processor: {error}"
    if bits == DEFAULT_BITS and speedup < _WORTH:  # What is not the default was asked for.
        return f"4-bit weights are {speedup:.1f} times as fast as bfloat16 on this processor"
    gguf = find_gguf(model)
    partial = model / f".{FOLDERS[bits]}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    with torch.inference_mode():
        source = _open_gguf(gguf, bits) if gguf else SafetensorsSource(model, bits)
        pack(source, DecoderConfig.of(config), partial, on_progress, token)
    write_facts(partial, speedup)
    shutil.rmtree(model / FOLDERS[bits], ignore_errors=True)
    partial.replace(model / FOLDERS[bits])
    return None


def _open_gguf(path: Path, bits: int) -> WeightSource:
    from core.models.packed.gguf_source import GgufSource  # noqa: PLC0415 - a GPU machine may lack the package gguf

    return GgufSource(path, bits)


def measure_speedup(bits: int = DEFAULT_BITS) -> float:
    """Return how many times as fast as in bfloat16 one token is multiplied by packed weights.

    Both take turns, so that neither has the bad luck of another program's burst for itself.
    """
    weights = torch.randn(_PROBE, _PROBE, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    packed = open_linear("probe", pack_matrix("probe", quantize(weights, bits)), find_kernel())
    inputs = weights[:1]
    exact = inputs.float()
    with torch.inference_mode():
        times = [
            (_time(lambda: functional.linear(inputs, weights)), _time(lambda: packed(exact))) for _ in range(_ROUNDS)
        ]
    return min(plain for plain, _ in times) / min(ours for _, ours in times)


def _time(compute: Callable[[], object]) -> float:
    started = time.perf_counter()
    compute()
    return time.perf_counter() - started


def main() -> int:
    """Pack the model that the command line names, unless a GPU will run it."""
    if torch.cuda.is_available():
        return 0
    try:
        prepare(Path(sys.argv[1]), lambda done: report_progress(int(done * _PERCENT), _PERCENT), CancelToken())
    except OSError as error:
        return fail(AssistantError(f"The model {sys.argv[1]} cannot be packed: {error}"))
    except AssistantError as error:
        return fail(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
