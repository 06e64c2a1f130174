"""Weights in 8 and 4 bits: near the model's own, the same after every swap, and made only once."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fakes.tape import TapeRecorder
from torch import nn
from transformers import AutoModelForCausalLM

from core.cancellation import CancelToken
from core.errors import Cancelled
from core.messages import Phase, Role
from core.models import quantised_files
from core.models.copying import HostCopier
from core.models.interface import JobTimes, ModelJob, ModelRunner, SamplingParams
from core.models.loader import LoadedModel, TorchBackend
from core.models.master import FileMasters
from core.models.placement import Placement
from core.models.quantised_linear import Int4Linear, Int8Linear, find_kernel, rounding_error, use_kernel
from core.models.registry import ModelRegistry
from core.models.static_model import StaticModel
from core.models.swap import ArenaMemory
from core.models.weights import weigh
from core.models.worker import ModelWorker
from core.paths import DataFolders
from core.settings import Device, Precision

pytestmark = pytest.mark.e2e
PROMPT = torch.arange(20, 40).view(1, -1)
BITS = pytest.mark.parametrize("precision", [Precision.INT8, Precision.INT4])
KINDS = {Precision.INT8: Int8Linear, Precision.INT4: Int4Linear}


class Quantising:
    """Counts how often a model is quantised."""

    def __init__(self) -> None:
        self.times = 0
        self.token = CancelToken()

    def __call__(self, doing: str, fraction: float) -> None:
        self.times += "quantising" in doing


class Turns:
    """Models that take turns in an arena of a given size, on the CPU as on a GPU."""

    def __init__(self, capacity: int = 10_000_000) -> None:
        self.memory = ArenaMemory(torch.device("cpu"), HostCopier(), FileMasters())
        self.backend = TorchBackend(capacity=capacity, open_memory=lambda _: self.memory)

    def bring(self, folder: Path, precision: Precision, watch: Quantising | None = None) -> LoadedModel:
        watch = watch or Quantising()
        # Not by `load`, which on the CPU has another way to compute with 4 bits.
        place = Placement(device=Device.CPU, precision=precision, bytes=0)
        kept = self.backend._keep(folder.name, folder, place, watch.token, watch)
        self.memory.load(kept.skeleton, self.backend._growth(place, self.memory), watch.token, lambda _: None)
        skeleton = kept.skeleton
        return LoadedModel(
            skeleton=skeleton,
            runner=kept.runner,
            bytes=skeleton.bytes,
            evict=lambda: self.memory.evict(skeleton),
        )


def compute(model: nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model(PROMPT).logits


@pytest.fixture
def folders(tmp_path: Path, llama_folder: Path, phi3_folder: Path, qwen2_folder: Path) -> list[Path]:
    """Llama, Phi-3, and Qwen2 with tied weights, biases and several shards: copies, since files are added to them."""
    return [shutil.copytree(folder, tmp_path / folder.name) for folder in (llama_folder, phi3_folder, qwen2_folder)]


@BITS
def test_weights_are_near_and_are_what_is_multiplied_by(precision: Precision) -> None:
    torch.manual_seed(1)
    exact = nn.Linear(256, 96)
    layer = KINDS[precision].of(exact)
    assert rounding_error(exact, layer) < {Precision.INT8: 0.01, Precision.INT4: 0.11}[precision]
    inputs = torch.randn(2, 5, 256)
    assert torch.equal(layer(inputs), nn.functional.linear(inputs, layer.dequantise(), exact.bias))


@BITS
def test_model_computes_what_one_with_the_rounded_weights_does(folders: list[Path], precision: Precision) -> None:
    turns = Turns()
    for folder in folders:
        loaded = turns.bring(folder, precision)
        model = loaded.skeleton.model
        plain = AutoModelForCausalLM.from_pretrained(folder, dtype=model.dtype)
        layers = [(name, one) for name, one in model.named_modules() if isinstance(one, (Int8Linear, Int4Linear))]
        assert len(layers) > 3 * 4 - 1
        for name, layer in layers:
            plain.get_submodule(name).weight.data = layer.dequantise()
        assert torch.equal(compute(model), compute(plain))
        assert loaded.bytes < 0.7 * sum(one.nbytes for one in plain.parameters())


def test_planner_knows_what_is_quantised(folders: list[Path]) -> None:
    footprint = weigh(folders[1])
    model = AutoModelForCausalLM.from_pretrained(folders[1])
    linears = {name: one.weight.numel() for name, one in model.named_modules() if isinstance(one, nn.Linear)}
    assert footprint.head == linears.pop("lm_head")
    assert footprint.matrices == sum(linears.values())
    assert footprint.largest == max(footprint.head, *linears.values())


@BITS
def test_outputs_stay_the_same_over_random_swaps(folders: list[Path], precision: Precision) -> None:
    expected = {folder: compute(Turns().bring(folder, precision).skeleton.model) for folder in folders}
    choose, turns = random.Random(7), Turns(capacity=300_000)
    resident: LoadedModel | None = None
    for _ in range(40):
        folder = choose.choice(folders)
        if resident:
            resident.evict()
        if choose.random() < 0.1:
            turns.backend.release()
        resident = turns.bring(folder, precision)
        assert torch.equal(compute(resident.skeleton.model), expected[folder])
    assert turns.memory.size <= 300_000


def test_recorded_steps_compute_the_same(folders: list[Path]) -> None:
    skeleton = Turns().bring(folders[1], Precision.INT8).skeleton
    model, recorder = StaticModel(skeleton.model, skeleton, TapeRecorder()), TapeRecorder()
    model._recorder = recorder
    with torch.inference_mode():
        model.prefill(PROMPT[0].tolist(), CancelToken())
        said = [model.decode([number], CancelToken())[0] for number in (50, 51, 52)]
        whole = skeleton.model(torch.tensor([[*PROMPT[0].tolist(), 50, 51, 52]])).logits[0, -3:]
    assert recorder.replays == 3
    assert torch.allclose(torch.stack(said), whole, atol=1e-3)


def test_quantising_is_done_once(folders: list[Path]) -> None:
    first, second = Quantising(), Quantising()
    Turns().bring(folders[0], Precision.INT8, first)
    assert first.times > 0
    Turns().bring(folders[0], Precision.INT8, second)
    assert second.times == 0


@pytest.mark.parametrize("harm", ["source", "truncated", "index"])
def test_quantising_is_done_again_when_files_have_changed(folders: list[Path], harm: str) -> None:
    folder = folders[0]
    expected = compute(Turns().bring(folder, Precision.INT8).skeleton.model)
    target = folder / "quantised-int8"
    match harm:
        case "source":
            (folder / "model.safetensors").touch()
        case "truncated":
            file = next(target.glob("*.safetensors"))
            file.write_bytes(file.read_bytes()[:-8])
        case "index":
            (target / "quantised.json").unlink()
    watch = Quantising()
    assert torch.equal(compute(Turns().bring(folder, Precision.INT8, watch).skeleton.model), expected)
    assert watch.times > 0


def test_cancelled_quantising_leaves_nothing_and_the_next_load_works(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantised_files, "_SHARD", 10_000)
    before = {file.name for file in folders[0].iterdir()}

    class Cancelling(Quantising):
        def __call__(self, doing: str, fraction: float) -> None:
            super().__call__(doing, fraction)
            if self.times > 3:
                self.token.cancel()

    with pytest.raises(Cancelled):
        Turns().bring(folders[0], Precision.INT8, Cancelling())
    assert {file.name for file in folders[0].iterdir()} == before
    Turns().bring(folders[0], Precision.INT8)
    assert len(list((folders[0] / "quantised-int8").glob("*.safetensors"))) > 3


def test_stored_weights_do_not_count_as_the_model_changing(folders: list[Path]) -> None:
    turns, watch = Turns(), Quantising()
    first = turns.bring(folders[0], Precision.INT8, watch)
    first.evict()
    assert turns.bring(folders[0], Precision.INT8, watch).skeleton is first.skeleton


def test_model_in_8_bits_answers_on_the_model_thread_and_says_what_it_is(tmp_path: Path, folders: list[Path]) -> None:
    worker = ModelWorker(ModelRegistry(DataFolders(tmp_path / "home")), lambda: None)
    phases: list[Phase] = []

    def answer(runner: ModelRunner, _: JobTimes) -> str:
        chunks = runner.generate(PROMPT[0].tolist(), SamplingParams(max_tokens=5), CancelToken())
        return "".join(chunk.text for chunk in chunks)

    def ask() -> str:
        job = ModelJob(
            role=Role.EXPLAIN,
            model=str(folders[0]),
            device=Device.CPU,
            precision=Precision.INT8,
            token=CancelToken(),
            on_phase=phases.append,
            run=answer,
            keep_alive=0.0,
        )
        return worker.submit(job).result(60)

    first = ask()
    assert any("packing its weights in 8 bits, once" in phase.message for phase in phases)
    info = worker.snapshot().models[0]
    assert info.dtype == "int8"
    assert "on CPU in int8" in str(info.detail)
    assert info.bytes is not None
    assert info.bytes < weigh(folders[0]).parameters * 2.5
    worker.unload().result(60)
    assert ask() == first
    worker.close()


# --- kernels that a device may have -----------------------------------------------------------


def remembered(spoil: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
    """A kernel that is faster than any other once it has seen a number of tokens, and is right or not."""
    known: dict[int, torch.Tensor] = {}

    def kernel(inputs: torch.Tensor, codes: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        if len(inputs) not in known:
            known[len(inputs)] = spoil(inputs @ (codes * scales[:, None]).T)
        return known[len(inputs)]

    return kernel


def test_kernel_that_is_right_and_faster_is_taken() -> None:
    kernel = remembered(lambda product: product)
    assert find_kernel(torch.device("cpu"), torch.float32, kernel) is kernel


@pytest.mark.parametrize(
    "spoil",
    [
        lambda product: product * 1.1,
        lambda product: product.roll(1, dims=1),
        lambda product: product * float("nan"),
        lambda product: product.double(),
    ],
)
def test_kernel_that_is_wrong_is_not_taken(spoil: Callable[[torch.Tensor], torch.Tensor]) -> None:
    assert find_kernel(torch.device("cpu"), torch.float32, remembered(spoil)) is None


def test_kernel_that_the_device_lacks_is_not_taken() -> None:
    def missing(*_: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError("Could not run 'aten::_weight_int8pack_mm' with arguments from this backend")

    assert find_kernel(torch.device("cpu"), torch.float32, missing) is None


def test_kernel_of_torch_computes_what_plain_operations_do(folders: list[Path]) -> None:
    model = Turns().bring(folders[2], Precision.INT8).skeleton.model
    plain = compute(model)

    def kernel(inputs: torch.Tensor, codes: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        found = torch._weight_int8pack_mm(inputs.bfloat16(), codes, scales.bfloat16())
        return found.to(inputs.dtype)

    use_kernel(model, kernel)
    with torch.inference_mode():
        few = torch.cat([model(PROMPT[:, : end + 1]).logits[:, -1:] for end in range(3)], 1)
    assert torch.nn.functional.cosine_similarity(few, plain[:, :3], dim=-1).min() > 0.99
