"""The target architectures at tiny size, through the loader and the runner of the real ones."""

from __future__ import annotations

import itertools
import json
import shutil
import threading
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from core.cancellation import CancelToken
from core.errors import Cancelled, ContextTooLong, ModelDamaged, ModelFailed, OutOfMemory
from core.models.causal_model import TransformersModel
from core.models.interface import ChatMessage, SamplingParams
from core.models.loader import TorchBackend
from core.models.placement import Placement
from core.models.runner import Runner
from core.models.weights import weigh
from core.settings import Device, Precision

pytestmark = pytest.mark.e2e


def load(folder: Path, token: CancelToken | None = None) -> Runner:
    placement = Placement(device=Device.CPU, precision=Precision.FLOAT32, bytes=0)
    weigh(folder)
    return TorchBackend().load("tiny", folder, placement, token or CancelToken(), lambda _, __: None).runner


def reference(folder: Path, prompt: list[int], count: int, **options: object) -> list[int]:
    """What `generate` of transformers answers, without end token."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.generation_config.eos_token_id = None
    ids = torch.tensor([prompt])
    output = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False, pad_token_id=0, **options
    )
    return output[0, len(prompt) :].tolist()


def tokens(runner: Runner, prompt: list[int], count: int, **options: object) -> list[int]:
    """What our loop answers, token by token."""
    stream = runner.tokens(prompt, SamplingParams(max_tokens=count, **options), CancelToken())
    return [number for number, _ in zip(stream, range(count), strict=False)]


def prompt_of(length: int) -> list[int]:
    generator = torch.Generator().manual_seed(length)
    return torch.randint(10, 390, (length,), generator=generator).tolist()


@pytest.mark.parametrize("architecture", ["llama", "phi3", "qwen2"])
@pytest.mark.parametrize("length", [5, 46, 47, 48, 300, 2 * TransformersModel.prefill_chunk + 3])
def test_answers_like_generate_of_transformers(architecture: str, length: int, request: pytest.FixtureRequest) -> None:
    """Greedy tokens are the same, also past the sliding window and with a prompt read in several chunks."""
    folder = request.getfixturevalue(f"{architecture}_folder")
    prompt = prompt_of(length)
    assert tokens(load(folder), prompt, 60) == reference(folder, prompt, 60)


def test_repetition_penalty_is_that_of_transformers(llama_folder: Path) -> None:
    prompt = prompt_of(40)
    ours = tokens(load(llama_folder), prompt, 40, repetition_penalty=1.3)
    assert ours == reference(llama_folder, prompt, 40, repetition_penalty=1.3)


def test_sliding_window_matters(phi3_folder: Path, tmp_path: Path) -> None:
    """Guards the tests above: without the window the answers differ."""
    folder = shutil.copytree(phi3_folder, tmp_path / "wide")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "sliding_window": None}))
    assert tokens(load(folder), prompt_of(300), 60) != tokens(load(phi3_folder), prompt_of(300), 60)


def test_text_is_complete_and_ends_once(llama_folder: Path) -> None:
    runner = load(llama_folder)
    prompt = prompt_of(20)
    runner.end_tokens = set()
    chunks = list(runner.generate(prompt, SamplingParams(max_tokens=50), CancelToken()))
    assert [chunk.finish for chunk in chunks] == [None] * 49 + ["length"]
    expected = runner.decode(tokens(runner, prompt, 50))
    assert "".join(chunk.text for chunk in chunks) == expected


def test_end_token_ends_the_reply(llama_folder: Path) -> None:
    runner = load(llama_folder)
    prompt = prompt_of(20)
    answer = tokens(runner, prompt, 10)
    end = answer[5]
    runner.end_tokens = {end}
    chunks = list(runner.generate(prompt, SamplingParams(max_tokens=50), CancelToken()))
    assert chunks[-1].finish == "stop"
    assert len(chunks) == answer.index(end) + 1


def test_stop_string_ends_the_reply_and_is_not_emitted(llama_folder: Path) -> None:
    runner = load(llama_folder)
    runner.end_tokens = set()
    prompt = prompt_of(20)
    whole = "".join(c.text for c in runner.generate(prompt, SamplingParams(max_tokens=40), CancelToken()))
    stop = whole[10:14]
    chunks = list(runner.generate(prompt, SamplingParams(max_tokens=40, stop=(stop,)), CancelToken()))
    assert "".join(chunk.text for chunk in chunks) == whole[: whole.index(stop)]
    assert chunks[-1].finish == "stop"


def test_seed_decides_what_is_sampled(llama_folder: Path) -> None:
    runner = load(llama_folder)
    first, again, other = (
        tokens(runner, prompt_of(9), 30, temperature=1.0, top_p=0.9, seed=seed) for seed in (7, 7, 8)
    )
    assert first == again != other


def test_too_long_prompt_is_refused_with_both_lengths(llama_folder: Path) -> None:
    runner = load(llama_folder)
    with pytest.raises(ContextTooLong, match=r"2000 tokens .* 100, .* 2048") as error:
        list(runner.generate(prompt_of(2000), SamplingParams(max_tokens=100), CancelToken()))
    assert error.value.data == {"promptTokens": 2000, "maxTokens": 100, "contextLength": 2048}


def test_cancel_stops_between_chunks_of_the_prompt(llama_folder: Path) -> None:
    runner = load(llama_folder)
    token = CancelToken()
    prefill, seen = runner.model.prefill, []

    def cancel_after_first(ids: list[int], token: CancelToken) -> torch.Tensor:
        seen.append(len(ids))
        token.cancel()
        return prefill(ids, token)

    runner.model.prefill = cancel_after_first
    with pytest.raises(Cancelled):
        list(runner.generate(prompt_of(1000), SamplingParams(max_tokens=10), token))
    assert seen == [TransformersModel.prefill_chunk]


def test_cancel_stops_between_tokens_and_the_model_stays_usable(llama_folder: Path) -> None:
    runner = load(llama_folder)
    token = CancelToken()
    stream = runner.generate(prompt_of(10), SamplingParams(max_tokens=100), token)
    next(stream)
    token.cancel()
    with pytest.raises(Cancelled):
        next(stream)
    assert tokens(runner, prompt_of(10), 20) == reference(llama_folder, prompt_of(10), 20)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfMemory),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), OutOfMemory),
        (RuntimeError("mat1 and mat2\nmore"), ModelFailed),
    ],
)
@pytest.mark.parametrize("steps", [0, 3])
def test_failure_of_the_device_is_explained_and_the_model_stays_usable(
    llama_folder: Path, failure: Exception, expected: type[Exception], steps: int
) -> None:
    """While the prompt is read, or after some tokens; in the last layer, when others have kept their keys."""
    runner = load(llama_folder)
    params = SamplingParams(max_tokens=9)
    whole = [chunk.text for chunk in runner.generate(prompt_of(10), params, CancelToken())]
    runner.release()
    calls = itertools.count()

    def fail(*_: object) -> None:
        if next(calls) == steps:
            raise failure

    hook = runner.model._model.model.layers[-1].register_forward_pre_hook(fail)
    stream = runner.generate(prompt_of(10), params, CancelToken())
    said = [next(stream).text for _ in range(steps)]
    with pytest.raises(expected):
        next(stream)
    hook.remove()
    assert said == whole[:steps]
    assert [chunk.text for chunk in runner.generate(prompt_of(10), params, CancelToken())] == whole


def test_another_thread_may_not_run_the_model(llama_folder: Path) -> None:
    runner = load(llama_folder)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            next(runner.generate([1, 2], SamplingParams(max_tokens=2), CancelToken()))
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert "only on the thread" in str(errors[0])


def truncate(folder: Path) -> str:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    return "model.safetensors has"


def garble(folder: Path) -> str:
    (folder / "model.safetensors").write_bytes(b"\xff" * 1000)
    return "no valid safetensors header"


def lose_weights(folder: Path) -> str:
    (folder / "model.safetensors").unlink()
    return "model.safetensors is missing"


def lose_tokenizer(folder: Path) -> str:
    (folder / "tokenizer.json").unlink()
    return "tokenizer.json is missing"


def garble_tokenizer(folder: Path) -> str:
    (folder / "tokenizer.json").write_text('{"model": 1}')
    return "tokenizer.json cannot be used"


def change_shape(folder: Path) -> str:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 128}))
    return "cannot be loaded"


def add_layer(folder: Path) -> str:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 4}))
    return "lack the weights model.layers.3"


def unknown_architecture(folder: Path) -> str:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "nonesuch"}))
    return "nonesuch"


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        garble,
        lose_weights,
        lose_tokenizer,
        garble_tokenizer,
        change_shape,
        add_layer,
        unknown_architecture,
    ],
)
def test_damaged_model_is_named_with_the_way_out(llama_folder: Path, tmp_path: Path, damage) -> None:
    folder = shutil.copytree(llama_folder, tmp_path / "model")
    expected = damage(folder)
    with pytest.raises(ModelDamaged) as error:
        load(folder)
    assert expected in error.value.message
    assert "models pull" in error.value.message


def test_missing_shard_is_named(qwen2_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(qwen2_folder, tmp_path / "model")
    shard = sorted(folder.glob("model-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(ModelDamaged, match=f"{shard.name} is missing"):
        load(folder)


def test_cancelled_load_loads_nothing(llama_folder: Path) -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        load(llama_folder, token)


def test_weighs_what_is_loaded(qwen2_folder: Path, llama_folder: Path, phi3_folder: Path) -> None:
    """The size known before loading is that of the model in memory."""
    for folder in (qwen2_folder, llama_folder, phi3_folder):
        model = load(folder).model._model
        footprint = weigh(folder)
        assert footprint.parameters == sum(one.numel() for one in model.parameters())
        config = model.config
        assert footprint.kv_per_token == 2 * 3 * config.num_key_value_heads * 16


def test_chat_of_a_phi3_model_runs(phi3_folder: Path) -> None:
    runner = load(phi3_folder)
    prompt = runner.encode_chat([ChatMessage("system", "Be brief."), ChatMessage("user", "Explain def add")])
    chunks = list(runner.generate(prompt, SamplingParams(max_tokens=12), CancelToken()))
    assert chunks[-1].finish in {"stop", "length"}
