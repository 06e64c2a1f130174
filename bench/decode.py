"""How fast models answer on this machine: `python -m bench.decode [MODEL ...] [--json]`.

Each model is a reference as in the settings: a model of a set, a model folder, or a GGUF file,
which is converted once. Without any, it is the one that writes code in the starter set, installed
if need be. Everything runs as in the product: placement, loader, runner; in one process, on as
many threads as the engine takes. Compared, in turns and in medians, with `generate` of
transformers in the fastest precision of the processor, from the same folder:

- decode: tokens per second after the first, one token at a time, greedily;
- first token: after a prompt of 512 tokens, the model being loaded; and, in a process of its own
  cache, after the model's files were dropped from the page cache, loading included;
- follow-up: first token of a turn that adds 32 tokens to 1,000 known ones, over that of reading
  them all;
- prompt lookup: generating code from a retrieved solution of the same task, over decoding the same
  reply one token at a time; in all, and for the replies that did copy the solution.

With `--llama-bench COMMAND`, decoding is compared with that program of llama.cpp as well, on the
same GGUF file, after as many tokens and on as many threads. Machines are not equally fast from one
second to the next, so each ratio is the median of ratios within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForCausalLM, StoppingCriteria, StoppingCriteriaList

from bench.figures import finish, median, show
from core.cancellation import CancelToken
from core.generation.prompts import Solution, generation_messages
from core.models.causal_model import CausalModel
from core.models.installer import Installer
from core.models.interface import ChatMessage, SamplingParams
from core.models.loader import LoadedModel, TorchBackend
from core.models.manifest import find_gguf
from core.models.placement import Placement, plan
from core.models.registry import ModelRegistry
from core.models.runner import Runner
from core.models.weights import weigh
from core.paths import DataFolders
from core.settings import Device, Precision

STARTER = "starter"
FIRST_PROMPT, KNOWN, ADDED = 512, 1000, 32
STOP_TOKENS = 4
"""Tokens in which a stop text is looked for."""
COPIED = 160
"""Longest reply that may be copied, in tokens."""
QUESTION = "Explain step by step how quicksort works, what it costs, and when another algorithm is better."
SOLVED = {
    "Count how often each word occurs in a text": """def count_words(text):
    words = {}
    for word in text.lower().split():
        word = word.strip(".,!?")
        if word in words:
            words[word] += 1
        else:
            words[word] = 1
    return words
""",
    "Join intervals that overlap or touch": """def merge_intervals(intervals: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged
""",
    "Find the first character of a string that occurs only once": """def first_unique(text: str) -> str | None:
    counts = {}
    for character in text:
        counts[character] = counts.get(character, 0) + 1
    for character in text:
        if counts[character] == 1:
            return character
    return None
""",
}
"""Tasks with solutions that are asked for again, as if they had been retrieved."""
FENCE = "```"


@dataclass(frozen=True, slots=True)
class Subject:
    """A model under test."""

    name: str
    folder: Path
    placement: Placement
    loaded: LoadedModel

    @property
    def runner(self) -> Runner:
        """What answers."""
        return self.loaded.runner

    @property
    def computed(self) -> CausalModel:
        """What computes, one step at a time."""
        return self.loaded.runner.model


class Token(NamedTuple):
    """A token of a reply, and when it was there, in seconds."""

    number: int
    time: float


class Lookup(NamedTuple):
    """A reply that may be copied from the prompt."""

    seconds: float
    plain_seconds: float
    """The same reply, one token at a time."""
    copied: bool
    """Whether it holds the solution as it was shown."""
    identical: bool
    """Whether both say the same."""


class Marks(StoppingCriteria):
    """Notes when `generate` has a token."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Stop nothing."""
        self.times.append(time.perf_counter())
        return torch.zeros(input_ids.shape[0], dtype=torch.bool)


def main() -> None:
    """Measure and print the figures; the last line is one JSON object."""
    options = _options()
    registry = ModelRegistry(DataFolders(options.home) if options.home else DataFolders.locate())
    backend = TorchBackend()
    if options.threads:
        torch.set_num_threads(options.threads)
    references = options.models or [starter_model(registry)]
    found = [_measure_model(reference, registry, backend, options) for reference in references]
    finish({"models": found, "threads": torch.get_num_threads()})


def _measure_model(
    reference: str, registry: ModelRegistry, backend: TorchBackend, options: argparse.Namespace
) -> dict[str, Any]:
    folder = Installer(registry).ensure(reference, lambda phase: print(phase.message), CancelToken())
    cold = cold_first_token(reference, folder, options.precision)
    subject = _load(reference, folder, backend, options.precision)
    plain, theirs, llama = measure_decode(subject, options)
    to_theirs, to_llama = (median_ratio(plain, other) for other in (theirs, llama))
    first, follow_up, same = measure_follow_up(subject, options.rounds)
    lookups = measure_lookup(subject)
    result = {
        "name": Path(reference).name,
        "dtype": subject.placement.precision.value,
        "tokensPerSecond": round(median(plain), 1),
        "ratioToHf": round(to_theirs, 2),
        "promptLookupSpeedup": _speedup([one for one in lookups if one.copied]),
        "promptLookupSpeedupOfAll": _speedup(lookups),
        "promptLookupCopied": f"{sum(one.copied for one in lookups)} of {len(lookups)}",
        "promptLookupIdentical": all(one.identical for one in lookups),
        "firstTokenMs": round(1000 * first),
        "coldCacheFirstTokenMs": round(1000 * cold),
        "followUpFirstTokenRatio": round(follow_up, 3),
        "followUpSameTokens": same,
        **({"ratioToLlamaCpp": round(to_llama, 2)} if llama else {}),
    }
    if not options.json:
        rows = [(name, str(value)) for name, value in result.items()]
        rows += [("transformers, tokens per second", f"{median(theirs):.1f}")]
        rows += [("llama.cpp, tokens per second", f"{median(llama):.1f}")] if llama else []
        show(f"{subject.name}, {torch.get_num_threads()} thread(s): {subject.placement.reason}", rows)
    subject.loaded.evict()
    backend.release()
    return result


def measure_decode(subject: Subject, options: argparse.Namespace) -> tuple[list[float], list[float], list[float]]:
    """Return tokens per second of ours, of transformers and of llama.cpp, by round; none without that program."""
    prompt = subject.runner.encode_chat([ChatMessage("user", QUESTION)])
    reference = _load_reference(subject)
    gguf = find_gguf(subject.folder)
    ours, theirs, llama = [], [], []
    for _ in range(options.rounds):
        ours.append(_rate([one.time for one in _decode(subject.computed, prompt, options.tokens)]))
        theirs.append(_rate(_generate(reference, prompt, options.tokens)))
        if options.llama_bench and gguf:
            llama.append(_llama_rate(options.llama_bench, gguf, len(prompt), options.tokens))
    return ours, theirs, llama


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the ratios within each round; 0 if nothing was measured."""
    return median([one / other for one, other in zip(ours, theirs, strict=False)] or [0.0])


def measure_follow_up(subject: Subject, rounds: int) -> tuple[float, float, bool]:
    """Return the seconds to a first token, the share of them that a follow-up takes, and whether it says the same."""
    text = subject.runner.encode_chat([ChatMessage("user", "\n".join(SOLVED.values()) * 7)])
    while len(text) < KNOWN + ADDED:
        text += text
    first, cold, warm, same = [], [], [], []
    for index in range(rounds):
        start = [*text[index:], *text[:index]]
        subject.runner.release()
        first.append(_time(partial(_say, subject.runner, start[:FIRST_PROMPT], 1)))
        whole, known = start[: KNOWN + ADDED], start[:KNOWN]
        subject.runner.release()
        cold.append(_time(partial(_say, subject.runner, whole, 1)))
        expected = _say(subject.runner, whole, 16)
        subject.runner.release()
        _say(subject.runner, known, 1)
        warm.append(_time(partial(_say, subject.runner, whole, 1)))
        same.append(_say(subject.runner, whole, 16) == expected)
    return median(first), median(warm) / median(cold), all(same)


def measure_lookup(subject: Subject) -> list[Lookup]:
    """Let the model write what it has been shown, with and without lookup."""
    return [_look_up(subject, *task) for task in SOLVED.items()]


def _look_up(subject: Subject, description: str, code: str) -> Lookup:
    solution = Solution(description=description, implementation=code, similarity=1.0)
    messages = generation_messages(description, [solution], "python")
    prompt = subject.runner.encode_chat(messages, f"{FENCE}python\n")
    subject.runner.release()
    reply = list(_reply(subject.runner, prompt, COPIED, stop=FENCE))
    plain = list(_decode(subject.computed, prompt, len(reply)))
    numbers = [one.number for one in reply]
    return Lookup(
        seconds=reply[-1].time - reply[0].time,
        plain_seconds=plain[-1].time - plain[0].time,
        copied=code.strip() in subject.runner.decode(numbers),
        identical=numbers == [one.number for one in plain],
    )


def _speedup(lookups: Sequence[Lookup]) -> float | None:
    """Return how many times as fast as one token at a time replies were; None without any."""
    if not lookups:
        return None
    return round(sum(one.plain_seconds for one in lookups) / sum(one.seconds for one in lookups), 2)


def cold_first_token(reference: str, folder: Path, precision: Precision) -> float:
    """Return the seconds from nothing in memory to a first token after a short prompt."""
    _drop_from_page_cache(folder)
    started = time.perf_counter()
    subject = _load(reference, folder, TorchBackend(), precision)
    _say(subject.runner, subject.runner.encode_chat([ChatMessage("user", QUESTION)]), 1)
    elapsed = time.perf_counter() - started
    subject.loaded.evict()
    return elapsed


def _load(reference: str, folder: Path, backend: TorchBackend, precision: Precision) -> Subject:
    footprint = weigh(folder)
    placement = plan(reference, footprint, backend.measure(), {}, device=Device.CPU, precision=precision)
    loaded = backend.load(reference, folder, placement, CancelToken(), lambda _, __: None)
    return Subject(reference, folder, placement, loaded)


def _load_reference(subject: Subject) -> Any:
    fast = torch.backends.cpu.get_cpu_capability() not in {"DEFAULT", "NO AVX", "AVX2"}
    dtype = torch.bfloat16 if fast else torch.float32
    model = AutoModelForCausalLM.from_pretrained(subject.folder, dtype=dtype, local_files_only=True)
    model.generation_config.eos_token_id = None
    return model


def _decode(model: CausalModel, prompt: Sequence[int], count: int) -> Iterator[Token]:
    """Decode greedily, one token at a time, whatever the reply says."""
    model.release()
    with torch.inference_mode():
        logits = model.prefill(prompt, CancelToken())
        for _ in range(count):
            number = int(logits.argmax())
            yield Token(number, time.perf_counter())
            logits = model.decode([number], CancelToken())[0]
    model.release()


def _reply(runner: Runner, prompt: Sequence[int], count: int, stop: str = "") -> Iterator[Token]:
    """Decode as the product does, up to the end of the reply or to where it says `stop`."""
    stream = runner.tokens(prompt, SamplingParams(max_tokens=count), CancelToken())
    said: list[int] = []
    for _, number in zip(range(count), stream, strict=False):
        yield Token(number, time.perf_counter())
        said.append(number)
        if number in runner.end_tokens or (stop and stop in runner.decode(said[-STOP_TOKENS:])):
            return


def _generate(model: Any, prompt: Sequence[int], count: int) -> list[float]:
    marks = Marks()
    ids = torch.tensor([list(prompt)])
    options = {"max_new_tokens": count, "do_sample": False, "pad_token_id": 0}
    model.generate(ids, attention_mask=torch.ones_like(ids), stopping_criteria=StoppingCriteriaList([marks]), **options)
    return marks.times


def _say(runner: Runner, prompt: Sequence[int], count: int) -> list[int]:
    return [one.number for one in _reply(runner, prompt, count)]


def _rate(marks: Sequence[float]) -> float:
    return (len(marks) - 1) / (marks[-1] - marks[0])


def _time(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _llama_rate(command: str, gguf: Path, depth: int, tokens: int) -> float:
    arguments = ["-m", str(gguf), "-t", str(torch.get_num_threads()), "-p", "0", "-n", str(tokens)]
    arguments += ["-d", str(depth), "-r", "1"]
    done = subprocess.run([command, *arguments, "-o", "json"], check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout)[0]["avg_ts"])


def _drop_from_page_cache(folder: Path) -> None:
    if not hasattr(os, "posix_fadvise"):
        return
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as stream:
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def starter_model(registry: ModelRegistry) -> str:
    """Return the model of the starter set that writes code, installed if need be."""
    Installer(registry).pull(STARTER, lambda _: None, CancelToken())
    return next(iter(registry.model_set(STARTER).models))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("models", nargs="*", help="a model of a set, a model folder or a GGUF file")
    parser.add_argument("--home", type=Path, help="data folder to install into, if not the usual one")
    parser.add_argument("--precision", type=Precision, default=Precision.AUTO)
    parser.add_argument("--threads", type=int, help="if not as many as the engine takes")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--llama-bench", metavar="COMMAND", help="a built llama-bench to compare with")
    parser.add_argument("--json", action="store_true", help="print the figures only")
    return parser.parse_args()


if __name__ == "__main__":
    main()
