"""How fast models take turns in memory: `python -m bench.swap [--sequences 1000] [--swaps 50] [--json]`.

Two models with random weights, shaped like the default ones at a smaller size, on the CPU, in
one process. What is measured, each against `del`, garbage collection and then `from_pretrained`
with its tokenizer, alternating with ours in the same run:

- ready: from the request until the model can run;
- first token: until the first token after a prompt of 64 tokens, ready included;
- identical: whether logits equal those of a fresh load, bit by bit, after random sequences of
  loads, cancelled loads, loads whose copy fails, and unloads;
- drift of the process's memory over swaps.

The arena, in which a GPU's models take turns, is emulated in RAM with room for one and a tenth of
the larger model. Without it (as on every CPU) the weights are the files in the page cache, which stay
mapped while their model is not in use, for as long as the system has room for them.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.figures import finish, median, show
from bench.random_models import Prompts, make_models
from core.cancellation import CancelToken
from core.errors import Cancelled, OutOfMemory
from core.models.copying import HostCopier
from core.models.interface import SamplingParams
from core.models.loader import LoadedModel, TorchBackend
from core.models.master import FileMasters
from core.models.placement import Placement
from core.models.swap import ArenaMemory
from core.settings import Device, Precision

PROMPT = 64
"""Tokens."""
WARM_UP = 5
"""Swaps before memory is first measured: the first ones fill caches."""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds until a model was ready, and until its first token."""

    ready: float
    first_token: float


class Turns:
    """Models that take turns: one is loaded at a time."""

    def __init__(self, backend: TorchBackend) -> None:
        self.prompts = Prompts()
        self._backend = backend
        self._loaded: LoadedModel | None = None

    def swap(self, folder: Path, token: CancelToken | None = None) -> LoadedModel:
        """Let the model that is loaded go, and load another."""
        self.leave()
        place = Placement(device=Device.CPU, precision=Precision.BFLOAT16, bytes=0)
        self._loaded = self._backend.load(folder.name, folder, place, token or CancelToken(), lambda _, __: None)
        return self._loaded

    def leave(self) -> None:
        """Let the model that is loaded go."""
        if self._loaded:
            self._loaded.evict()
            self._loaded = None


def main() -> None:
    """Measure and print the figures; the last line is one JSON object."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench-swap-") as scratch:
        folders = list(make_models(Path(scratch), options.size).values())
        tiny = list(make_models(Path(scratch), "tiny").values())
        files, arena, theirs = measure(folders, options.rounds)
        drift = rss_drift(folders, options.swaps)
        wrong = count_differences(tiny, options.sequences)
    result = {
        "readyRatio": _ratio(files, theirs, "ready"),
        "firstTokenRatio": _ratio(files, theirs, "first_token"),
        "arenaReadyRatio": _ratio(arena, theirs, "ready"),
        "arenaFirstTokenRatio": _ratio(arena, theirs, "first_token"),
        "identical": wrong == 0,
        "sequences": options.sequences,
        "rssDriftPercent": round(drift, 2),
        "swaps": options.swaps,
    }
    if not options.json:
        rows = [
            (name, _row(times)) for name, times in (("files", files), ("arena", arena), ("from_pretrained", theirs))
        ]
        show(f"Swap, medians of {len(files)} (ready / first token)", rows)
        show("Over many swaps", [(name, str(value)) for name, value in result.items()])
    finish(result)


def measure(folders: Sequence[Path], rounds: int) -> tuple[list[Times], list[Times], list[Times]]:
    """Return the times of swaps to files, of swaps in an arena, and of loading anew."""
    files, arena = Turns(TorchBackend()), Turns(arena_backend(folders, HostCopier()))
    for turns in (files, arena):
        for folder in [*folders] * 2:
            turns.swap(folder)
    seen: tuple[list[Times], list[Times], list[Times]] = ([], [], [])
    for folder in [*folders] * rounds:
        seen[0].append(time_swap(files, folder))
        seen[1].append(time_swap(arena, folder))
        seen[2].append(time_reload(folder))
    return seen


def time_swap(turns: Turns, folder: Path) -> Times:
    """Swap to a model and ask it for one token."""
    prompt = turns.prompts.new(PROMPT)
    started = time.perf_counter()
    loaded = turns.swap(folder)
    ready = time.perf_counter()
    list(loaded.runner.generate(prompt, SamplingParams(max_tokens=1), CancelToken()))
    return Times(ready - started, time.perf_counter() - started)


def time_reload(folder: Path) -> Times:
    """Load a model as one does without a swap engine, and ask it for one token."""
    gc.collect()
    started = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, local_files_only=True)
    ready = time.perf_counter()
    ids = _ids()
    model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, pad_token_id=tokenizer.pad_token_id)
    return Times(ready - started, time.perf_counter() - started)


def rss_drift(folders: Sequence[Path], swaps: int) -> float:
    """Return by how many percent the process grows over swaps that each answer with a token."""
    turns = Turns(arena_backend(folders, HostCopier()))
    for number in range(WARM_UP):
        time_swap(turns, folders[number % len(folders)])
    before = _rss()
    for number in range(swaps):
        time_swap(turns, folders[number % len(folders)])
    turns.swap(folders[(WARM_UP - 1) % len(folders)])
    return (_rss() - before) / before * 100


def arena_backend(folders: Sequence[Path], copier: HostCopier) -> TorchBackend:
    """Return a backend with room for one and a tenth of the largest model."""
    sizes = [sum(file.stat().st_size for file in folder.glob("*.safetensors")) for folder in folders]
    memory = ArenaMemory(torch.device("cpu"), copier, FileMasters())
    return TorchBackend(capacity=int(1.1 * max(sizes)), open_memory=lambda _: memory)


# --- exactness ------------------------------------------------------------------------------


class MishapCopier(HostCopier):
    """Does something just before a chunk is copied."""

    def __init__(self) -> None:
        self._countdown = 0
        self._action: Callable[[], None] = _nothing

    def plan(self, chunks: int, action: Callable[[], None]) -> None:
        """Do `action` before the chunk with this number, counted from 1; never if it is 0."""
        self._countdown, self._action = chunks, action

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        """Copy one chunk, or fail."""
        self._countdown -= 1
        if self._countdown == 0:
            self._action()
        super().copy(target, source)


class CopyFailedError(RuntimeError):
    """A copy that was made to fail."""


def count_differences(folders: Sequence[Path], sequences: int) -> int:
    """Return after how many random sequences a model's logits differ from those of a fresh load."""
    choose = random.Random(11)
    copier = MishapCopier()
    backend = arena_backend(folders, copier)
    turns = Turns(backend)
    fresh = {folder: _fresh_logits(folder) for folder in folders}
    wrong = 0
    for _ in range(sequences):
        for _ in range(choose.randint(1, 4)):
            _random_step(turns, backend, copier, choose, folders)
        copier.plan(0, _nothing)
        folder = choose.choice(folders)
        wrong += not torch.equal(_logits(turns.swap(folder)), fresh[folder])
    return wrong


def _random_step(
    turns: Turns, backend: TorchBackend, copier: MishapCopier, choose: random.Random, folders: Sequence[Path]
) -> None:
    token, chunk = CancelToken(), choose.randint(1, 40)
    folder = choose.choice(folders)
    match choose.choices(["swap", "cancel", "fail", "unload"], [6, 6, 6, 1])[0]:
        case "swap":
            copier.plan(0, _nothing)
            turns.swap(folder)
        case "cancel":
            copier.plan(chunk, token.cancel)
            with contextlib.suppress(Cancelled):
                turns.swap(folder, token)
        case "fail":
            copier.plan(chunk, _fail)
            with contextlib.suppress(CopyFailedError, OutOfMemory):
                turns.swap(folder)
        case "unload":
            turns.leave()
            backend.release()


def _fail() -> None:
    raise CopyFailedError


def _nothing() -> None:
    """Let the copy go on."""


def _logits(loaded: LoadedModel) -> torch.Tensor:
    assert loaded.skeleton is not None  # packed models have none
    with torch.inference_mode():
        logits: torch.Tensor = loaded.skeleton.model(_ids()).logits
    return logits


def _ids() -> torch.Tensor:
    return torch.tensor([Prompts().new(PROMPT)])


def _fresh_logits(folder: Path) -> torch.Tensor:
    with torch.inference_mode():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
        logits: torch.Tensor = model(_ids()).logits
    return logits


# --- the command ----------------------------------------------------------------------------


def _ratio(ours: Sequence[Times], theirs: Sequence[Times], name: str) -> float:
    ratio = median([getattr(one, name) for one in ours]) / median([getattr(one, name) for one in theirs])
    return float(f"{ratio:.3g}")


def _row(times: Sequence[Times]) -> str:
    ready, first = median([one.ready for one in times]), median([one.first_token for one in times])
    return f"{ready * 1000:8.1f} ms / {first * 1000:8.1f} ms"


def _rss() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.swap", description=__doc__.partition("\n")[0])
    parser.add_argument("--size", default="small", choices=["small", "tiny"], help="of the models that are timed")
    parser.add_argument("--rounds", type=int, default=10, help="how often each model is swapped in")
    parser.add_argument("--swaps", type=int, default=50, help="over which the drift is measured")
    parser.add_argument("--sequences", type=int, default=1000, help="random sequences of which outputs are compared")
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    main()
