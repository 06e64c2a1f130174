"""Recorded steps on a GPU: that they say what unrecorded ones say, also after many swaps, and how fast they are."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from bench.figures import median
from bench.gpu_setup import (
    Row,
    Setup,
    Turns,
    free,
    from_pretrained,
    growing,
    recorded,
    timed,
    unrecorded,
    used,
    with_modules,
)
from bench.random_models import Prompts
from core.cancellation import CancelToken
from core.models.causal_model import CausalModel
from core.models.loader import OpenModel
from core.models.static_model import StaticModel
from core.settings import Precision

SWAPS = 50
RUNS = 3
NEAR = 0.3
"""Share of the logits' spread by which rounding may turn two likely tokens around: with random weights each path is
off by a twentieth of it, and this is the largest of some hundred differences. A wrong token is off by several."""
WRONG = 10
"""One in so many guesses is wrong."""
MIB = 1 << 20
GB = 1e9


def check_steps(setup: Setup) -> list[str]:
    """Compare recorded steps with others; returns what is wrong.

    The same kernels in the same order must say the same, token by token, also with guesses. Those of a growing
    cache add in another order: there, each token must be one that it finds likeliest, or nearly.
    """
    return [
        f"{kind}, prompt of {length} tokens: {problem}"
        for kind in setup.folders
        for length, problems in zip(setup.lengths, _compare_steps(setup, kind), strict=True)
        for problem in problems
    ]


def _compare_steps(setup: Setup, kind: str) -> list[list[str]]:
    """Return what is wrong after each of the prompts."""
    prompts = [Prompts().new(length) for length in setup.lengths]
    with _opened(setup, kind, unrecorded) as model:
        expected = [say(model, prompt, setup.reply) for prompt in prompts]
    with _opened(setup, kind, recorded) as model:
        ours = [say(model, prompt, setup.reply) for prompt in prompts]
        ours_guessed = [say_guessed(model, *pair) for pair in zip(prompts, expected, strict=True)]
        remark = model.remark
    with _opened(setup, kind, growing) as model:
        far = [farthest(model, *pair) for pair in zip(prompts, ours, strict=True)]
    with _opened(setup, kind, with_modules) as model:
        modules = [say(model, prompt, setup.reply) for prompt in prompts]
        modules_guessed = [say_guessed(model, *pair) for pair in zip(prompts, modules, strict=True)]
    return [
        [
            *filter(None, [remark]),
            *(["one by one, recorded steps say something else"] if ours[at] != expected[at] else []),
            *(["with guesses, recorded steps say something else"] if ours_guessed[at] != ours[at] else []),
            *(["with guesses, steps of modules say something else"] if modules_guessed[at] != modules[at] else []),
            *([f"a growing cache finds other tokens likelier, by {far[at]:.2f}"] if far[at] > NEAR else []),
        ]
        for at in range(len(prompts))
    ]


def check_swaps(setup: Setup) -> tuple[list[str], list[Row]]:
    """Let models with recorded steps take turns many times; returns what is wrong, and what memory did."""
    turns = Turns(setup, 1.02 * max(setup.size(kind) for kind in setup.folders))
    folders, prompt = list(setup.folders.values()), Prompts().new(64)

    def answer(folder: Path) -> list[int]:
        return say(_model(turns, folder), prompt, 8)

    expected = {folder: answer(folder) for folder in folders * 2}
    recordings = _recordings(turns, folders)
    before, reserved = used(setup), _reserved(setup)
    wrong = sum(answer(folder) != expected[folder] for folder in itertools.islice(itertools.cycle(folders), SWAPS))
    drift = (used(setup) - before) / MIB
    grown = (_reserved(setup) - reserved) / MIB
    again = _recordings(turns, folders) - recordings
    turns.close()
    problems = [f"{wrong} of {SWAPS} answers after a swap differ"] if wrong else []
    problems += [f"{again} steps were recorded again in {SWAPS} swaps"] if again else []
    return problems, [
        Row(name=f"steps recorded again in {SWAPS} swaps", median=again, p95=again, unit="", target="0"),
        Row(name=f"memory drift over {SWAPS} swaps with answers", median=drift, p95=drift, unit="MiB", target="≤ 32"),
        Row(name="the same, in what torch has reserved", median=grown, p95=grown, unit="MiB", target="0"),
    ]


def measure_decoding(setup: Setup, kind: str, target: str) -> Iterator[Row]:
    """Yield tokens per second of one model, in several ways."""
    count = setup.reply
    with _opened(setup, kind, recorded) as model:
        short, long = Prompts().new(setup.lengths[0]), Prompts().new(setup.lengths[-1])
        plainly = _speed(setup, model, short, count, f"{kind}: decode", target=target)
        read = f"{setup.size(kind) * plainly.median / GB:.3g} GB of weights read per second"
        yield replace(plainly, note=read if setup.is_cuda else f"{read}; a CPU runs each step from Python")
        plain = say(model, short, count)
        yield _guessed_speed(setup, model, short, plain, f"{kind}: decode, {WRONG - 1} of {WRONG} guesses right")
        yield _speed(setup, model, long, count, f"{kind}: decode after {len(long)} tokens")
        yield _recording_time(setup, model, short, f"{kind}: recording a step, and running it")
    with _opened(setup, kind, with_modules) as model:
        yield _speed(setup, model, short, count, f"{kind}: decode with torch's kernels")
        yield _speed(setup, model, long, count, f"{kind}: decode after {len(long)} tokens, with torch's kernels")
    with _opened(setup, kind, unrecorded) as model:
        yield _speed(setup, model, short, count, f"{kind}: decode, the same steps unrecorded")
    with _opened(setup, kind, growing) as model:
        yield _speed(setup, model, short, count, f"{kind}: decode with a growing cache")
    yield _their_speed(setup, kind, short, count)


def measure_quantised(setup: Setup, kind: str) -> Iterator[Row]:
    """Yield what a model costs, and how fast it is, in fewer bits; on a CPU in 8 only, which is what it has there."""
    prompt = Prompts().new(setup.lengths[0])
    for precision in (Precision.INT8, Precision.INT4) if setup.is_cuda else (Precision.INT8,):
        turns = Turns(setup, setup.size(kind))
        started = time.perf_counter()
        loaded = turns.bring(setup.folders[kind], precision=precision)
        setup.synchronize()
        seconds = time.perf_counter() - started
        size = f"{loaded.bytes / GB:.3g} GB instead of {setup.size(kind) / GB:.3g}"
        name = f"{kind} in {precision.value}"
        yield Row(name=f"{name}: quantising, and first load", median=seconds, p95=seconds, unit="s", note=size)
        expected = say(loaded.runner.model, prompt, setup.reply)
        turns.close()
        again = turns.bring(setup.folders[kind], precision=precision).runner.model
        same = "the same tokens after unloading" if say(again, prompt, setup.reply) == expected else "OTHER TOKENS"
        yield _speed(setup, again, prompt, setup.reply, f"{name}: decode", note=same)
        again.release()
        turns.close()
        plain = Turns(setup, setup.size(kind), open_model=with_modules)
        modules = plain.bring(setup.folders[kind], precision=precision).runner.model
        yield _speed(setup, modules, prompt, setup.reply, f"{name}: decode with torch's kernels")
        modules.release()
        plain.close()


def say(model: CausalModel, prompt: Sequence[int], count: int) -> list[int]:
    """Return the likeliest reply, read token by token."""
    said = [int(_read(model, prompt).argmax())]
    with torch.inference_mode():
        while len(said) < count:
            said.append(int(model.decode(said[-1:], CancelToken())[0].argmax()))
    return said


def say_guessed(model: CausalModel, prompt: Sequence[int], known: Sequence[int]) -> list[int]:
    """Return the likeliest reply, read with guesses out of a known one, of which some are made wrong."""
    # Another token, but one that there is: a GPU that is asked for others stops working.
    guesses = [abs(token - 1) if index % WRONG == WRONG - 1 else token for index, token in enumerate(known)]
    said = [int(_read(model, prompt).argmax())]
    with torch.inference_mode():
        while len(said) < len(known):
            draft = guesses[len(said) : len(said) + model.step_width - 1]
            choices = model.decode([said[-1], *draft], CancelToken()).argmax(-1).tolist()
            right = next((at for at, token in enumerate(draft) if token != choices[at]), len(draft))
            model.truncate(model.length - len(draft) + right)
            said += choices[: right + 1]
    return said[: len(known)]


def farthest(model: CausalModel, prompt: Sequence[int], reply: Sequence[int]) -> float:
    """Return by how much of the logits' spread a token of a reply falls short of the likeliest one at most."""
    rows = [_read(model, prompt)]
    with torch.inference_mode():
        rows += [model.decode([token], CancelToken())[0] for token in reply[:-1]]
    gaps = [(row.max() - row[token]) / row.float().std() for row, token in zip(rows, reply, strict=True)]
    return max(float(gap) for gap in gaps)


def _read(model: CausalModel, prompt: Sequence[int]) -> torch.Tensor:
    model.truncate(0)
    with torch.inference_mode():
        for start in range(0, len(prompt), model.prefill_chunk):
            logits = model.prefill(prompt[start : start + model.prefill_chunk], CancelToken())
    return logits


@contextmanager
def _opened(setup: Setup, kind: str, open_model: OpenModel) -> Iterator[CausalModel]:
    turns = Turns(setup, 1.02 * setup.size(kind), open_model=open_model)
    model = _model(turns, setup.folders[kind])
    yield model
    model.release()
    turns.close()
    free(setup)


def _model(turns: Turns, folder: Path) -> CausalModel:
    return turns.bring(folder).runner.model


def _recordings(turns: Turns, folders: Sequence[Path]) -> int:
    models = [_model(turns, folder) for folder in folders]
    return sum(model.recordings for model in models if isinstance(model, StaticModel))


def _reserved(setup: Setup) -> int:
    return torch.cuda.memory_reserved(setup.device) if setup.is_cuda else 0


def _speed(
    setup: Setup, model: CausalModel, prompt: Sequence[int], count: int, name: str, *, target: str = "", note: str = ""
) -> Row:
    """Time tokens one by one, each chosen on the host before the next is read."""
    token = int(_read(model, prompt).argmax())

    def tokens() -> None:
        nonlocal token
        model.truncate(len(prompt))
        with torch.inference_mode():
            for _ in range(count):
                token = int(model.decode([token], CancelToken())[0].argmax())

    return _rate(name, count, _few(setup, tokens), target, note)


def _guessed_speed(setup: Setup, model: CausalModel, prompt: Sequence[int], plain: Sequence[int], name: str) -> Row:
    read = timed(setup, lambda: _read(model, prompt), RUNS)
    times = _few(setup, lambda: say_guessed(model, prompt, plain))
    same = say_guessed(model, prompt, plain) == list(plain)
    note = "the same tokens" if same else "other tokens where two were nearly as likely"
    return _rate(name, len(plain), [max(1e-9, one - median(read)) for one in times], "twice decode", note)


def _recording_time(setup: Setup, model: CausalModel, prompt: Sequence[int], name: str) -> Row:
    def record() -> None:
        model.truncate(len(prompt))
        with torch.inference_mode():
            model.decode([11], CancelToken())

    times = []
    for _ in range(RUNS):
        model.release()
        _read(model, prompt)
        setup.synchronize()
        started = time.perf_counter()
        record()
        setup.synchronize()
        times.append(time.perf_counter() - started)
    return Row(name=name, median=median(times), p95=max(times), unit="s")


def _their_speed(setup: Setup, kind: str, prompt: Sequence[int], count: int) -> Row:
    model = from_pretrained(setup.folders[kind], setup.device)
    ids = torch.tensor([prompt], device=setup.device)

    def generate(tokens: int) -> Callable[[], object]:
        return lambda: model.generate(  # type: ignore[operator]
            ids, attention_mask=torch.ones_like(ids), do_sample=False, min_new_tokens=tokens, max_new_tokens=tokens
        )

    first = median(_few(setup, generate(1)))
    times = [max(1e-9, one - first) for one in _few(setup, generate(count))]
    return _rate(f"{kind}: decode with `generate` of transformers", count - 1, times)


def _few(setup: Setup, work: Callable[[], object]) -> list[float]:
    return timed(setup, work, min(RUNS, setup.rounds))


def _rate(name: str, count: int, times: Sequence[float], target: str = "", note: str = "") -> Row:
    speeds = [count / one for one in times]
    print(f"  {name}: {median(speeds):.1f} tokens/s", flush=True)
    return Row(name=name, median=median(speeds), p95=min(speeds), unit="tokens/s", target=target, note=note)
