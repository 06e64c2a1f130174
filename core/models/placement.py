"""Where a model goes, in which precision, and what must leave for it: a pure function.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import InvalidParams, OutOfMemory
from core.models.weights import PACKED_BITS, Footprint
from core.settings import Device, Precision

BYTES_PER_PARAMETER = {Precision.FLOAT32: 4, Precision.BFLOAT16: 2, Precision.FLOAT16: 2}
BYTES_QUANTISED = {Precision.INT8: 1.001, Precision.INT4: 0.625}
"""The same for matrices of layers that are quantised, scales and zeros included."""
BYTES_PACKED = {Precision.INT8: 1.125, Precision.INT4: 0.625}
"""The same for all that the CPU reads of packed models."""
RESERVE = 600 << 20
"""Bytes kept free for activations and the device's own use."""
RECORDED_STEPS = 128 << 20
"""Bytes that recorded steps take on a GPU: their own memory, and what the driver keeps of them."""
WORKING_CONTEXT = 4096
"""Tokens of keys and values that a model must have room for to be useful."""
_UNPACKING = {Precision.INT8: 1, Precision.INT4: 2}
"""How often the largest matrix is there at once while it is unpacked."""
_GIB = 1 << 30
_BILLION = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMemory:
    """One place where models can run."""

    device: Device
    name: str
    free: int
    """Bytes, measured just now."""
    total: int
    fast_bfloat16: bool
    """Whether it computes bfloat16 at least as fast as float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The decision, with its reason in words and numbers."""

    device: Device
    precision: Precision
    bytes: int
    """What the weights will take."""
    headroom: int = 0
    """Bytes of the device that weights must leave free: for keys, values and activations."""
    evict: tuple[Hashable, ...] = ()
    """Resident models that must leave first."""
    reason: str = ""


def plan(
    model: str,
    footprint: Footprint,
    devices: Sequence[DeviceMemory],
    resident: Mapping[Any, tuple[Device, int]],
    *,
    device: Device = Device.AUTO,
    precision: Precision = Precision.AUTO,
) -> Placement:
    """Place one model.

    1. The device asked for; or else each one in the order given, the fastest first.
    2. Beside what is resident there, if it fits: the best swap is no swap.
    3. Otherwise in turns with as few of those as possible, in the order given.
    4. Otherwise in a smaller precision, unless one was asked for.
    5. Otherwise on the next device.

    Args:
        model: Name for people.
        footprint: Size of the model.
        devices: All devices, fastest first.
        resident: Device and bytes of every loaded model, by key, least recently used first.
        device: What the person asked for.
        precision: What the person asked for.

    Raises:
        InvalidParams: The device or precision does not exist here.
        OutOfMemory: It fits nowhere; says what is needed, what there is, and what would fit.
    """
    misses: list[_Option] = []
    for option in _options(footprint, devices, resident, device, precision):
        evict = option.make_room()
        if evict is not None:  # 2, 3
            return Placement(
                device=option.place.device,
                precision=option.precision,
                bytes=option.need.weights,
                headroom=option.need.headroom,
                evict=evict,
                reason=_reason(option, evict, misses),
            )
        misses.append(option)
    raise _does_not_fit(model, footprint, misses)


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Bytes that a model takes."""

    weights: int
    headroom: int
    """Keys and values of a working context, activations, and the device's own use."""

    @classmethod
    def of(cls, footprint: Footprint, precision: Precision, place: DeviceMemory) -> Need:
        """Return what a model takes in a precision on a device."""
        packed = place.device is Device.CPU and precision in PACKED_BITS
        width = BYTES_PER_PARAMETER[Precision.FLOAT32 if packed else compute_precision(precision, place)]
        weights, unpacked = footprint.parameters * width, 0
        if packed and precision is Precision.INT4 and footprint.packed:
            weights = footprint.packed.bytes
        elif packed:  # Few rows of the embedding are read, and the head is in 4 bits.
            weights = int(footprint.parameters * BYTES_PACKED[precision])
        elif precision in BYTES_QUANTISED:
            plain = footprint.parameters - footprint.matrices - footprint.head
            eight = footprint.head * BYTES_QUANTISED[Precision.INT8]
            weights = int(plain * width + eight + footprint.matrices * BYTES_QUANTISED[precision])
            # While it is used, the matrix of a layer is there as numbers that the device computes with.
            unpacked = _UNPACKING[precision] * footprint.largest * width
        context = footprint.kv_per_token * min(footprint.context_length, WORKING_CONTEXT) * width
        recorded = RECORDED_STEPS if place.device is Device.CUDA else 0
        return cls(weights=weights, headroom=RESERVE + recorded + context + unpacked)

    @property
    def room(self) -> int:
        """All of it."""
        return self.weights + self.headroom


@dataclass(frozen=True, slots=True, kw_only=True)
class _Option:
    """A device and precision that a model might run in."""

    place: DeviceMemory
    precision: Precision
    need: Need
    others: Mapping[Any, int]
    """Bytes of the models that are loaded there."""
    speedup: float | None = None
    """Of packed weights over bfloat16, as it was measured."""

    @property
    def most(self) -> int:
        """Bytes that would be free if every other model left."""
        return self.place.free + sum(self.others.values())

    def make_room(self) -> tuple[Hashable, ...] | None:
        """Return what must leave, or None if that is not enough."""
        leaving = []
        missing = self.need.room - self.place.free
        for key, size in self.others.items():
            if missing <= 0:
                break
            leaving.append(key)
            missing -= size
        return tuple(leaving) if missing <= 0 else None

    def explain_miss(self) -> str:
        """Say by how much it does not fit."""
        return (
            f"it needs {_gib(self.need.room)} on {self.place.name} in {self.precision.value}, "
            f"which has {_gib(self.most)} of {_gib(self.place.total)} for models"
        )


def _options(
    footprint: Footprint,
    devices: Sequence[DeviceMemory],
    resident: Mapping[Any, tuple[Device, int]],
    device: Device,
    precision: Precision,
) -> Iterator[_Option]:
    """Yield what may be tried, the best first."""
    for place in _candidates(devices, device):  # 1, 5
        others = {key: size for key, (where, size) in resident.items() if where is place.device}
        for chosen in _precisions(place, precision, footprint):  # 4
            is_packed = chosen is Precision.INT4 and place.device is Device.CPU
            speedup = footprint.packed.speedup if footprint.packed and is_packed else None
            need = Need.of(footprint, chosen, place)
            yield _Option(place=place, precision=chosen, need=need, others=others, speedup=speedup)


def _candidates(devices: Sequence[DeviceMemory], device: Device) -> list[DeviceMemory]:
    candidates = [place for place in devices if device in {Device.AUTO, place.device}]
    if not candidates:
        found = ", ".join(repr(place.device.value) for place in devices)
        raise InvalidParams("device", f"{device.value!r} was not found on this machine, only {found}")
    return candidates


def _precisions(place: DeviceMemory, precision: Precision, footprint: Footprint) -> list[Precision]:
    """Return what is worth trying on a device, the best first.

    On the CPU, the time goes into reading weights: packed ones, which are there only if they
    were measured to be faster, are best. On others, what is quantised is there for what would not fit.
    """
    on_cpu = place.device is Device.CPU
    packed = footprint.packed is not None and on_cpu
    quantised = list(BYTES_QUANTISED) if footprint.matrices else []
    if precision is Precision.AUTO:
        if packed:
            return [Precision.INT4]
        if on_cpu and not place.fast_bfloat16:
            return [Precision.FLOAT32, Precision.BFLOAT16]
        return [compute_precision(Precision.AUTO, place), *quantised]
    choices = [*BYTES_PER_PARAMETER, *(quantised or ([Precision.INT4] if packed else []))]
    if precision not in choices:
        raise InvalidParams(
            "precision",
            f"{precision.value!r} is not available for this model on {place.name}; "
            f"choose from {', '.join(one.value for one in choices)}",
        )
    return [precision]


def compute_precision(precision: Precision, place: DeviceMemory) -> Precision:
    """Return what a device computes in, which for quantised weights is not what they are kept in."""
    if precision in BYTES_PER_PARAMETER:
        return precision
    if place.fast_bfloat16:
        return Precision.BFLOAT16
    return Precision.FLOAT32 if place.device is Device.CPU else Precision.FLOAT16


def _reason(option: _Option, evict: Sequence[Hashable], misses: Sequence[_Option]) -> str:
    place, need = option.place, option.need
    what = f"on {place.name} in {option.precision.value}, {_gib(need.weights)}"
    if option.speedup:
        what += f" (measured {option.speedup:.1f} times as fast as bfloat16 there)"
    free = (
        f"{_gib(place.free)} of {_gib(place.total)} were free and {_gib(need.room)} are needed with a working context"
    )
    how = "so it fits"
    if evict:
        how = f"so it takes turns with {_count(evict)}: {_gib(need.room - place.free)} are missing to keep both"
    elif option.others:
        how = f"so it fits beside {_count(option.others)}"
    return "; ".join([f"{what}: {free}, {how}", *(miss.explain_miss() for miss in misses)])


def _count(models: Collection[object]) -> str:
    return "another model" if len(models) == 1 else f"{len(models)} other models"


def _does_not_fit(model: str, footprint: Footprint, misses: Sequence[_Option]) -> OutOfMemory:
    largest = max(_largest(footprint, miss) for miss in misses)
    return OutOfMemory(
        f"The model {model} does not fit in memory: {'; '.join(miss.explain_miss() for miss in misses)}. It has "
        f"{footprint.parameters / _BILLION:.1f} billion parameters; one of {largest / _BILLION:.1f} billion would fit. "
        "Close other programs, or choose a smaller model with the setting modelSet ('small' or 'starter').",
        model=model,
    )


def _largest(footprint: Footprint, miss: _Option) -> float:
    """Return the parameters of the largest model of this kind that would fit."""
    scale = (miss.most - RESERVE) / (miss.need.room - RESERVE)
    return max(0.0, footprint.parameters * scale)


def _gib(count: int) -> str:
    return f"{count / _GIB:.1f} GiB"
