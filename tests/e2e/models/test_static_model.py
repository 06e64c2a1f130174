"""Steps that are recorded once and replayed say exactly what the model says, whatever happened in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from fakes.tape import TapeRecorder
from fakes.weights import Still
from tiny_models import tiny_llama, tiny_phi3, tiny_qwen2
from torch import nn
from transformers import PreTrainedModel

from core.cancellation import CancelToken
from core.models import fused_step, static_model
from core.models.causal_model import CausalModel, TransformersModel
from core.models.copying import HostCopier
from core.models.fixed_cache import FixedCache
from core.models.loader import LoadedModel, TorchBackend
from core.models.master import FileMasters
from core.models.placement import Placement
from core.models.recording import DirectRecorder, GraphRecorder, Recorder, Step
from core.models.skeleton import Skeleton
from core.models.static_model import StaticModel
from core.models.swap import ArenaMemory
from core.settings import Device, Precision

pytestmark = pytest.mark.e2e

HALF = {"layer_types": ["full_attention", "sliding_attention", "full_attention"]}
LONG = {
    "original_max_position_embeddings": 60,
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "original_max_position_embeddings": 60,
        "short_factor": [1.0] * 8,
        "long_factor": [1.0 + 0.3 * number for number in range(8)],
    },
}
ARCHITECTURES: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": lambda: tiny_llama(initializer_range=0.1),
    "phi3": lambda: tiny_phi3(initializer_range=0.1),
    "phi3 that turns a part of each head": lambda: tiny_phi3(
        initializer_range=0.1, rope_parameters={"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}
    ),
    "phi3 with other frequencies for long texts": lambda: tiny_phi3(initializer_range=0.1, **LONG),
    "qwen2": lambda: tiny_qwen2(initializer_range=0.1, tie_word_embeddings=True),
    "qwen2 with a window in one layer": lambda: tiny_qwen2(
        initializer_range=0.1, use_sliding_window=True, sliding_window=47, **HALF
    ),
}
CLOSE = 1e-4
"""Kernels add in another order for another number of keys."""
TIGHT = 700_000
"""Bytes that hold the largest of the models, but not two of them."""
SWAPS = 50


class Late(HostCopier):
    """Copies arrive only when somebody waits for them, as those of a GPU may."""

    def __init__(self) -> None:
        self.pending: list[tuple[torch.Tensor, torch.Tensor]] = []

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        self.pending.append((target, source))
        target.fill_(7.0)

    def gate(self, module: nn.Module) -> None:
        module.register_forward_pre_hook(lambda *_: self.join())

    def join(self) -> None:
        for target, source in self.pending:
            target.copy_(source)
        self.pending.clear()

    wait = join


class Broken:
    """A device that cannot capture."""

    def __init__(self) -> None:
        self.attempts = 0

    def record(self, step: Step) -> Step:
        self.attempts += 1
        step()
        message = "operation not permitted when stream is capturing"
        raise RuntimeError(message)

    def release(self) -> None:
        """Nothing was recorded."""


@pytest.fixture(params=ARCHITECTURES)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return ARCHITECTURES[request.param]().eval()


@pytest.fixture(autouse=True)
def small_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_model, "SMALLEST", 32)


def text(length: int, seed: int = 1) -> list[int]:
    return torch.randint(10, 390, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def read(model: CausalModel, prompt: Sequence[int]) -> torch.Tensor:
    with torch.inference_mode():
        for start in range(0, len(prompt), model.prefill_chunk):
            logits = model.prefill(prompt[start : start + model.prefill_chunk], CancelToken())
    return logits


def step(model: CausalModel, tokens: Sequence[int]) -> torch.Tensor:
    with torch.inference_mode():
        return model.decode(tokens, CancelToken())


def say(model: CausalModel, prompt: Sequence[int], count: int) -> list[int]:
    """What a model says when it forgets what it knew."""
    model.truncate(0)
    said = [int(read(model, prompt).argmax())]
    while len(said) < count:
        said.append(int(step(model, said[-1:])[0].argmax()))
    return said


def assert_same_over_a_text(ours: CausalModel, theirs: CausalModel) -> None:
    """Widths of all kinds, wrong guesses that are forgotten, several buckets, and well past the window."""
    assert torch.allclose(read(ours, text(20)), read(theirs, text(20)), atol=CLOSE)
    for round_, width in enumerate((1, 1, 4, 3, 8, 5, 2, 1, 8, 7) * 6):
        tokens = text(width, seed=round_)
        assert torch.allclose(step(ours, tokens), step(theirs, tokens), atol=CLOSE)
        for one in (ours, theirs):
            one.truncate(one.length - width // 3)
        assert ours.length == theirs.length


@pytest.mark.parametrize("recorder", [DirectRecorder, TapeRecorder])
def test_computes_what_a_growing_cache_does(model: PreTrainedModel, recorder: Callable[[], Recorder]) -> None:
    ours = StaticModel(model, Still(), recorder())
    assert_same_over_a_text(ours, TransformersModel(model))
    assert ours.remark == ""


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_captured_graphs_compute_what_a_growing_cache_does(model: PreTrainedModel) -> None:
    model = model.cuda()
    ours = StaticModel(model, Still(), GraphRecorder(model.device))
    assert_same_over_a_text(ours, TransformersModel(model))
    assert ours.remark == ""
    assert ours.recordings > 0
    ours.release()
    assert_same_over_a_text(ours, TransformersModel(model))


def test_each_bucket_is_recorded_once(model: PreTrainedModel) -> None:
    recorder = TapeRecorder()
    ours = StaticModel(model, Still(), recorder)
    for length in (10, 100, 20, 90, 15):
        ours.truncate(0)
        read(ours, text(length))
        for width in (1, 3, 4, 6, 8) * 2:
            step(ours, text(width))
            ours.truncate(length)
    # 32 keys before anything had grown; then 32 and 128, of the same memory.
    assert ours.recordings == recorder.records == 3
    assert recorder.replays == 50


def test_text_that_goes_on_elsewhere_is_read_as_if_nothing_had_been_there(model: PreTrainedModel) -> None:
    ours, theirs = StaticModel(model, Still(), TapeRecorder()), TransformersModel(model)
    for kept in (0, 5, 46, 100, 150):
        for one in (ours, theirs):
            one.truncate(kept)
        rest = text(180 - kept, seed=kept)
        assert torch.allclose(read(ours, rest), read(theirs, rest), atol=CLOSE)
        assert torch.allclose(step(ours, [11]), step(theirs, [11]), atol=CLOSE)


def test_overflow_in_one_answer_does_not_spoil_the_next(model: PreTrainedModel) -> None:
    """What is masked still counts if it is no number."""
    ours = StaticModel(model, Still(), TapeRecorder())
    expected = say(ours, text(20), 9)
    read(ours, text(60))
    with torch.inference_mode():
        for room in ours._cache._rooms:
            room.values[:, :, 30:] = float("nan")
    assert say(ours, text(20), 9) == expected


def test_context_can_be_filled_to_the_last_token() -> None:
    model = tiny_llama(initializer_range=0.1, max_position_embeddings=100).eval()
    ours, theirs = StaticModel(model, Still(), TapeRecorder()), TransformersModel(model)
    for one in (ours, theirs):
        read(one, text(95))
    for tokens in ([11], [12, 13], [14], [15]):
        assert torch.allclose(step(ours, tokens), step(theirs, tokens), atol=CLOSE)
    assert ours.length == model.config.max_position_embeddings


def test_nothing_of_an_earlier_step_is_overwritten(model: PreTrainedModel) -> None:
    ours = StaticModel(model, Still(), TapeRecorder())
    read(ours, text(20))
    first = step(ours, [11])
    kept = first.clone()
    step(ours, [12])
    assert torch.equal(first, kept)


def test_step_takes_little_more_than_half_of_the_operations(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where starting kernels is what takes time, as on fast GPUs."""

    def count() -> int:
        recorder = TapeRecorder()
        ours = StaticModel(model, Still(), recorder)
        read(ours, text(20))
        step(ours, [11])
        return recorder.operations

    fused = count()
    monkeypatch.setattr(fused_step, "_KINDS", ())
    assert fused < (0.75 if model.config.rope_parameters.get("partial_rotary_factor", 1) < 1 else 0.65) * count()


def test_modules_that_are_not_what_was_thought_compute_by_themselves(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(*_: object) -> None:
        raise TypeError("unexpected keyword argument")

    monkeypatch.setattr(fused_step, "_normalise", changed)
    recorder = TapeRecorder()
    ours = StaticModel(model, Still(), recorder)
    assert say(ours, text(20), 9) == say(TransformersModel(model), text(20), 9)
    assert ours.remark == ""
    assert recorder.replays > 0


class Another:
    """A way to compute a step that is not to be trusted."""

    def __init__(self, problem: Exception | None) -> None:
        self.problem = problem
        self.computed = 0

    def compute(self, places: torch.Tensor, reach: int, cache: FixedCache) -> torch.Tensor:
        self.computed += 1
        if self.problem:
            raise self.problem
        return torch.full((len(places), 1), float("nan"))


@pytest.mark.parametrize("problem", [None, RuntimeError("Failed to find C compiler"), TypeError("no such argument")])
def test_faster_way_that_is_wrong_or_fails_is_not_taken(model: PreTrainedModel, problem: Exception | None) -> None:
    """People are told, since it may be a compiler that is missing."""
    another, recorder = Another(problem), TapeRecorder()
    ours = StaticModel(model, Still(), recorder, another)
    assert say(ours, text(20), 9) == say(TransformersModel(model), text(20), 9)
    assert another.computed == 1
    assert recorder.replays > 0
    ours.release()
    assert (str(problem) if problem else "off by nan") in ours.remark


def fail_in_a_step(ours: StaticModel, model: PreTrainedModel) -> None:
    """Let the memory run out in the middle of a step."""

    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError

    hook = model.get_submodule("model.layers.2").register_forward_pre_hook(fail)
    with pytest.raises(torch.OutOfMemoryError):
        step(ours, [11])
    hook.remove()


def test_modules_are_those_of_transformers_again_after_a_step(model: PreTrainedModel) -> None:
    """A prompt is read as transformers does, also when a step has failed."""
    ours, expected = StaticModel(model, Still(), DirectRecorder()), read(TransformersModel(model), text(20))
    read(ours, text(20))
    fail_in_a_step(ours, model)
    assert not any("forward" in vars(module) for module in model.modules())
    assert torch.equal(read(TransformersModel(model), text(20)), expected)


def test_released_model_starts_anew_and_may_record_again(model: PreTrainedModel) -> None:
    recorder = TapeRecorder()
    ours = StaticModel(model, Still(), recorder)
    said = say(ours, text(10), 9)
    ours.release()
    assert ours.length == ours._cache.capacity == 0
    assert say(ours, text(10), 9) == said
    assert recorder.records == 2


def test_device_that_cannot_record_answers_all_the_same(model: PreTrainedModel) -> None:
    recorder = Broken()
    ours = StaticModel(model, Still(), recorder)
    assert say(ours, text(20), 9) == say(TransformersModel(model), text(20), 9)
    assert "not permitted when stream is capturing" in ours.remark
    assert recorder.attempts == 1
    ours.release()
    say(ours, text(20), 3)
    assert recorder.attempts == 2


def test_failing_step_forgets_everything_and_the_model_stays_usable(model: PreTrainedModel) -> None:
    ours = StaticModel(model, Still(), DirectRecorder())
    said = say(ours, text(20), 9)
    fail_in_a_step(ours, model)
    assert ours.length == 0
    assert say(ours, text(20), 9) == said


def test_layers_that_look_back_in_another_way_are_refused() -> None:
    model = tiny_llama()
    model.config.layer_types = ["chunked_attention"] * 3
    model.config.attention_chunk_size = 8
    with pytest.raises(ValueError, match="chunked_attention"):
        StaticModel(model, Still(), DirectRecorder())


# --- together with weights that come and go ---------------------------------------------------


class Turns:
    """Models that take turns in an arena that does not hold two of them, each with recorded steps."""

    def __init__(self, copier: HostCopier) -> None:
        self.recorders: list[TapeRecorder] = []
        memory = ArenaMemory(torch.device("cpu"), copier, FileMasters())
        self.backend = TorchBackend(capacity=TIGHT, open_memory=lambda _: memory, open_model=self.open_model)
        self.resident: LoadedModel | None = None

    def open_model(self, skeleton: Skeleton, device: Device) -> CausalModel:
        self.recorders.append(TapeRecorder())
        return StaticModel(skeleton.model, skeleton, self.recorders[-1])

    def bring(self, folder: Path) -> CausalModel:
        self.leave()
        place = Placement(device=Device.CPU, precision=Precision.FLOAT32, bytes=0)
        self.resident = self.backend.load(folder.name, folder, place, CancelToken(), lambda _, __: None)
        return self.resident.runner.model

    def leave(self) -> None:
        if self.resident:
            self.resident.evict()
        self.resident = None


def fresh(folder: Path) -> CausalModel:
    place = Placement(device=Device.CPU, precision=Precision.FLOAT32, bytes=0)
    return TorchBackend().load("fresh", folder, place, CancelToken(), lambda _, __: None).runner.model


def test_recorded_steps_stay_valid_over_many_swaps(llama_folder: Path, phi3_folder: Path) -> None:
    turns, folders = Turns(HostCopier()), (llama_folder, phi3_folder)
    expected = {folder: say(fresh(folder), text(60), 12) for folder in folders}
    for folder in folders * 2:
        say(turns.bring(folder), text(60), 12)
    records = [one.records for one in turns.recorders]
    for folder in folders * (SWAPS // 2):
        assert say(turns.bring(folder), text(60), 12) == expected[folder]
    assert [one.records for one in turns.recorders] == records
    assert all(one.replays > SWAPS for one in turns.recorders)


def test_steps_are_recorded_again_when_weights_have_moved(llama_folder: Path, phi3_folder: Path) -> None:
    turns = Turns(HostCopier())
    expected = say(turns.bring(llama_folder), text(60), 12)
    known = turns.recorders[0].records
    turns.leave()
    turns.backend._memories[Device.CPU].release()
    turns.bring(phi3_folder)
    assert say(turns.bring(llama_folder), text(60), 12) == expected
    assert turns.recorders[0].records == 2 * known


def test_recorded_step_waits_for_weights_that_are_on_their_way(llama_folder: Path, phi3_folder: Path) -> None:
    """A replay runs no module, so none of those that would wait for their own weights."""
    turns = Turns(Late())
    model = turns.bring(llama_folder)
    said = say(model, text(60), 12)
    expected = step(model, said[-1:])
    model.truncate(model.length - 1)
    say(turns.bring(phi3_folder), text(60), 12)
    assert turns.bring(llama_folder) is model
    assert turns.backend._memories[Device.CPU]._copier.pending
    assert torch.equal(step(model, said[-1:]), expected)


def test_recorded_step_never_runs_on_weights_that_have_left(llama_folder: Path, phi3_folder: Path) -> None:
    turns = Turns(HostCopier())
    model = turns.bring(llama_folder)
    say(model, text(60), 12)
    turns.leave()
    with pytest.raises(RuntimeError, match="not in memory"):
        step(model, [11])
    turns.bring(phi3_folder)
    with pytest.raises(RuntimeError, match="not in memory"):
        step(model, [11])
