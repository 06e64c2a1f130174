"""Kernels of our own compute what a model's modules do. Without a GPU, Triton interprets them, line by line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from fakes.weights import Still
from tiny_models import tiny_llama, tiny_phi3, tiny_qwen2
from transformers import PreTrainedModel

from core.cancellation import CancelToken
from core.models import static_model
from core.models.causal_model import CausalModel, TransformersModel
from core.models.fixed_cache import FixedCache, Reach
from core.models.kernel_step import KernelStep, Unsupported
from core.models.loader import find_step_kernels
from core.models.quantised_linear import quantisable
from core.models.recording import DirectRecorder, GraphRecorder
from core.models.static_model import WIDTH, StaticModel
from core.settings import Precision

pytestmark = pytest.mark.e2e

WHERE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SHAPE: dict[str, Any] = {
    "hidden_size": 64,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "initializer_range": 0.1,
}
LONG = {
    "original_max_position_embeddings": 60,
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "original_max_position_embeddings": 60,
        "short_factor": [1.0] * 16,
        "long_factor": [1.0 + 0.3 * number for number in range(16)],
    },
}
ARCHITECTURES: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": lambda: tiny_llama(**SHAPE),
    "llama in 8 bits": lambda: quantised(tiny_llama(**SHAPE), Precision.INT8),
    "llama in 4 bits": lambda: quantised(tiny_llama(**SHAPE), Precision.INT4),
    "phi3": lambda: tiny_phi3(**SHAPE),
    "phi3 in 4 bits": lambda: quantised(tiny_phi3(**SHAPE), Precision.INT4),
    "phi3 with other frequencies for long texts": lambda: tiny_phi3(**SHAPE, **LONG),
    "qwen2": lambda: tiny_qwen2(**SHAPE, tie_word_embeddings=True),
}
CLOSE = 1e-3
"""Numbers are added in another order."""


def quantised(model: PreTrainedModel, precision: Precision) -> PreTrainedModel:
    for name, layer, kind in list(quantisable(model, precision)):
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, kind.of(layer))
    return model


@pytest.fixture(params=ARCHITECTURES)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return ARCHITECTURES[request.param]().eval().to(WHERE)


def text(length: int, seed: int = 1) -> list[int]:
    return torch.randint(10, 390, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


@torch.inference_mode()
def read(model: PreTrainedModel, prompt: Sequence[int], capacity: int) -> FixedCache:
    cache = FixedCache(model.config)
    cache.reserve(capacity)
    cache.aim(Reach(0, len(prompt)))
    model(input_ids=torch.tensor([prompt], device=WHERE), past_key_values=cache, use_cache=True)
    return cache


def places(start: int, tokens: Sequence[int]) -> torch.Tensor:
    padding = [tokens[-1]] * (WIDTH - len(tokens))
    return torch.tensor([start, start + len(tokens) - 1, *tokens, *padding], device=WHERE)


def say(model: CausalModel, prompt: Sequence[int], count: int) -> list[int]:
    model.truncate(0)
    with torch.inference_mode():
        said = [int(model.prefill(prompt, CancelToken()).argmax())]
        while len(said) < count:
            said.append(int(model.decode(said[-1:], CancelToken())[0].argmax()))
    return said


@torch.inference_mode()
def test_computes_what_the_modules_do(model: PreTrainedModel) -> None:
    """A few tokens and many, over the end of a part of the text, past the window, on both sides of other frequencies."""
    ours, theirs = KernelStep(model), TransformersModel(model)
    for length in (52, 126):
        start = length
        cache = read(model, text(length), 256)
        theirs.truncate(0)
        theirs.prefill(text(length), CancelToken())
        for width in (8, 3):
            tokens = text(width, seed=width)
            expected = theirs.decode(tokens, CancelToken())
            found = ours.compute(places(start, tokens), 256, cache)[:width]
            assert torch.allclose(found, expected, atol=CLOSE)
            start += width


@torch.inference_mode()
def test_tokens_that_only_fill_up_leave_nothing_behind(model: PreTrainedModel) -> None:
    cache = read(model, text(30), 64)
    KernelStep(model).compute(places(30, [7, 8, 9]), 64, cache)
    for layer in range(len(cache.layers)):
        for kept in cache.kept(layer):
            assert kept[:, :, 30:33].count_nonzero() == kept[:, :, 30:33].numel()
            assert kept[:, :, 33:].count_nonzero() == 0


def test_reply_is_computed_by_kernels_once_they_have_proved_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_model, "SMALLEST", 32)
    model = tiny_llama(**SHAPE).eval().to(WHERE)
    ours = StaticModel(model, Still(), DirectRecorder(), find_step_kernels(model))
    assert say(ours, text(20), 4) == say(TransformersModel(model), text(20), 4)
    assert isinstance(ours._step_pass, KernelStep)


@pytest.mark.parametrize(
    ("changes", "dtype"),
    [
        ({"head_dim": 16}, torch.float32),
        ({"hidden_act": "gelu"}, torch.float32),
        ({}, torch.float16),
        ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, torch.float32),
    ],
)
def test_models_that_compute_otherwise_are_left_to_their_modules(changes: dict[str, Any], dtype: torch.dtype) -> None:
    model = tiny_llama(**{**SHAPE, **changes}).to(dtype)
    with pytest.raises(Unsupported):
        KernelStep(model)
    assert find_step_kernels(model) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.inference_mode()
def test_recorded_on_a_gpu_a_token_gets_the_same_bits_alone_and_among_others(name: str) -> None:
    model = ARCHITECTURES[name]().eval().to(WHERE, torch.bfloat16)
    ours = StaticModel(model, Still(), GraphRecorder(WHERE), find_step_kernels(model))
    tokens, found = text(24, seed=5), []
    for widths in ([1] * 24, [8] * 3, [3, 5, 8, 1, 7]):
        ours.truncate(0)
        ours.prefill(text(50), CancelToken())
        left = list(tokens)
        rows = []
        for width in widths:
            rows.append(ours.decode(left[:width], CancelToken()))
            del left[:width]
        found.append(torch.cat(rows))
    assert isinstance(ours._step_pass, KernelStep)
    assert ours.recordings > 0
    assert ours.remark == ""
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
