"""Packed models compute what transformers computes with the same weights."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from tiny_models import tiny_llama, tiny_phi3, tiny_qwen2
from transformers import PreTrainedModel

from core.cancellation import CancelToken
from core.errors import Cancelled, ModelDamaged
from core.models.packed.config import DecoderConfig, why_unsupported
from core.models.packed.decoder import Decoder
from core.models.packed.facts import read_facts
from core.models.packed.gguf_source import GgufSource
from core.models.packed.instructions import MakeDot, usable_dots
from core.models.packed.kernel import Kernel
from core.models.packed.linear import Head, Linear, find_kernel, open_linear, pack_matrix
from core.models.packed.sources import SafetensorsSource
from core.models.packed.store import open_decoder, pack
from core.models.quantize import quantize, stack

pytestmark = pytest.mark.e2e

QUIET = CancelToken()
MODELS = {
    "llama": tiny_llama,
    "llama, linear rope": lambda **options: tiny_llama(
        rope_parameters={"rope_type": "linear", "rope_theta": 1e5, "factor": 4.0}, **options
    ),
    "qwen2": lambda **options: tiny_qwen2(tie_word_embeddings=True, **options),
    "phi3": tiny_phi3,
}


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.inference_mode():
        yield


def make(name: str) -> PreTrainedModel:
    """A model whose outputs are no chaos: what rounding changes in one layer is not blown up by the next."""
    model = MODELS[name](initializer_range=0.1).eval()
    generator = torch.Generator().manual_seed(4)
    for path, parameter in model.named_parameters():
        if path.endswith("bias"):
            parameter.normal_(0, 0.3, generator=generator)
        elif "norm" in path:
            parameter.uniform_(0.5, 1.5, generator=generator)
        else:
            parameter.copy_(parameter.bfloat16())
    return model


def pack_and_open(model: PreTrainedModel, folder: Path) -> Decoder:
    model.save_pretrained(folder / "model", max_shard_size="100KB")
    source = SafetensorsSource(folder / "model")
    config = DecoderConfig.of(model.config)
    pack(source, config, folder / "packed", lambda _: None, QUIET)
    return open_decoder(folder / "packed", source, config, QUIET)


def round_weights(model: PreTrainedModel) -> PreTrainedModel:
    """Give the model the weights that packing leaves of its own, in full precision."""
    for path, parameter in model.named_parameters():
        if parameter.dim() == 2 and "embed" not in path and "lm_head" not in path:
            parameter.copy_(quantize(parameter, 4).dequantize())
    return model


def text(length: int) -> list[int]:
    return torch.randint(10, 390, (length,), generator=torch.Generator().manual_seed(length)).tolist()


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def logit_distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Of the twenty likeliest tokens: the head is exact only for likely ones."""
    likely = expected.topk(20).indices
    return distance(found.gather(-1, likely), expected.gather(-1, likely))


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    """Of a prompt and of a reply; longer than the sliding window of the tiny Phi-3."""
    model = make(name)
    decoder = pack_and_open(model, tmp_path)
    tokens = text(150)
    expected = round_weights(model)(torch.tensor([tokens])).logits[0]
    prompts = [decoder.prefill(tokens[:length], decoder.new_cache(), QUIET) for length in (1, 3, 70, 150)]
    reply = decoder.decode(tokens, decoder.new_cache(16), QUIET)
    assert logit_distance(torch.stack(prompts), expected[[0, 2, 69, 149]]) < 0.03
    assert logit_distance(reply, expected) < 0.03


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("cuts", [(1,), (129,), (127,), (37, 74, 111), (64, 128), (63, 65), range(1, 130, 11)])
def test_a_prompt_is_the_same_however_it_is_cut(name: str, cuts: Sequence[int], tmp_path: Path) -> None:
    """Bit by bit: what is reused of an earlier prompt must not change an answer."""
    decoder = pack_and_open(make(name), tmp_path)
    tokens = text(130)
    whole, pieces = decoder.new_cache(), decoder.new_cache()
    expected = decoder.prefill(tokens, whole, QUIET)
    for start, end in pairwise([0, *cuts, 130]):
        found = decoder.prefill(tokens[start:end], pieces, QUIET)
    assert torch.equal(found, expected)
    for one, other in zip(pieces.layers, whole.layers, strict=True):
        assert torch.equal(one[:, :, :130], other[:, :, :130])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("length", [2, 3, 4, 7, 16])
def test_a_reply_is_the_same_however_it_is_cut(name: str, length: int, tmp_path: Path) -> None:
    """Bit by bit: guessed tokens are verified together, and must not change an answer."""
    decoder = pack_and_open(make(name), tmp_path)
    tokens = text(130)
    alone, together = decoder.new_cache(), decoder.new_cache()
    expected = torch.cat([decoder.decode([token], alone, QUIET) for token in tokens])
    pieces = [tokens[start : start + length] for start in range(0, 130, length)]
    assert torch.equal(torch.cat([decoder.decode(piece, together, QUIET) for piece in pieces]), expected)


@pytest.mark.parametrize("name", MODELS)
def test_text_is_the_same_whether_read_or_written(name: str, tmp_path: Path) -> None:
    """Bit by bit: after a restart, a conversation is read that was written before."""
    decoder = pack_and_open(make(name), tmp_path)
    tokens = text(130)
    read, written = decoder.new_cache(), decoder.new_cache()
    expected = decoder.prefill(tokens, read, QUIET)
    for token in tokens:
        found = decoder.decode([token], written, QUIET)
    assert torch.equal(found[0], expected)


@pytest.mark.parametrize("name", MODELS)
def test_going_back_is_exact(name: str, tmp_path: Path) -> None:
    """Also past a sliding window, whose keys a cache might have dropped."""
    decoder = pack_and_open(make(name), tmp_path)
    tokens = text(160)
    fresh = decoder.new_cache()
    decoder.prefill(tokens[:100], fresh, QUIET)
    expected = decoder.decode(tokens[100:110], fresh, QUIET)
    cache = decoder.new_cache()
    decoder.prefill(tokens[:100], cache, QUIET)
    decoder.prefill(tokens[110:], cache, QUIET)
    cache.truncate(100)
    assert torch.equal(decoder.decode(tokens[100:110], cache, QUIET), expected)


def test_cancelled_forward_reads_nothing(tmp_path: Path) -> None:
    decoder = pack_and_open(make("llama"), tmp_path)
    cache = decoder.new_cache()
    decoder.prefill(text(20), cache, QUIET)
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        decoder.prefill(text(5), cache, token)
    assert cache.length == 20


def test_cache_that_found_no_room_can_still_grow_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = pack_and_open(make("llama"), tmp_path)
    cache, fresh = decoder.new_cache(), decoder.new_cache()
    decoder.prefill(text(250), cache, QUIET)
    allocate, calls = cache._allocate, itertools.count()

    def find_no_room_for_the_second_layer(capacity: int) -> torch.Tensor:
        if next(calls) == 1:
            raise torch.OutOfMemoryError
        return allocate(capacity)

    monkeypatch.setattr(cache, "_allocate", find_no_room_for_the_second_layer)
    with pytest.raises(torch.OutOfMemoryError):
        decoder.prefill(text(20), cache, QUIET)
    expected = decoder.prefill([*text(250), *text(20)], fresh, QUIET)
    assert torch.equal(decoder.prefill(text(20), cache, QUIET), expected)


def test_cache_cannot_be_cut_to_more_than_it_holds(tmp_path: Path) -> None:
    cache = pack_and_open(make("llama"), tmp_path).new_cache()
    with pytest.raises(ValueError, match="0 tokens cannot be cut to 3"):
        cache.truncate(3)


def test_cancelled_packing_leaves_nothing_that_counts_as_packed(llama_folder: Path, tmp_path: Path) -> None:
    token = CancelToken()
    steps: list[float] = []

    def cancel_in_the_middle(fraction: float) -> None:
        steps.append(fraction)
        token.cancel()

    config = DecoderConfig.of(tiny_llama().config)
    with pytest.raises(Cancelled):
        pack(SafetensorsSource(llama_folder), config, tmp_path / "packed", cancel_in_the_middle, token)
    assert len(steps) == 1
    assert read_facts(tmp_path) is None


def test_damaged_file_is_named(tmp_path: Path) -> None:
    model = make("llama")
    pack_and_open(model, tmp_path)
    file = tmp_path / "packed" / "layer-001.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    source = SafetensorsSource(tmp_path / "model")
    with pytest.raises(ModelDamaged, match=r"layer-001\.safetensors"):
        open_decoder(tmp_path / "packed", source, DecoderConfig.of(model.config), QUIET)


@pytest.mark.parametrize("rows", [64, 200])
@pytest.mark.parametrize("tokens", [1, 3, 47, 200])
@pytest.mark.parametrize("bits", [4, 8])
def test_layers_multiply_by_their_weights(rows: int, tokens: int, bits: int) -> None:
    weights = torch.randn(rows, 96, generator=torch.Generator().manual_seed(5))
    inputs = torch.randn(tokens, 96, generator=torch.Generator().manual_seed(6))
    matrix = quantize(weights, bits)
    found = open_linear("it", pack_matrix("it", matrix), find_kernel())(inputs)[:, :rows]
    assert distance(found, inputs @ matrix.dequantize().t()) < 0.006


@pytest.mark.parametrize("bits", [4, 8])
def test_layers_treat_each_token_alone_on_any_number_of_threads(bits: int) -> None:
    weights = torch.randn(2000, 512, generator=torch.Generator().manual_seed(5))
    inputs = torch.randn(19, 512, generator=torch.Generator().manual_seed(6))
    layer = open_linear("it", pack_matrix("it", quantize(weights, bits)), find_kernel())
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = torch.cat([layer(one[None]) for one in inputs])
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            assert torch.equal(layer(inputs), alone)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("make_dot", usable_dots())
def test_every_kind_of_instructions_computes_the_same(make_dot: MakeDot) -> None:
    """Of those that this processor has; a plain one is always among them."""
    inputs = torch.randn(6, 160, generator=torch.Generator().manual_seed(6))
    for bits in (4, 8):
        packed = pack_matrix("it", quantize(torch.randn(96, 160), bits))
        expected = open_linear("it", packed, find_kernel())(inputs)
        assert torch.equal(Linear(packed[f"it.int{bits}"], bits, Kernel(make_dot))(inputs), expected)


def test_outlier_costs_only_its_own_group_precision() -> None:
    """Language models have some inputs that are hundreds of times as large as the others."""
    inputs = torch.randn(4, 320, generator=torch.Generator().manual_seed(6))
    inputs[:, 40] = 500
    weights = torch.randn(64, 320, generator=torch.Generator().manual_seed(5))
    weights[:, 32:64] = 0
    matrix = quantize(weights, 8)
    found = open_linear("it", pack_matrix("it", matrix), find_kernel())(inputs)
    assert distance(found, inputs @ matrix.dequantize().t()) < 0.006


def test_rounding_errors_are_those_of_the_bits() -> None:
    weights = torch.randn(64, 256, generator=torch.Generator().manual_seed(7))
    assert distance(quantize(weights, 4).dequantize(), weights) < 0.085
    assert distance(quantize(weights, 8).dequantize(), weights) < 0.011


def test_rounding_what_was_rounded_changes_little() -> None:
    once = quantize(torch.randn(64, 256, generator=torch.Generator().manual_seed(8)), 4).dequantize()
    assert distance(quantize(once, 4).dequantize(), once) < 0.03


def test_zeros_stay_zeros() -> None:
    assert not quantize(torch.zeros(2, 64), 4).dequantize().any()
    assert not quantize(torch.zeros(2, 64), 8).dequantize().any()


def test_stacking_keeps_four_bits_unless_a_part_has_more() -> None:
    """And what has four bits stays as it was."""
    four, eight = torch.randn(64, 64), torch.randn(64, 64)
    for bits in (4, 8):
        stacked = stack([quantize(four, 4), quantize(eight, bits)])
        assert stacked.bits == bits
        assert torch.equal(
            stacked.dequantize(), torch.cat([quantize(four, 4).dequantize(), quantize(eight, bits).dequantize()])
        )


def test_likely_tokens_are_predicted_exactly() -> None:
    exact = torch.randn(1000, 64, generator=torch.Generator().manual_seed(9)).bfloat16()
    hidden = torch.randn(3, 64, generator=torch.Generator().manual_seed(10))
    logits = Head(open_linear("head", pack_matrix("head", quantize(exact, 4)), find_kernel()), exact)(hidden)
    expected = hidden @ exact.float().t()
    assert logits.shape == (3, 1000)
    for found, wanted in zip(logits, expected, strict=True):
        best = wanted.topk(20)
        assert found.topk(20).indices.tolist() == best.indices.tolist()
        assert torch.allclose(found[best.indices], best.values, rtol=1e-4)


def write_gguf(file: Path, architecture: str, tensors: dict[str, tuple[np.ndarray, str]]) -> Path:
    writer = gguf.GGUFWriter(file, architecture)
    for name, (values, kind) in tensors.items():
        number = gguf.GGMLQuantizationType[kind]
        data = gguf.quants.quantize(values, number) if values.dtype == np.float32 else values
        writer.add_tensor(name, data, raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def random_q4_k(rows: int, columns: int) -> np.ndarray:
    """Blocks with random bytes, but scales that are numbers."""
    generator = np.random.default_rng(11)
    blocks = generator.integers(0, 256, (rows, columns // 256, 144), dtype=np.uint8)
    blocks[:, :, :4] = generator.uniform(0.001, 0.01, (rows, columns // 256, 2)).astype(np.float16).view(np.uint8)
    return blocks.reshape(rows, -1)


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q4_K", "Q8_0", "F32"])
def test_weights_of_a_gguf_file_are_kept(kind: str, tmp_path: Path) -> None:
    """Blocks of 4 bits keep their codes; what has 8 bits stays close."""
    floats = np.random.default_rng(12).normal(size=(64, 512)).astype(np.float32)
    values = random_q4_k(64, 512) if kind == "Q4_K" else floats
    file = write_gguf(tmp_path / "one.gguf", "qwen2", {"blk.3.ffn_down.weight": (values, kind)})
    source = GgufSource(file)
    name = "model.layers.3.mlp.down_proj.weight"
    assert name in source
    assert "model.layers.3.mlp.up_proj.weight" not in source
    exact = source.exact(name)
    limit = {"Q4_0": 1e-6, "Q4_1": 1e-6, "Q4_K": 1e-6, "Q8_0": 0.011, "F32": 0.085}[kind]
    assert distance(source.matrix(name).dequantize(), exact) < limit


def test_gguf_file_of_a_llama_gives_the_same_decoder(tmp_path: Path) -> None:
    """Such files keep the rows of queries and keys in another order."""
    model = make("llama")
    names = {"q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output"}
    names |= {"gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down"}
    names |= {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
    tensors = {}
    for path, parameter in model.named_parameters():
        values = parameter.clone()
        if "q_proj" in path or "k_proj" in path:
            values = values.view(-1, 2, 8, 64).transpose(1, 2).reshape(values.shape)
        parts = path.split(".")
        outer = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}.get(parts[-2])
        name = f"blk.{parts[2]}.{names[parts[-2]]}" if "layers" in path else outer
        tensors[f"{name}.weight"] = (values.numpy(), "F32")
    source = GgufSource(write_gguf(tmp_path / "llama.gguf", "llama", tensors))
    expected = pack_and_open(model, tmp_path)
    config = DecoderConfig.of(model.config)
    pack(source, config, tmp_path / "other", lambda _: None, QUIET)
    found = open_decoder(tmp_path / "other", SafetensorsSource(tmp_path / "model"), config, QUIET)
    tokens = text(60)
    logits = [decoder.decode(tokens, decoder.new_cache(), QUIET) for decoder in (found, expected)]
    assert logit_distance(*logits) < 1e-5


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hidden_act": "gelu"}, "activation is gelu"),
        ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "of the kind dynamic"),
        ({"intermediate_size": 100}, "cannot be divided"),
        ({"attention_bias": True}, "biases"),
    ],
)
def test_unsupported_model_is_explained(changes: dict[str, object], reason: str) -> None:
    problem = why_unsupported(tiny_llama(**changes).config)
    assert problem is not None
    assert reason in problem


def test_supported_models() -> None:
    assert [why_unsupported(make(name).config) for name in MODELS] == [None] * len(MODELS)
