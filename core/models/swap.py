"""Bringing the weights of a model into the memory of a device, and letting them go.

Two ways. On the CPU the files themselves, as they lie in the page cache, are the weights: loading
binds the modules to them, unloading unbinds them. On other devices models take turns in an arena.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch

from core.cancellation import CancelToken
from core.errors import OutOfMemory
from core.models.arena import Arena, Tenant
from core.models.copying import CHUNK, Copier
from core.models.master import Masters
from core.models.skeleton import Skeleton

_MIB = 1 << 20
OnFraction = Callable[[float], None]


class WeightMemory(Protocol):
    """Where the weights of models lie."""

    @property
    def size(self) -> int:
        """Bytes that weights hold beside the page cache."""
        ...

    @property
    def reusable(self) -> int:
        """Bytes of it that are held for models that are not in use."""
        ...

    def load(self, skeleton: Skeleton, growth: int, token: CancelToken, on_fraction: OnFraction) -> None:
        """Bring a model's weights in, and bind the skeleton to them.

        Args:
            skeleton: The model.
            growth: Bytes that may be taken from the device.
            token: Looked at between chunks.
            on_fraction: Told how much is done, 0 to 1.

        Raises:
            Cancelled: The token was set. The model is not in use then, and can be loaded again.
            OutOfMemory: There is not enough room.
        """
        ...

    def evict(self, skeleton: Skeleton) -> None:
        """Let others have the memory of a model, at once or when they need it; moves nothing."""
        ...

    def release(self) -> None:
        """Give back what is held for models that are not in use."""
        ...


class SeparateMemory:
    """Each weight is a tensor of its own: on the CPU a view of the file, without a copy if its type is the same.

    Views of files stay when their model is evicted: the system takes such memory back by itself
    when it is short, and until then the model is there again at once.
    """

    size = 0
    reusable = 0

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._mapped: dict[Skeleton, bool] = {}
        """For each model whose weights are there, whether they are views of files."""

    def load(self, skeleton: Skeleton, growth: int, token: CancelToken, on_fraction: OnFraction) -> None:
        """Bind the skeleton to its files; see `WeightMemory.load`."""
        if skeleton not in self._mapped:
            sources, tensors = skeleton.read(), []
            for index, (weight, source) in enumerate(zip(skeleton.weights, sources, strict=True)):
                token.raise_if_cancelled()
                tensors.append(source.to(self._device, weight.dtype))
                on_fraction(index / len(sources))
            skeleton.bind(tensors, self._device)
            self._mapped[skeleton] = all(one is other for one, other in zip(sources, tensors, strict=True))
        skeleton.is_present = _always

    def evict(self, skeleton: Skeleton) -> None:
        """Let go of a model's weights, unless they are views of files."""
        skeleton.is_present = _never
        if not self._mapped[skeleton]:
            self._unbind(skeleton)

    def release(self) -> None:
        """Let go of the files of evicted models."""
        for skeleton in [one for one in self._mapped if not one.is_present()]:
            self._unbind(skeleton)

    def _unbind(self, skeleton: Skeleton) -> None:
        del self._mapped[skeleton]
        skeleton.unbind()


@dataclass(slots=True)
class _Place:
    """A model in the arena."""

    tenant: Tenant
    views: list[torch.Tensor]


class ArenaMemory:
    """Models take turns in an arena; what has not been overwritten meanwhile is not copied again."""

    def __init__(self, device: torch.device, copier: Copier, masters: Masters) -> None:
        self._device = device
        self._arena = Arena(device)
        self._copier = copier
        self._masters = masters
        self._places: dict[Skeleton, _Place] = {}

    @property
    def reusable(self) -> int:
        """Bytes that are held for models that are not in use."""
        return self._arena.reusable

    @property
    def size(self) -> int:
        """Bytes of the arena."""
        return self._arena.size

    def load(self, skeleton: Skeleton, growth: int, token: CancelToken, on_fraction: OnFraction) -> None:
        """Copy what is missing, in the order of the layers; see `WeightMemory.load`."""
        token.raise_if_cancelled()
        place = self._places.get(skeleton)
        if place is None or not self._arena.resume(place.tenant):
            place = self._settle(skeleton, growth)
        try:
            self._fill(skeleton, place, token, on_fraction)
        except BaseException:
            self._copier.wait()
            self._arena.leave(place.tenant)
            raise
        tenant, generation = place.tenant, place.tenant.generation
        skeleton.is_present = lambda: tenant.in_use and tenant.generation == generation
        skeleton.join = self._copier.join

    def evict(self, skeleton: Skeleton) -> None:
        """Let others overwrite a model's weights."""
        self._arena.leave(self._places[skeleton].tenant)

    def release(self) -> None:
        """Give back the segments in which no model is in use, and the copies of such models in host memory."""
        for skeleton, place in list(self._places.items()):
            if not place.tenant.in_use:
                self._give_back(skeleton)
        # Also of those that lost their place to others before: nothing reads a copy any more but for these.
        self._copier.wait()
        self._masters.release(but=self._places.keys())

    def _settle(self, skeleton: Skeleton, growth: int) -> _Place:
        """Give a model a place; if the places of models that are not in use are in the way, they go."""
        if skeleton in self._places:
            self._give_back(skeleton)
        sizes = [weight.bytes for weight in skeleton.weights]
        tenant = self._arena.settle(sizes, growth) or self._settle_anew(sizes, growth)
        if tenant is None:
            raise OutOfMemory(
                f"The model {skeleton.name} needs {skeleton.bytes / _MIB:.1f} MiB on {self._device} for its weights, "
                f"but only {(growth + self.reusable) / _MIB:.1f} MiB may be used.",
                model=skeleton.name,
            )
        views = [self._arena.view(tenant, index, one.shape, one.dtype) for index, one in enumerate(skeleton.weights)]
        self._places[skeleton] = _Place(tenant, views)
        skeleton.bind(views, self._device)
        return self._places[skeleton]

    def _settle_anew(self, sizes: list[int], growth: int) -> Tenant | None:
        held = self.size
        for skeleton, place in list(self._places.items()):
            if not place.tenant.in_use:
                self._give_back(skeleton)
        return self._arena.settle(sizes, growth + held - self.size)

    def _give_back(self, skeleton: Skeleton) -> None:
        self._copier.wait()
        skeleton.unbind()
        self._arena.give_back(self._places.pop(skeleton).tenant)

    def _fill(self, skeleton: Skeleton, place: _Place, token: CancelToken, on_fraction: OnFraction) -> None:
        missing = [index for index, present in enumerate(place.tenant.present) if not present]
        if not missing:
            return
        sources = self._masters.read(skeleton, token)
        total, done = sum(place.views[index].nbytes for index in missing), 0
        stages = skeleton.stages
        self._copier.begin()
        for index in missing:
            self._arena.begin_write(place.tenant, index)
            for target, source in _chunks(place.views[index], sources[index]):
                token.raise_if_cancelled()
                self._copier.copy(target, source)
                done += target.nbytes
            self._arena.end_write(place.tenant, index)
            self._copier.gate(stages[index])
            on_fraction(done / total)


def _chunks(target: torch.Tensor, source: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    count = max(1, CHUNK // target.itemsize)
    return zip(torch.split(target.view(-1), count), torch.split(source.reshape(-1), count), strict=True)


def _always() -> bool:
    return True


def _never() -> bool:
    return False
