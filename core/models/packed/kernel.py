"""The compiled functions that a packed model runs on."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from core.llvm import Library
from core.models.packed.activations import define_gate, define_norm, define_rotation
from core.models.packed.attention import define_attention
from core.models.packed.instructions import MakeDot
from core.models.packed.products import define_product
from core.models.quantize import LEVELS


class Kernel:
    """Compiled functions, with addresses and sizes as arguments; each is described where it is defined."""

    def __init__(self, make_dot: MakeDot) -> None:
        """Compile.

        Raises:
            RuntimeError: LLVM does not know an instruction.
        """
        module = ir.Module("packed")
        for bits in LEVELS:
            define_product(module, make_dot(module, bits), bits)
        define_norm(module)
        define_gate(module)
        define_rotation(module)
        self._library = Library(module)
        self._attention: dict[int, Library] = {}
        self.product = {bits: self._library.function(f"product{bits}", 4, 4) for bits in LEVELS}
        self.norm = self._library.function("norm", 3, 2)
        self.gate = self._library.function("gate", 2, 2)
        self.rotate = self._library.function("rotate", 3, 6)

    def attend(self, head_size: int) -> Callable[..., None]:
        """Return attention for heads of a size, compiled when it is first asked for."""
        if head_size not in self._attention:
            module = ir.Module("attention")
            define_attention(module, head_size)
            self._attention[head_size] = Library(module)
        return self._attention[head_size].function("attend", 4, 7)
