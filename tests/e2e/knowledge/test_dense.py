"""Linear layers that are compiled give what torch gives, for any number of tokens."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from core.knowledge.dense import find_gelu, join

pytestmark = pytest.mark.e2e

COLUMNS = 96


def layers(*rows: int) -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(COLUMNS, count) for count in rows]


@pytest.mark.parametrize("tokens", [1, 2, 5, 6, 7, 12, 16, 71])
@pytest.mark.parametrize("rows", [(16,), (32, 64, 16), (20,)])
@torch.inference_mode()
def test_several_layers_are_multiplied_as_one(tokens: int, rows: tuple[int, ...]) -> None:
    some = layers(*rows)
    inputs = torch.randn(tokens, COLUMNS)
    expected = torch.cat([layer(inputs) for layer in some], dim=1)
    assert torch.allclose(join(some)(inputs), expected, rtol=0, atol=1e-5)


def test_gelu_is_that_of_torch_from_one_end_to_the_other() -> None:
    values = torch.cat([torch.linspace(-40, 40, 32_000), torch.linspace(-2, 2, 32_000)]).view(-1, 16)
    before = values.clone()
    assert torch.allclose(find_gelu()(values), functional.gelu(values), rtol=1e-6, atol=1e-6)
    assert torch.equal(values, before)


@torch.inference_mode()
def test_a_token_has_the_same_bits_in_any_company_and_on_any_number_of_threads() -> None:
    together = join(layers(1536))
    inputs = torch.randn(50, COLUMNS)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results += [together(inputs), torch.cat([together(one[None]) for one in inputs])]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, results[0]) for one in results)
