"""Linear layers that keep their weights in 8 or 4 bits, for devices that the whole model does not fit into.

Plain torch operations, which every device has: the weights of one layer at a time are turned back
into the type that the model computes in. They are parameters like any other: they lie in the
arena, are swapped, and keep their address.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from typing import Self

import torch
from torch import nn
from torch.nn import functional

from core.models.quantize import GROUP, quantize, quantize_rows
from core.settings import Precision

Multiply = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Maps (tokens, columns), with codes in 8 bits and a scale for each row, to (tokens, rows)."""
FEW = 8
"""Tokens up to which the time of a product goes into reading weights."""
_BITS, _LOW = 4, 15
_CENTRE = 8
"""The code that stands for a zero, so that what is computed with is small, and rounded little."""
_PROBE = (4096, 3072)
"""Shape of the matrix that products are tried with."""
_NEAR = 0.02
"""Share of the largest result by which another order of adding, and of rounding, may change one."""
_ROUNDS = 5


class _Quantised(nn.Module, ABC):
    """What both kinds have in common."""

    @classmethod
    def of(cls, layer: nn.Linear) -> Self:
        """Quantise a layer, to compute in its own type."""
        quantised = cls(layer.out_features, layer.in_features, layer.bias)
        for name, tensor in cls.quantise(layer.weight.data).items():
            kept = tensor.to(layer.weight.device, layer.weight.dtype if tensor.is_floating_point() else None)
            setattr(quantised, name, nn.Parameter(kept, requires_grad=False))
        return quantised

    def __init__(self, rows: int, columns: int, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.bias = bias

    @staticmethod
    @abstractmethod
    def quantise(weights: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the parameters that stand for weights."""

    @abstractmethod
    def dequantise(self) -> torch.Tensor:
        """Return the weights."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Multiply by the weights."""
        return functional.linear(inputs, self.dequantise(), self.bias)


class Int8Linear(_Quantised):
    """Each row of the weights has a scale."""

    def __init__(self, rows: int, columns: int, bias: nn.Parameter | None) -> None:
        super().__init__(rows, columns, bias)
        self.codes = _parameter(torch.int8, rows, columns)
        self.scales = _parameter(torch.float32, rows)
        self.multiply_few: Multiply | None = None
        """A faster product for few tokens, where the device has one."""

    @staticmethod
    def quantise(weights: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the parameters that stand for weights."""
        codes, scales = quantize_rows(weights, torch.bfloat16)
        return {"codes": codes, "scales": scales.bfloat16()}

    def dequantise(self) -> torch.Tensor:
        """Return the weights."""
        return self.codes * self.scales[:, None]

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Multiply by the weights."""
        flat = inputs.reshape(-1, inputs.shape[-1])
        if self.multiply_few is None or len(flat) > FEW:
            return super().forward(inputs)
        product = self.multiply_few(flat, self.codes, self.scales).view(*inputs.shape[:-1], -1)
        return product if self.bias is None else product + self.bias


class Int4Linear(_Quantised):
    """Groups of neighbours in a row of the weights share a scale and a zero."""

    def __init__(self, rows: int, columns: int, bias: nn.Parameter | None) -> None:
        super().__init__(rows, columns, bias)
        self.codes = _parameter(torch.uint8, rows, columns // 2)
        """Those of the first half of the columns in the low bits, of the second half in the high ones."""
        self.scales = _parameter(torch.float32, rows, columns // GROUP)
        self.zeros = _parameter(torch.float32, rows, columns // GROUP)

    @staticmethod
    def quantise(weights: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the parameters that stand for weights."""
        matrix = quantize(weights, _BITS, stored=torch.bfloat16)
        first, second = matrix.codes.chunk(2, dim=1)
        codes = first | (second << _BITS)
        zeros = matrix.lows + _CENTRE * matrix.scales
        return {"codes": codes, "scales": matrix.scales.bfloat16(), "zeros": zeros.bfloat16()}

    def dequantise(self) -> torch.Tensor:
        """Return the weights."""
        rows, groups = self.scales.shape
        codes = torch.cat([self.codes & _LOW, self.codes >> _BITS], dim=1).view(rows, groups, GROUP)
        weights = codes.to(self.scales.dtype).sub_(_CENTRE)
        return weights.mul_(self.scales[..., None]).add_(self.zeros[..., None]).view(rows, -1)


QuantisedLinear = Int8Linear | Int4Linear


def quantisable(model: nn.Module, precision: Precision) -> Iterator[tuple[str, nn.Linear, type[QuantisedLinear]]]:
    """Yield the layers whose weights are quantised, in the order in which they run, with what takes their place.

    Weights that are used elsewhere too, as tied ones are by the embedding, stay as they are. What chooses
    the tokens stays in 8 bits.
    """
    shared = _shared(model)
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear) and layer.weight not in shared:
            divides = layer.in_features % (2 * GROUP) == 0
            is_fine = precision is Precision.INT8 or "." not in name or not divides
            yield name, layer, Int8Linear if is_fine else Int4Linear


def rounding_error(layer: nn.Linear, quantised: QuantisedLinear) -> float:
    """Return the distance of a layer's quantised weights from its own, over the length of those."""
    weights = layer.weight.detach().float()
    return float((quantised.dequantise().float() - weights).norm() / weights.norm())


def replace_linears(model: nn.Module, precision: Precision) -> None:
    """Put quantised layers, whose weights are still to come, in the place of those that `quantisable` yields."""
    for name, layer, kind in list(quantisable(model, precision)):
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, kind(layer.out_features, layer.in_features, layer.bias))


def use_kernel(model: nn.Module, kernel: Multiply | None) -> None:
    """Let all layers in 8 bits use a product for few tokens."""
    for layer in model.modules():
        if isinstance(layer, Int8Linear):
            layer.multiply_few = kernel


@torch.inference_mode()
def find_kernel(
    device: torch.device,
    dtype: torch.dtype,
    kernel: Multiply = torch._weight_int8pack_mm,  # noqa: SLF001
) -> Multiply | None:
    """Return a kernel if it is right on a device, and faster than what plain operations do.

    Newer releases of torch have one for CUDA; in the first of them it was slow.
    """
    generator = torch.Generator().manual_seed(0)
    rows, columns = _PROBE
    exact = nn.Linear(columns, rows, bias=False, device=device, dtype=dtype)
    exact.weight.data = torch.randn(_PROBE, generator=generator).to(device, dtype)
    layer = Int8Linear.of(exact)
    for tokens in (1, FEW):
        inputs = torch.randn(tokens, columns, generator=generator).to(device, dtype)
        plain, plain_seconds = _timed(partial(layer, inputs), device)
        try:
            found, seconds = _timed(partial(kernel, inputs, layer.codes, layer.scales), device)
        except RuntimeError:
            return None
        off = float((found.float() - plain.float()).abs().max() / plain.float().abs().max())
        if found.dtype != plain.dtype or not off < _NEAR or seconds > plain_seconds:
            return None
    return kernel


def _timed(compute: Callable[[], torch.Tensor], device: torch.device) -> tuple[torch.Tensor, float]:
    """Return a result, and the least time it took."""
    result, times = compute(), []
    for _ in range(_ROUNDS):
        _wait(device)
        started = time.perf_counter()
        result = compute()
        _wait(device)
        times.append(time.perf_counter() - started)
    return result, min(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _parameter(dtype: torch.dtype, *shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape, dtype=dtype, device="meta"), requires_grad=False)


def _shared(model: nn.Module) -> set[nn.Parameter]:
    """Return the parameters that are used at several places."""
    seen: set[nn.Parameter] = set()
    shared: set[nn.Parameter] = set()
    for _, parameter in model.named_parameters(remove_duplicate=False):
        (shared if parameter in seen else seen).add(parameter)
    return shared
