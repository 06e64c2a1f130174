"""Swapping and decoding on a GPU, at full size: `bench/gpu.sh [--tiny --device cpu] [--models FOLDER]`.

Needs torch, transformers, accelerate and safetensors, and nothing else. Makes Phi-3-mini and
deepseek-coder-1.3b with random weights by itself: times mean something, answers do not. First
it is checked that models that have taken turns compute, bit by bit, what freshly loaded ones
compute, and that recorded steps say what others say, also after many swaps; without that no time
is taken. Then come the link's own speed, swaps against what
transformers and torch do, decoding, and the memory after many swaps. Rows called "emulated" cap
the arena and hold copies back to the speed of a smaller card's link.

Writes `bench/results/gpu-DEVICE.json` and a table beside it, after each part what there is so far.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoTokenizer, PreTrainedModel

from bench.figures import median
from bench.gpu_decoding import check_steps, check_swaps, measure_decoding, measure_quantised
from bench.gpu_setup import (
    PacedStreamCopier,
    Row,
    Setup,
    Turns,
    compute_logits,
    free,
    from_pretrained,
    make_row,
    timed,
    used,
)
from bench.random_models import Prompts, make_models
from core.cancellation import CancelToken
from core.models.copying import Copier
from core.models.interface import SamplingParams
from core.models.loader import LoadedModel

RESULTS = Path(__file__).parent / "results"
GB = 1e9
OVERLAP_CAPACITY = 8.6 * GB
"""Of a card of 10 GiB; full size only."""
LINKS = {"Gen4 x8 laptop": 12.5 * GB, "Gen4 x16": 25 * GB}
"""Bytes per second that reach the device."""
CHECKS = 20
FIRST_LOADS = 3
FEW = 5
"""Rounds of what takes seconds."""
SWAPS = 50


def main() -> None:
    """Check, measure, and write the results; the exit status says whether something was wrong."""
    options = _options()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch finds no CUDA device here. To try the script itself: --tiny --device cpu")
    report = Report(_facts(device, options), Path(options.results))
    with _scratch(options.models) as folder:
        print("Making models with random weights ...", flush=True)
        setup = _setup(folder, device, tiny=options.tiny, rounds=options.rounds)
        for section in SECTIONS:
            started = time.perf_counter()
            report.add(section.__name__.strip("_").replace("_", " "), section(setup))
            free(setup)
            print(f"  ({time.perf_counter() - started:.0f} s)", flush=True)
    report.finish()


class Report:
    """Figures as they come, and what went wrong: written after each part, so that they are there however it ends."""

    def __init__(self, facts: Mapping[str, Any], folder: Path) -> None:
        self._facts = facts
        self._folder = folder
        self._rows: list[Row] = []
        self._problems: list[str] = []

    def add(self, section: str, found: Iterable[Row | str]) -> None:
        """Take rows, and sentences about what is wrong; a part that breaks off does not stop the others."""
        print(section, flush=True)
        try:
            for one in found:
                if isinstance(one, Row):
                    self._rows.append(one)
                else:
                    self._note(one)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other parts can be measured
            traceback.print_exc()
            self._note(f"{section} broke off: {type(error).__name__}: {str(error).partition(chr(10))[0]}")
            # What the failed part held would take room from the next.
            traceback.clear_frames(error.__traceback__)
        write({**self._facts, "problems": self._problems}, self._rows, self._folder)

    def finish(self) -> None:
        """Print all, and end with an error if there was one."""
        result = {**self._facts, "problems": self._problems}
        print("\n".join(table(result, self._rows)))
        print(json.dumps({**result, "rows": [asdict(row) for row in self._rows]}), flush=True)
        sys.exit(1 if self._problems else 0)

    def _note(self, problem: str) -> None:
        print(f"WRONG: {problem}", flush=True)
        self._problems.append(problem)


def check_swapped(setup: Setup) -> Iterator[str]:
    """Say whether models that were swapped in compute what fresh ones do."""
    wrong = check(setup)
    if wrong:
        yield f"{wrong} of {CHECKS} swapped models computed something else than fresh ones."
    else:
        print(f"{CHECKS} swapped models computed exactly what fresh ones compute.", flush=True)


def check(setup: Setup) -> int:
    """Return how often a model that was swapped in computed something else than a fresh one."""
    ids = torch.tensor([Prompts().new(96)], device=setup.device)
    fresh = {folder: compute_logits(from_pretrained(folder, setup.device), ids) for folder in setup.folders.values()}
    turns = Turns(setup, 1.02 * max(setup.size(kind) for kind in setup.folders))
    order = list(itertools.islice(itertools.cycle(setup.folders.values()), CHECKS))
    wrong = sum(not torch.equal(compute_logits(_modules(turns.bring(folder)), ids), fresh[folder]) for folder in order)
    turns.close()
    return wrong


def check_recorded(setup: Setup) -> Iterator[Row | str]:
    """Say what is wrong with recorded steps, and what memory did meanwhile."""
    problems, rows = check_swaps(setup)
    yield from rows
    problems = [*check_steps(setup), *problems]
    yield from problems
    if not problems:
        print("Recorded steps said exactly what unrecorded ones say, before and after 50 swaps.", flush=True)


def swapping(setup: Setup) -> Iterator[Row]:
    """Swap each model in, in our way and in others."""
    floor = link_speed(setup)
    yield Row(name="Link, pinned host to device", median=floor / GB, p95=floor / GB, unit="GB/s")
    for kind, target in (("phi3", "≤ 0.16 s, ≥ 87 % of the link"), ("coder", "≤ 0.06 s")):
        yield from _full_swap(setup, kind, floor, target)
    yield from _overlap_swaps(setup)
    yield from _both_resident(setup)


def decoding(setup: Setup) -> Iterator[Row]:
    """Write replies."""
    for kind, target in (("phi3", "≥ 280"), ("coder", "≥ 700")):
        yield from measure_decoding(setup, kind, target)


def fewer_bits(setup: Setup) -> Iterator[Row]:
    """Write replies with quantised weights, which are made for it."""
    for kind in setup.folders:
        yield from measure_quantised(setup, kind)


def other_ways_to_load(setup: Setup) -> Iterator[Row]:
    """Load for the first time, and in the ways of others."""
    for kind in setup.folders:
        yield from _first_loads(setup, kind)
        yield _theirs(setup, kind)
        yield _moved(setup, kind)


def link_speed(setup: Setup) -> float:
    """Return bytes per second of one large copy to the device."""
    size = 1 << (30 if setup.is_cuda else 26)
    source = torch.empty(size, dtype=torch.uint8, pin_memory=setup.is_cuda)
    target = torch.empty(size, dtype=torch.uint8, device=setup.device)
    times = timed(setup, lambda: target.copy_(source, non_blocking=True))
    return size / median(times)


def _full_swap(setup: Setup, kind: str, floor: float, target: str) -> Iterator[Row]:
    """Swap a model in that has been overwritten completely, and ask it for a token."""
    turns = Turns(setup, 1.02 * setup.size(kind))
    pair = itertools.cycle([setup.folders[kind], setup.twins[kind]])
    for _ in range(4):
        turns.bring(next(pair))
    times = timed(setup, lambda: turns.bring(next(pair)))
    share = setup.size(kind) / median(times) / floor
    yield make_row(f"{kind}: full swap", times, "s", target, f"{share:.0%} of the link")
    prompts = Prompts()

    def first_token() -> None:
        prompt = prompts.new(setup.prompt)
        list(turns.bring(next(pair)).runner.generate(prompt, SamplingParams(max_tokens=1), CancelToken()))

    times = timed(setup, first_token)
    yield make_row(f"{kind}: full swap, prefill of {setup.prompt} tokens, first token", times, "s", "≤ 0.20 s (phi3)")
    turns.close()


def _first_loads(setup: Setup, kind: str) -> Iterator[Row]:
    """Load a model for the first time, which builds its modules and its copy in pinned memory."""
    for where, is_cold in (("files in the page cache", False), ("from disk", True)):
        times = []
        for _ in range(min(FIRST_LOADS, setup.rounds)):
            turns = Turns(setup, 1.02 * setup.size(kind))
            if is_cold:
                _drop_pages(setup.folders[kind])
            started = time.perf_counter()
            turns.bring(setup.folders[kind])
            setup.synchronize()
            times.append(time.perf_counter() - started)
            turns.close()
        yield make_row(f"{kind}: first load, {where}", times, "s")


def _drop_pages(folder: Path) -> None:
    """Let the system forget what it has read of a model's files."""
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _theirs(setup: Setup, kind: str) -> Row:
    """Load with transformers after everything was deleted."""

    def load() -> None:
        free(setup)
        AutoTokenizer.from_pretrained(setup.folders[kind])
        from_pretrained(setup.folders[kind], setup.device)

    return make_row(f"{kind}: del, from_pretrained and tokenizer", timed(setup, load, min(FEW, setup.rounds)), "s")


def _moved(setup: Setup, kind: str) -> Row:
    """Move a model out and in with torch."""
    model: Any = from_pretrained(setup.folders[kind], setup.device)

    def move() -> None:
        model.to("cpu")
        model.to(setup.device)

    return make_row(f"{kind}: .to('cpu') and back", timed(setup, move, min(FEW, setup.rounds)), "s")


def _overlap_swaps(setup: Setup) -> Iterator[Row]:
    """Swap both models in an arena that nearly holds them."""
    full = setup.size("phi3") + setup.size("coder")
    capacity = min(OVERLAP_CAPACITY, full - 0.6 * setup.size("coder"))
    yield _overlap(setup, capacity, None, "overlap swap", "≤ 0.040 s")
    if setup.is_cuda:
        for name, speed in LINKS.items():
            yield _overlap(setup, capacity, PacedStreamCopier(setup.device, speed), f"emulated {name}: overlap swap")


def _overlap(setup: Setup, capacity: float, copier: Copier | None, name: str, target: str = "") -> Row:
    turns = Turns(setup, capacity, copier)
    order = itertools.cycle(setup.folders.values())
    for _ in range(4):
        turns.bring(next(order))
    times = timed(setup, lambda: turns.bring(next(order)))
    copied = setup.size("phi3") + setup.size("coder") - capacity
    turns.close()
    return make_row(name, times, "s", target, f"arena {capacity / GB:.3g} GB, about {copied / GB:.3g} GB copied")


def _both_resident(setup: Setup) -> Iterator[Row]:
    turns = Turns(setup, 1.02 * (setup.size("phi3") + setup.size("coder")))
    order = itertools.cycle(setup.folders.values())
    for _ in range(4):
        turns.bring(next(order), alone=False)
    times = timed(setup, lambda: turns.bring(next(order), alone=False))
    yield make_row("switch, both resident", times, "s", "≤ 0.001 s, 0 bytes")
    times = timed(setup, lambda: turns.bring(next(order)))
    yield make_row("evict and switch, both have room", times, "s", "", "0 bytes copied")
    turns.close()


def memory_over_swaps(setup: Setup) -> Iterator[Row]:
    """Swap many times; tell what memory and addresses did."""
    turns = Turns(setup, 1.02 * max(setup.size(kind) for kind in setup.folders))
    order = itertools.cycle(setup.folders.values())
    for _ in range(4):
        turns.bring(next(order))
    before, addresses = used(setup), {path: _addresses(turns.bring(path)) for path in setup.folders.values()}
    for _ in range(SWAPS):
        turns.bring(next(order))
    drift = (used(setup) - before) / (1 << 20)
    same = all(_addresses(turns.bring(path)) == known for path, known in addresses.items())
    turns.close()
    yield Row(name=f"memory drift over {SWAPS} swaps", median=drift, p95=drift, unit="MiB", target="≤ 32 MiB")
    moved = 0.0 if same else 1.0
    yield Row(name="weights that changed their address", median=moved, p95=moved, unit="(0 = none)", target="0")


# --- helpers --------------------------------------------------------------------------------


def _addresses(loaded: LoadedModel) -> list[int]:
    return [parameter.data_ptr() for parameter in _modules(loaded).parameters()]


def _modules(loaded: LoadedModel) -> PreTrainedModel:
    assert loaded.skeleton is not None  # packed models have none
    return loaded.skeleton.model


def _setup(folder: Path, device: torch.device, *, tiny: bool, rounds: int) -> Setup:
    folders = make_models(folder, "tiny" if tiny else "full", device=str(device))
    twins = {kind: _twin(path) for kind, path in folders.items()}
    prompt, reply = (128, 16) if tiny else (1024, 128)
    # Within the first room for keys; over its end; and past the sliding window of Phi-3.
    lengths = (64, 500) if tiny else (64, 500, 2200)
    return Setup(device, folders, twins, rounds, prompt, reply, lengths)


def _twin(folder: Path) -> Path:
    twin = folder.with_name(f"{folder.name}-twin")
    twin.mkdir(exist_ok=True)
    for file in folder.iterdir():
        link = twin / file.name
        if not link.exists():
            link.symlink_to(file.absolute())
    return twin


@contextmanager
def _scratch(chosen: str | None) -> Iterator[Path]:
    if chosen:
        yield Path(chosen)
        return
    with tempfile.TemporaryDirectory(prefix="bench-gpu-") as folder:
        yield Path(folder)


def _facts(device: torch.device, options: argparse.Namespace) -> dict[str, Any]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU {platform.machine()}"
    return {
        "device": name,
        "size": "tiny" if options.tiny else "full",
        "rounds": options.rounds,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def write(facts: Mapping[str, Any], rows: Sequence[Row], folder: Path) -> None:
    """Write the figures as JSON, and as a table of Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    words = f"{facts['device']} {'tiny' if facts['size'] == 'tiny' else ''}".lower()
    slug = re.sub(r"[^a-z0-9]+", "-", words).strip("-")
    result = {**facts, "rows": [asdict(row) for row in rows]}
    (folder / f"gpu-{slug}.json").write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    (folder / f"gpu-{slug}.md").write_text("\n".join(table(facts, rows)) + "\n", "utf-8")


def table(facts: Mapping[str, Any], rows: Sequence[Row]) -> list[str]:
    """Return the figures as lines of Markdown."""
    versions = f"torch {facts['torch']}, transformers {facts['transformers']}"
    return [
        f"# {facts['device']}, {facts['size']} size, {versions}, {facts['date']}",
        "",
        *(f"**Wrong:** {problem}\n" for problem in facts["problems"]),
        "| Figure | Median | p95 | Unit | Target | Note |",
        "|---|---|---|---|---|---|",
        *(f"| {r.name} | {r.median:.4g} | {r.p95:.4g} | {r.unit} | {r.target} | {r.note} |" for r in rows),
    ]


SECTIONS: Sequence[Callable[[Setup], Iterator[Row | str]]] = (
    check_swapped,
    check_recorded,
    swapping,
    decoding,
    memory_over_swaps,
    fewer_bits,
    other_ways_to_load,
)
"""In this order: first whether it is right; what takes longest and says least of us last."""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/gpu.sh", description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="models of a few megabytes, to try the script itself")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--models", help="a folder where the models are kept for the next time")
    parser.add_argument("--results", default=str(RESULTS), help="the folder that the figures are written to")
    return parser.parse_args()


if __name__ == "__main__":
    main()
