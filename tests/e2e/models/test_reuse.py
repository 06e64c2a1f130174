"""What a model has read is reused, what is copied is guessed, and the answers stay the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from fakes.tape import TapeRecorder
from fakes.weights import Still
from tiny_models import byte_level_tokenizer, tiny_llama, tiny_phi3, tiny_qwen2
from transformers import PreTrainedModel

from core.cancellation import CancelToken
from core.errors import Cancelled
from core.models import runner as runner_module
from core.models.causal_model import CausalModel, TransformersModel
from core.models.interface import SamplingParams
from core.models.packed.config import DecoderConfig
from core.models.packed.model import PackedModel
from core.models.packed.sources import SafetensorsSource
from core.models.packed.store import open_decoder, pack
from core.models.runner import Runner
from core.models.static_model import StaticModel

pytestmark = pytest.mark.e2e

ARCHITECTURES: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": lambda: tiny_llama(initializer_range=0.1),
    "phi3": lambda: tiny_phi3(initializer_range=0.1),
    "qwen2": lambda: tiny_qwen2(initializer_range=0.1, tie_word_embeddings=True),
}
NEAR = 0.05
"""Share of the logits' spread by which bfloat16 may turn two likely tokens around."""


class Counting:
    """A model that notes how many tokens each of its steps reads."""

    def __init__(self, model: CausalModel) -> None:
        self.model = model
        self.steps: list[int] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self.model, name)

    def prefill(self, tokens: Sequence[int], token: CancelToken) -> torch.Tensor:
        self.steps.append(len(tokens))
        return self.model.prefill(tokens, token)

    def decode(self, tokens: Sequence[int], token: CancelToken) -> torch.Tensor:
        self.steps.append(len(tokens))
        return self.model.decode(tokens, token)


def packed_model(model: PreTrainedModel, folder: Path) -> PackedModel:
    model.save_pretrained(folder / "model")
    source, config = SafetensorsSource(folder / "model"), DecoderConfig.of(model.config)
    with torch.inference_mode():
        pack(source, config, folder / "packed", lambda _: None, CancelToken())
    return PackedModel(open_decoder(folder / "packed", source, config, CancelToken()))


@pytest.fixture(params=[f"{kind} {name}" for kind in ("transformers", "static", "packed") for name in ARCHITECTURES])
def open_runner(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Runner]:
    """Opens runners for the same weights, each with a memory of its own."""
    kind, name = request.param.split()
    model = ARCHITECTURES[name]().eval()
    packed = packed_model(model, tmp_path) if kind == "packed" else None
    computed: dict[str, Callable[[], CausalModel]] = {
        "transformers": lambda: TransformersModel(model),
        "static": lambda: StaticModel(model, Still(), TapeRecorder()),
        "packed": lambda: PackedModel(packed._decoder),
    }

    def open_one() -> Runner:
        return Runner(name, Counting(computed[kind]()), byte_level_tokenizer(), [])

    return open_one


def read(runner: Runner, prompt: list[int], count: int = 30, **options: object) -> list[int]:
    params = SamplingParams(max_tokens=count, **options)
    return [token for token, _ in zip(runner.tokens(prompt, params, CancelToken()), range(count), strict=False)]


def text(length: int, seed: int = 1) -> list[int]:
    return torch.randint(10, 390, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def is_greedy(runner: Runner, prompt: list[int], reply: list[int]) -> bool:
    """Whether each token of a reply is the likeliest one, when everything is read anew, one token at a time."""
    model, token = runner.model.model, CancelToken()
    model.release()
    with torch.inference_mode():
        logits = [model.prefill(prompt, token)]
        logits += [model.decode([one], token)[0] for one in reply[:-1]]
    model.release()
    return all(row.max() - row[one] <= NEAR * row.std() for row, one in zip(logits, reply, strict=True))


class Oracle:
    """Guesses a known reply, with every fifth token wrong."""

    reply: ClassVar[list[int]] = []

    def __init__(self, prompt: Sequence[int]) -> None:
        self.at = 0

    def push(self, token: int) -> None:
        self.at += 1

    def draft(self, count: int) -> list[int]:
        ahead = list(enumerate(self.reply))[self.at : self.at + count]
        return [token + 1 if index % 5 == 4 else token for index, token in ahead]


def test_next_turn_reads_only_what_is_new(open_runner: Callable[[], Runner]) -> None:
    runner = open_runner()
    first = text(120)
    reply = read(runner, first)
    runner.model.steps.clear()
    second = [*first, *reply[:20], *text(30, seed=2)]
    again = read(runner, second)
    assert runner.model.steps[0] == 30
    assert is_greedy(open_runner(), second, again)


@pytest.mark.parametrize("same", [0, 1, 40, 119, 120])
def test_another_prompt_is_answered_as_if_nothing_had_been_read(open_runner: Callable[[], Runner], same: int) -> None:
    """Also when it differs long before the sliding window of the tiny Phi-3, or not at all."""
    runner = open_runner()
    first = text(120)
    read(runner, first)
    second = [*first[:same], *text(120 - same, seed=3)]
    runner.model.steps.clear()
    found = read(runner, second)
    missing, chunk = max(1, 120 - same), runner.model.prefill_chunk
    read_in = [min(chunk, missing - start) for start in range(0, missing, chunk)]
    assert runner.model.steps[: len(read_in)] == read_in
    assert is_greedy(open_runner(), second, found)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("known", [1, 63, 100, 128])
def test_packed_model_answers_a_grown_prompt_bit_by_bit_as_if_read_anew(name: str, known: int, tmp_path: Path) -> None:
    """What a model says must not depend on what it happened to be asked before."""
    model = packed_model(ARCHITECTURES[name]().eval(), tmp_path)
    prompt, token = text(150), CancelToken()
    with torch.inference_mode():
        expected = model.prefill(prompt, token)
        model.truncate(known)
        model.decode(text(5, seed=8), token)
        model.truncate(known)
        assert torch.equal(model.prefill(prompt[known:], token), expected)


def test_cancelled_prompt_leaves_nothing_wrong(open_runner: Callable[[], Runner]) -> None:
    runner = open_runner()
    token = CancelToken()
    stream = runner.tokens(text(60), SamplingParams(max_tokens=50), token)
    next(stream)
    token.cancel()
    with pytest.raises(Cancelled):
        next(stream)
    prompt = [*text(60), *text(20, seed=4)]
    assert is_greedy(open_runner(), prompt, read(runner, prompt))


def test_released_memory_is_read_anew(open_runner: Callable[[], Runner]) -> None:
    runner = open_runner()
    read(runner, text(60))
    runner.release()
    assert runner.model.length == 0
    prompt = [*text(60), *text(20, seed=4)]
    assert is_greedy(open_runner(), prompt, read(runner, prompt))


def test_guessing_does_not_change_what_is_said(
    open_runner: Callable[[], Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right guesses save steps, wrong ones are forgotten without a trace."""
    prompt = text(60, seed=5)
    expected = read(open_runner(), prompt, 60)
    monkeypatch.setattr(runner_module, "PromptLookup", Oracle)
    monkeypatch.setattr(Oracle, "reply", expected)
    runner = open_runner()
    found = read(runner, prompt, 60)
    assert is_greedy(open_runner(), prompt, found)
    assert len(runner.model.steps) < 45


def test_guessing_keeps_to_the_limit(open_runner: Callable[[], Runner]) -> None:
    """Nothing is read beyond prompt and reply, which may be all that the context holds."""
    runner = open_runner()
    prompt = text(3, seed=6) * 20
    params = SamplingParams(max_tokens=9)
    runner.end_tokens = set()
    assert len(list(runner.generate(prompt, params, CancelToken()))) == 9
    assert runner.model.length <= len(prompt) + 9


def test_same_seed_says_the_same_with_and_without_memory(open_runner: Callable[[], Runner]) -> None:
    prompt = text(10, seed=7) * 4
    runner = open_runner()
    options = {"temperature": 0.8, "top_p": 0.9, "seed": 3}
    assert read(runner, prompt, **options) == read(runner, prompt, **options)
