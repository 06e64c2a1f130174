from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidParams, OutOfMemory
from core.models.packed.facts import PackFacts
from core.models.placement import RESERVE, DeviceMemory, compute_precision, plan
from core.models.weights import Footprint
from core.settings import Device, Precision

GIB = 1 << 30
PHI = Footprint(parameters=3_821_079_552, kv_per_token=2 * 32 * 32 * 96, context_length=4096)
CODER = Footprint(parameters=1_346_471_936, kv_per_token=2 * 24 * 16 * 128, context_length=16384)


PHI_IN_LAYERS = replace(PHI, matrices=3_623_878_656, head=98_500_608, largest=98_500_608)


def gpu(free: float, total: float = 12.0, *, fast: bool = True) -> DeviceMemory:
    return DeviceMemory(
        device=Device.CUDA, name="GPU", free=int(free * GIB), total=int(total * GIB), fast_bfloat16=fast
    )


def cpu(free: float, *, fast: bool = True) -> DeviceMemory:
    return DeviceMemory(device=Device.CPU, name="CPU", free=int(free * GIB), total=64 * GIB, fast_bfloat16=fast)


def test_both_stay_when_they_fit() -> None:
    placed = plan("coder", CODER, [gpu(14.0, 24.0), cpu(32)], {"phi": (Device.CUDA, 7 * GIB)})
    assert placed.device is Device.CUDA
    assert placed.evict == ()
    assert "14.0 GiB of 24.0 GiB were free" in placed.reason
    assert "fits beside another model" in placed.reason


def test_models_take_turns_when_they_do_not() -> None:
    placed = plan("phi", PHI, [gpu(7.2, 10.0), cpu(32)], {"coder": (Device.CUDA, 3 * GIB)})
    assert placed.device is Device.CUDA
    assert placed.evict == ("coder",)
    assert "takes turns with another model: 2.1 GiB are missing to keep both" in placed.reason


def test_only_as_many_leave_as_needed() -> None:
    resident = {"old": (Device.CUDA, 4 * GIB), "older": (Device.CUDA, 4 * GIB)}
    placed = plan("coder", CODER, [gpu(1.0, 12.0)], resident)
    assert placed.evict == ("old",)


def test_models_on_other_devices_stay() -> None:
    placed = plan("coder", CODER, [gpu(1.0, 8.0), cpu(32)], {"phi": (Device.CPU, 8 * GIB)})
    assert placed.device is Device.CPU
    assert placed.evict == ()


def test_next_device_when_the_first_is_too_small() -> None:
    placed = plan("phi", PHI, [gpu(4.0, 6.0), cpu(32)], {})
    assert placed.device is Device.CPU
    assert "it needs 9.3 GiB on GPU in bfloat16, which has 4.0 GiB of 6.0 GiB for models" in placed.reason


def test_smaller_precision_when_the_best_one_does_not_fit() -> None:
    placed = plan("phi", PHI, [cpu(12, fast=False)], {})
    assert placed.precision is Precision.BFLOAT16
    assert "on CPU in float32" in placed.reason


@pytest.mark.parametrize(
    ("free", "total", "precision", "size"),
    [(11.3, 12.0, Precision.BFLOAT16, 7.1), (7.3, 8.0, Precision.INT8, 3.65), (5.3, 6.0, Precision.INT4, 2.4)],
)
def test_model_is_quantised_as_little_as_the_card_needs(
    free: float, total: float, precision: Precision, size: float
) -> None:
    placed = plan("phi", PHI_IN_LAYERS, [gpu(free, total), cpu(32)], {})
    assert (placed.device, placed.precision) == (Device.CUDA, precision)
    assert placed.bytes / GIB == pytest.approx(size, rel=0.02)
    assert placed.bytes + placed.headroom <= free * GIB
    if precision is not Precision.BFLOAT16:
        assert "it needs 9.3 GiB on GPU in bfloat16, which has" in placed.reason


def test_what_does_not_fit_quantised_either_goes_to_the_next_device() -> None:
    placed = plan("phi", PHI_IN_LAYERS, [gpu(3.4, 4.0), cpu(32)], {})
    assert (placed.device, placed.precision) == (Device.CPU, Precision.BFLOAT16)
    assert "in int4, which has 3.4 GiB of 4.0 GiB" in placed.reason


def test_taking_turns_is_better_than_less_precision() -> None:
    placed = plan("phi", PHI_IN_LAYERS, [gpu(7.2, 10.0), cpu(32)], {"coder": (Device.CUDA, 3 * GIB)})
    assert (placed.precision, placed.evict) == (Precision.BFLOAT16, ("coder",))


def test_cards_without_bfloat16_compute_quantised_weights_in_half_precision() -> None:
    assert compute_precision(Precision.INT8, gpu(8, fast=False)) is Precision.FLOAT16
    assert compute_precision(Precision.INT8, gpu(8)) is Precision.BFLOAT16


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.INT4])
def test_quantised_precision_can_be_chosen_on_a_gpu(precision: Precision) -> None:
    assert plan("phi", PHI_IN_LAYERS, [gpu(20)], {}, precision=precision).precision is precision


def test_chosen_precision_is_kept() -> None:
    with pytest.raises(OutOfMemory):
        plan("phi", PHI, [cpu(12, fast=False)], {}, precision=Precision.FLOAT32)


def test_chosen_device_is_kept() -> None:
    assert plan("coder", CODER, [gpu(11), cpu(32)], {}, device=Device.CPU).device is Device.CPU


def test_device_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidParams, match="'cuda' was not found on this machine, only 'cpu'"):
        plan("coder", CODER, [cpu(32)], {}, device=Device.CUDA)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (cpu(32), Precision.BFLOAT16),
        (cpu(32, fast=False), Precision.FLOAT32),
        (gpu(11), Precision.BFLOAT16),
        (gpu(11, fast=False), Precision.FLOAT16),
    ],
)
def test_precision_is_what_the_device_computes_well(place: DeviceMemory, expected: Precision) -> None:
    assert plan("coder", CODER, [place], {}).precision is expected


def test_precision_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidParams, match="'int4' is not available"):
        plan("coder", CODER, [cpu(32)], {}, precision=Precision.INT4)


def test_model_that_fits_nowhere_says_what_it_needs_and_what_there_is() -> None:
    with pytest.raises(
        OutOfMemory, match=r"phi does not fit.*it needs 9\.3 GiB on GPU in bfloat16, which has 4\.0 GiB"
    ) as error:
        plan("phi", PHI, [gpu(4.0, 6.0), cpu(3.0)], {})
    assert "on CPU in bfloat16, which has 3.0 GiB" in error.value.message
    assert "3.8 billion parameters; one of 1.5 billion would fit" in error.value.message


@given(st.integers(0, 64 * GIB), st.lists(st.integers(1, 16 * GIB), max_size=3))
def test_what_is_placed_fits(free: int, resident: list[int]) -> None:
    place = DeviceMemory(device=Device.CPU, name="CPU", free=free, total=64 * GIB, fast_bfloat16=True)
    loaded = {number: (Device.CPU, size) for number, size in enumerate(resident)}
    try:
        placed = plan("coder", CODER, [place], loaded)
    except OutOfMemory:
        assert free + sum(resident) < 2 * CODER.parameters + RESERVE + GIB
    else:
        freed = sum(loaded[key][1] for key in placed.evict)
        assert free + freed >= placed.bytes + placed.headroom
        assert placed.headroom >= RESERVE


PACKED = Footprint(
    parameters=134_515_008,
    kv_per_token=2 * 30 * 3 * 64,
    context_length=8192,
    packed=PackFacts(format=1, speedup=3.94, files={"layer-000.safetensors": 84_217_874}),
)


def test_packed_weights_are_best_on_the_cpu() -> None:
    placed = plan("smol", PACKED, [cpu(8)], {})
    assert placed.precision is Precision.INT4
    assert placed.bytes == 84_217_874
    assert "measured 3.9 times as fast as bfloat16 there" in placed.reason


def test_packed_weights_are_for_the_cpu_only() -> None:
    assert plan("smol", PACKED, [gpu(8), cpu(8)], {}).precision is Precision.BFLOAT16
    with pytest.raises(InvalidParams, match="'int4' is not available for this model on GPU"):
        plan("smol", PACKED, [gpu(8)], {}, precision=Precision.INT4)


def test_what_is_not_packed_cannot_be_chosen() -> None:
    assert plan("phi", PHI, [cpu(32)], {}).precision is Precision.BFLOAT16
    with pytest.raises(InvalidParams, match="'int4' is not available for this model on CPU; choose from"):
        plan("phi", PHI, [cpu(32)], {}, precision=Precision.INT4)


def test_packed_model_runs_unpacked_when_that_is_chosen() -> None:
    placed = plan("smol", PACKED, [cpu(8)], {}, precision=Precision.BFLOAT16)
    assert placed.precision is Precision.BFLOAT16
    assert "measured" not in placed.reason
