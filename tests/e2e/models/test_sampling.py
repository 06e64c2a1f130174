from __future__ import annotations

import pytest
import torch

from core.models.interface import SamplingParams
from core.models.sampling import Sampler

pytestmark = pytest.mark.e2e
CPU = torch.device("cpu")
LOGITS = torch.tensor([1.0, 3.0, 2.0, 2.9, -4.0])


def sampler(prompt: tuple[int, ...] = (), **options: object) -> Sampler:
    return Sampler(SamplingParams(max_tokens=1, **options), prompt, CPU)


def draw(count: int, **options: object) -> list[int]:
    one = sampler(temperature=1.0, **options)
    return [one.choose(LOGITS) for _ in range(count)]


def test_greedy_takes_the_likeliest() -> None:
    assert sampler().choose(LOGITS) == 1
    assert sampler().choose(LOGITS.bfloat16()) == 1


def test_penalty_makes_seen_tokens_less_likely() -> None:
    assert sampler(prompt=(1,), repetition_penalty=1.2).choose(LOGITS) == 3
    chooser = sampler(repetition_penalty=1.2)
    assert [chooser.choose(LOGITS) for _ in range(3)] == [1, 3, 1]


def test_penalty_lowers_negative_logits_too() -> None:
    logits = torch.tensor([-1.0, -1.1])
    assert sampler(prompt=(0,), repetition_penalty=1.2).choose(logits) == 1


def test_same_seed_same_tokens() -> None:
    assert draw(20, seed=3) == draw(20, seed=3) != draw(20, seed=4)


def test_frequencies_follow_the_probabilities() -> None:
    counts = torch.bincount(torch.tensor(draw(4000)), minlength=5) / 4000
    assert torch.allclose(counts, torch.softmax(LOGITS, -1), atol=0.03)


def test_top_p_leaves_out_the_tail() -> None:
    assert set(draw(300, top_p=0.7)) == {1, 3}
    assert set(draw(300, top_p=0.01)) == {1}


def test_low_temperature_is_nearly_greedy() -> None:
    one = sampler(temperature=0.01)
    assert {one.choose(LOGITS) for _ in range(50)} == {1}
