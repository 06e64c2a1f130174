"""A step in half as many kernels, where it consists of little else but starting them.

On a GPU, most kernels of a step for one token are those of normalisations and rotary embeddings as
transformers writes them, and each takes longer than its work. The same modules compute the same
here, with their own weights, in the kernels that torch has for more at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.nn import functional
from transformers import Cache, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from core.models.fixed_cache import HEADER, FixedCache, Reach

_KINDS = ("Llama", "Mistral", "Phi3", "Qwen2")
"""Architectures of transformers whose modules are alike."""


class FusedStep:
    """Lets modules of a model compute in fewer kernels, for as long as a step takes.

    The same numbers but for the last digits: what is computed at once is rounded once. Implements
    `core.models.static_model.StepPass`.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        replacements: dict[str, Callable[..., Any]] = {"RMSNorm": _normalise}
        if _turns_whole_heads(model):
            replacements |= {"Attention": _attend, "RotaryEmbedding": _find_angles}
        by_name = {f"{kind}{what}": compute for kind in _KINDS for what, compute in replacements.items()}
        self._replaced: list[tuple[Any, Callable[..., Any]]] = [
            (module, partial(by_name[type(module).__name__], module))
            for module in model.modules()
            if type(module).__name__ in by_name
        ]

    def compute(self, places: torch.Tensor, reach: int, cache: FixedCache) -> torch.Tensor:
        """Read some tokens; see `StepPass.compute`.

        Nothing here may depend on numbers that the host knows, but for the reach.
        """
        start, last, tokens = places[0], places[1], places[HEADER:]
        written = start + torch.arange(len(tokens), device=places.device)
        cache.aim(Reach(end=reach, positions=written))
        with self._replaced_modules():
            output = self._model(
                input_ids=tokens[None],
                # Some models choose their rotary frequencies by the largest position: that of padding must not count.
                position_ids=torch.minimum(written, last)[None],
                attention_mask=self._masks(written, reach, cache),
                past_key_values=cache,
                use_cache=True,
            )
        logits: torch.Tensor = output.logits[0]
        return logits

    def _masks(self, written: torch.Tensor, reach: int, cache: FixedCache) -> torch.Tensor | dict[str, torch.Tensor]:
        """Return what each token may look at, as transformers wants it: for each kind of layers if there are several.

        As numbers to be added, which kernels take as they are; truth values they would convert in every layer.
        """
        masks = {kind: self._mask(written, reach, window) for kind, window in cache.windows.items()}
        return next(iter(masks.values())) if len(masks) == 1 else masks

    def _mask(self, written: torch.Tensor, reach: int, window: int | None) -> torch.Tensor:
        behind = written[:, None] - torch.arange(reach, device=written.device)
        hidden = behind < 0 if window is None else (behind < 0) | (behind >= window)
        mask = torch.zeros(hidden.shape, dtype=self._model.dtype, device=written.device)
        return mask.masked_fill_(hidden, float("-inf"))[None, None]

    @contextmanager
    def _replaced_modules(self) -> Iterator[None]:
        """Replace what the modules do, and put it back."""
        for module, compute in self._replaced:
            module.forward = compute
        try:
            yield
        finally:
            for module, _ in self._replaced:
                del module.forward

    def give_up(self) -> bool:
        """Leave the modules as they are from now on; False if that was so already."""
        replaced, self._replaced = self._replaced, []
        return bool(replaced)


def _turns_whole_heads(model: PreTrainedModel) -> bool:
    """Whether attention is computed as `_attend` does: some models turn only a part of each head."""
    if model.config._attn_implementation != "sdpa":  # noqa: SLF001 - transformers has no other name for it
        return False
    modules: list[Any] = list(model.modules())
    turned = {2 * one.inv_freq.shape[-1] for one in modules if hasattr(one, "inv_freq")}
    return turned == {one.head_dim for one in modules if hasattr(one, "head_dim")}


def _normalise(norm: Any, states: torch.Tensor) -> torch.Tensor:
    return functional.rms_norm(states, norm.weight.shape, norm.weight, norm.variance_epsilon)


def _find_angles(rotary: Any, states: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return cosines, and sines whose first half is negative: that is how the first half of a head is turned."""
    cosines, sines = type(rotary).forward(rotary, states, position_ids)
    first, second = sines.chunk(2, dim=-1)
    return cosines, torch.cat((-first, second), dim=-1)


def _attend(
    attention: Any,
    hidden_states: torch.Tensor,
    position_embeddings: tuple[torch.Tensor, torch.Tensor],
    attention_mask: torch.Tensor,
    past_key_values: Cache,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Turn queries and keys together, and attend."""
    size, kv_heads = attention.head_dim, attention.config.num_key_value_heads
    if hasattr(attention, "qkv_proj"):
        everything = attention.qkv_proj(hidden_states)
        split = everything.shape[-1] - kv_heads * size
        turned, values = everything[..., :split], everything[..., split:]
    else:
        turned = torch.cat((attention.q_proj(hidden_states), attention.k_proj(hidden_states)), dim=-1)
        values = attention.v_proj(hidden_states)
    shape = (*hidden_states.shape[:-1], -1, size)
    heads = turned.view(shape)
    cosines, sines = (one.unsqueeze(2) for one in position_embeddings)
    heads = torch.addcmul(heads * cosines, heads.roll(size // 2, -1), sines).transpose(1, 2)
    queries, keys = heads[:, :-kv_heads], heads[:, -kv_heads:]
    keys, values = past_key_values.update(keys, values.view(shape).transpose(1, 2), attention.layer_idx)
    output, _none = sdpa_attention_forward(attention, queries, keys, values, attention_mask, scaling=attention.scaling)
    return attention.o_proj(output.reshape(*hidden_states.shape[:-1], -1)), None
