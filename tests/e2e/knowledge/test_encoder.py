"""The compiled encoder gives what the library's gives, for any number of tokens and of texts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from core.knowledge.encoder import Encoder, Floats, States

pytestmark = pytest.mark.e2e

WIDTH = 96
ACCURACY = 1e-5
"""Of hidden states, whose numbers are about 1."""


def model(spread: float = 0.1, *, width: int = WIDTH, heads: int = 3) -> BertModel:
    """Return a model of random weights, the biases and norms included."""
    torch.manual_seed(0)
    sizes = {"hidden_size": width, "num_attention_heads": heads, "intermediate_size": 160, "num_hidden_layers": 2}
    made = BertModel(BertConfig(vocab_size=8, **sizes)).eval()
    with torch.no_grad():
        for name, weights in made.named_parameters():
            weights.normal_(1.0 if "LayerNorm.weight" in name else 0.0, spread)
    return made


def encoder_of(made: BertModel) -> Encoder:
    encoder = Encoder.of(made)
    assert encoder is not None
    return encoder


def inputs(lengths: list[int]) -> tuple[Floats, Floats]:
    choose = np.random.default_rng(1)
    words, places = choose.normal(size=(2, sum(lengths), WIDTH)).astype(np.float32)
    return words, places


@torch.inference_mode()
def expected(made: BertModel, words: Floats, places: Floats, lengths: list[int]) -> States:
    """Return what the library gives in double precision, text by text."""
    double = made.double()
    hidden = double.embeddings.LayerNorm(torch.from_numpy(words).double() + torch.from_numpy(places).double())
    middle, last = [], []
    for one in torch.split(hidden, lengths):
        middle.append(double.encoder.layer[0](one[None])[0])
        last.append(double.encoder(one[None]).last_hidden_state[0])
    made.float()
    return States(*(torch.cat(states).numpy() for states in (middle, last)))


def differences(found: States, wanted: States) -> float:
    return max(float(np.abs(one - other).max()) for one, other in zip(found, wanted, strict=True))


@pytest.mark.parametrize(
    "lengths", [[1], [2], [7, 1, 13], [6, 6], [256], list(range(1, 41))], ids=lambda lengths: f"{sum(lengths)}-tokens"
)
def test_hidden_states_are_those_of_the_library(lengths: list[int]) -> None:
    made = model()
    words, places = inputs(lengths)
    found = encoder_of(made).encode(words, places, lengths, 2)
    assert differences(found, expected(made, words, places, lengths)) < ACCURACY


def test_large_and_small_numbers_are_as_accurate() -> None:
    made = model(spread=1.0)  # products of -40 to 40, and attention to a single token
    words, places = inputs([30])
    found = encoder_of(made).encode(words, places, [30], 2)
    assert differences(found, expected(made, words, places, [30])) < 20 * ACCURACY


def test_what_is_read_stays_as_it_was() -> None:
    words, places = inputs([5])
    before = words.copy(), places.copy()
    encoder_of(model()).encode(words, places, [5], 2)
    assert np.array_equal(words, before[0])
    assert np.array_equal(places, before[1])


def test_a_text_has_the_same_bits_in_any_company_and_on_any_number_of_threads() -> None:
    encoder, lengths = encoder_of(model()), [17, 1, 50, 6]
    words, places = inputs(lengths)
    ends = np.cumsum(lengths)[:-1]
    results = []
    for threads in (1, 2, 3):
        results.append(encoder.encode(words, places, lengths, threads))
        texts = zip(np.split(words, ends), np.split(places, ends), lengths, strict=True)
        alone = [encoder.encode(word, place, [one], threads) for word, place, one in texts]
        results.append(States(*(np.concatenate(states) for states in zip(*alone, strict=True))))
    assert all(differences(one, results[0]) == 0 for one in results)


def test_a_model_of_other_sizes_is_left_to_the_library() -> None:
    assert Encoder.of(model(width=60)) is None
