"""Where a model goes, in which precision, and what must leave for it: a pure function.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import InvalidParams, OutOfMemory
from core.models.weights import Footprint
from core.settings import Device, Precision

BYTES_PER_PARAMETER = {Precision.FLOAT32: 4, Precision.BFLOAT16: 2, Precision.FLOAT16: 2}
RESERVE = 600 << 20
"""Bytes kept free for activations and the device's own use."""
WORKING_CONTEXT = 4096
"""Tokens of keys and values that a model must have room for to be useful."""
_GIB = 1 << 30


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
    3. Otherwise in the place of as few of those as possible, in the order given.
    4. Otherwise the next device.

    Args:
        model: Name for people.
        footprint: Size of the model.
        devices: All devices, fastest first.
        resident: Device and bytes of every loaded model, by key, least recently used first.
        device: What the person asked for.
        precision: What the person asked for.

    Raises:
        InvalidParams: The device or precision does not exist here.
        OutOfMemory: It fits nowhere; says what is needed and what there is.
    """
    candidates = _candidates(devices, device)  # 1
    for place in candidates:
        chosen = _precision(place, precision)
        here = {key: size for key, (where, size) in resident.items() if where is place.device}
        evict = _make_room(_room(footprint, chosen) - place.free, here)  # 2, 3
        if evict is not None:
            return _placed(place, chosen, footprint, evict)
    raise _does_not_fit(model, footprint, candidates, precision)


def _candidates(devices: Sequence[DeviceMemory], device: Device) -> list[DeviceMemory]:
    candidates = [place for place in devices if device in {Device.AUTO, place.device}]
    if not candidates:
        found = ", ".join(repr(place.device.value) for place in devices)
        raise InvalidParams("device", f"{device.value!r} was not found on this machine, only {found}")
    return candidates


def _precision(place: DeviceMemory, precision: Precision) -> Precision:
    if precision is Precision.AUTO:
        slow = Precision.FLOAT32 if place.device is Device.CPU else Precision.FLOAT16
        return Precision.BFLOAT16 if place.fast_bfloat16 else slow
    if precision not in BYTES_PER_PARAMETER:
        choices = ", ".join(one.value for one in BYTES_PER_PARAMETER)
        raise InvalidParams("precision", f"{precision.value!r} is not available for this model; choose from {choices}")
    return precision


def _kv_bytes(footprint: Footprint, precision: Precision) -> int:
    tokens = min(footprint.window, WORKING_CONTEXT)
    return footprint.kv_per_token * tokens * BYTES_PER_PARAMETER[precision]


def _make_room(missing: int, resident: Mapping[Any, int]) -> tuple[Hashable, ...] | None:
    """Return what must leave to free `missing` bytes, or None if that is not enough."""
    leaving = []
    for key, size in resident.items():
        if missing <= 0:
            break
        leaving.append(key)
        missing -= size
    return tuple(leaving) if missing <= 0 else None


def _placed(place: DeviceMemory, precision: Precision, footprint: Footprint, evict: tuple[Hashable, ...]) -> Placement:
    need = footprint.parameters * BYTES_PER_PARAMETER[precision]
    why = f"{_gib(place.free)} of {_gib(place.total)} were free"
    if evict:
        why += f" and {_gib(_room(footprint, precision))} are needed, so another model left"
    reason = f"on {place.name} in {precision.value}, {_gib(need)}: {why}"
    headroom = _room(footprint, precision) - need
    return Placement(
        device=place.device, precision=precision, bytes=need, headroom=headroom, evict=evict, reason=reason
    )


def _does_not_fit(
    model: str, footprint: Footprint, places: Sequence[DeviceMemory], precision: Precision
) -> OutOfMemory:
    needs = [
        f"{_gib(_room(footprint, _precision(place, precision)))} on {place.name}, which has {_gib(place.free)} free of "
        f"{_gib(place.total)}"
        for place in places
    ]
    return OutOfMemory(
        f"The model {model} does not fit in memory: it needs {'; or '.join(needs)}. "
        "Close other programs, or choose a smaller model with the setting modelSet ('small' or 'starter').",
        model=model,
    )


def _room(footprint: Footprint, precision: Precision) -> int:
    return footprint.parameters * BYTES_PER_PARAMETER[precision] + RESERVE + _kv_bytes(footprint, precision)


def _gib(count: int) -> str:
    return f"{count / _GIB:.1f} GiB"
