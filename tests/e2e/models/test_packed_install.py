"""Packed weights are made beside a model, and made again where another version made them."""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.cancellation import CancelToken
from core.errors import Cancelled, ModelDamaged
from core.models.interface import ChatMessage, SamplingParams
from core.models.loader import LoadedModel, TorchBackend
from core.models.packed import prepare as prepare_module
from core.models.packed.facts import read_facts
from core.models.packed.prepare import measure_speedup, prepare
from core.models.placement import Placement
from core.models.weights import weigh
from core.settings import Device, Precision

pytestmark = pytest.mark.e2e

PLACEMENT = Placement(device=Device.CPU, precision=Precision.INT4, bytes=0)


@pytest.fixture(autouse=True)
def _fast_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever processor the tests run on."""
    monkeypatch.setattr(prepare_module, "measure_speedup", lambda _: 3.0)


@pytest.fixture
def folder(llama_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(llama_folder, tmp_path / "model")


def pack(folder: Path) -> str | None:
    return prepare(folder, lambda _: None, CancelToken())


def load(folder: Path, backend: TorchBackend | None = None) -> LoadedModel:
    return (backend or TorchBackend()).load("tiny", folder, PLACEMENT, CancelToken(), lambda _, __: None)


def ask(loaded: LoadedModel) -> str:
    prompt = loaded.runner.encode_chat([ChatMessage("user", "Explain def add")])
    return "".join(one.text for one in loaded.runner.generate(prompt, SamplingParams(max_tokens=20), CancelToken()))


def make_old(folder: Path) -> None:
    """Make the weights look as if an earlier version had packed them."""
    file = folder / "packed" / "packed.json"
    facts = json.loads(file.read_text())
    file.write_text(json.dumps({**facts, "format": facts["format"] - 1, "rowOrder": [0]}))


def test_packed_model_answers(folder: Path) -> None:
    assert pack(folder) is None
    loaded = load(folder)
    assert ask(loaded) == ask(load(folder))
    assert loaded.bytes == weigh(folder).packed.bytes > 0


def test_packed_in_8_bits_when_that_is_chosen(folder: Path) -> None:
    """Beside what is packed in 4, which stays; and closer to the model's own weights."""
    pack(folder)
    four = load(folder)
    chosen = Placement(device=Device.CPU, precision=Precision.INT8, bytes=0)
    eight = TorchBackend().load("tiny", folder, chosen, CancelToken(), lambda _, __: None)
    exact = TorchBackend().load(
        "tiny", folder, replace(chosen, precision=Precision.FLOAT32), CancelToken(), lambda _, __: None
    )
    prompt = four.runner.encode_chat([ChatMessage("user", "Explain def add")])
    with torch.inference_mode():
        logits = [one.runner.model.prefill(prompt, CancelToken()) for one in (exact, eight, four)]
    likely = logits[0].topk(20).indices
    far = [float((one[likely] - logits[0][likely]).norm()) for one in logits[1:]]
    assert far[0] < far[1] / 4
    assert four.bytes < eight.bytes == read_facts(folder, 8).bytes


def test_packed_by_another_version_is_packed_again(folder: Path) -> None:
    pack(folder)
    expected = ask(load(folder))
    make_old(folder)
    wrong = read_facts(folder)
    assert ask(load(folder)) == expected
    assert read_facts(folder) != wrong


def test_unfinished_or_damaged_packing_does_not_count(folder: Path) -> None:
    assert read_facts(folder) is None
    pack(folder)
    weights = folder / "packed" / "layer-001.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert read_facts(folder) is None
    pack(folder)
    assert read_facts(folder) is not None


def test_cancelled_packing_keeps_what_was_packed_before(folder: Path) -> None:
    pack(folder)
    before = read_facts(folder)
    token = CancelToken()
    with pytest.raises(Cancelled):
        prepare(folder, lambda _: token.cancel(), token)
    assert read_facts(folder) == before


def test_slow_kernels_are_not_worth_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare_module, "measure_speedup", lambda _: 1.0)
    assert pack(folder) == "4-bit weights are 1.0 times as fast as bfloat16 on this processor"
    assert read_facts(folder) is None


def test_speedup_is_measured() -> None:
    assert measure_speedup() > 0


def test_model_that_cannot_be_packed_says_why(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_act": "gelu"}))
    assert pack(folder) == "its activation is gelu"
    with pytest.raises(ModelDamaged, match="its activation is gelu"):
        load(folder)


def test_unloading_closes_the_files(folder: Path) -> None:
    pack(folder)
    backend = TorchBackend()
    loaded = load(folder, backend)
    decoder = weakref.ref(loaded.runner.model._decoder)
    loaded.evict()
    again = load(folder, backend)
    assert again.runner is loaded.runner
    again.evict()
    del again, loaded
    backend.release()
    gc.collect()
    assert decoder() is None


def test_cancelled_load_loads_nothing(folder: Path) -> None:
    pack(folder)
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        TorchBackend().load("tiny", folder, PLACEMENT, token, lambda _, __: None)
