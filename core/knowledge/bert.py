"""The forward pass of a BERT sentence model, and nothing of what a library for all models adds to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertModel, PreTrainedTokenizerFast

from core.knowledge.dense import Dense, find_gelu, join

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer


class Bert:
    """Embeds texts by the mean of their tokens, as a model of sentence-transformers does.

    The tokens of several texts go through the matrix products one after the other, so that
    nothing is padded.
    """

    def __init__(self, bert: BertModel, tokenizer: Tokenizer) -> None:
        embeddings = bert.embeddings
        self._tokenizer = tokenizer
        # A copy, so that the file of all weights need not stay mapped for this one.
        self._words = embeddings.word_embeddings.weight.detach().clone()
        self._places = (embeddings.position_embeddings.weight + embeddings.token_type_embeddings.weight[0]).detach()
        self._norm = embeddings.LayerNorm
        self._layers = [_Layer.of(layer, bert.config.num_attention_heads) for layer in bert.encoder.layer]

    @classmethod
    def of(cls, model: Any) -> Bert | None:
        """Return what does the work of a model of sentence-transformers, or None if this cannot.

        Its tokenizer and its weights are used on. Only the kind of transformer is looked at: whether
        the vectors are the model's is for the caller to try.
        """
        bert, tokenizer = getattr(model[0], "auto_model", None), getattr(model[0], "tokenizer", None)
        if not isinstance(bert, BertModel) or not isinstance(tokenizer, PreTrainedTokenizerFast):
            return None
        if bert.dtype != torch.float32 or bert.config.hidden_act != "gelu":
            return None
        reads = min(tokenizer.model_max_length, bert.config.max_position_embeddings)
        backend = tokenizer.backend_tokenizer
        backend.no_padding()
        backend.enable_truncation(reads, direction=tokenizer.truncation_side)
        return cls(bert, backend)

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector per text."""
        tokens = [self._tokenizer.encode(text).ids for text in texts]
        lengths = [len(one) for one in tokens]
        words = functional.embedding(torch.tensor([token for one in tokens for token in one]), self._words)
        hidden = self._norm(words + torch.cat([self._places[:length] for length in lengths]))
        for layer in self._layers:
            hidden = layer(hidden, lengths)
        means = torch.stack([one.mean(dim=0) for one in torch.split(hidden, lengths)])
        return functional.normalize(means).numpy()


@dataclass(frozen=True, slots=True)
class _Layer:
    heads: int
    asking: Dense
    """Queries, keys and values."""
    attended: Dense
    attention_norm: nn.Module
    wide: Dense
    gelu: Callable[[Tensor], Tensor]
    narrow: Dense
    output_norm: nn.Module

    @classmethod
    def of(cls, layer: Any, heads: int) -> _Layer:
        own = layer.attention.self
        return cls(
            heads=heads,
            asking=join([own.query, own.key, own.value]),
            attended=join([layer.attention.output.dense]),
            attention_norm=layer.attention.output.LayerNorm,
            wide=join([layer.intermediate.dense]),
            gelu=find_gelu(),
            narrow=join([layer.output.dense]),
            output_norm=layer.output.LayerNorm,
        )

    def __call__(self, hidden: Tensor, lengths: Sequence[int]) -> Tensor:
        hidden = self.attention_norm(self.attended(self._attend(hidden, lengths)).add_(hidden))
        result: Tensor = self.output_norm(self.narrow(self.gelu(self.wide(hidden))).add_(hidden))
        return result

    def _attend(self, hidden: Tensor, lengths: Sequence[int]) -> Tensor:
        """Return, for every token, what the heads gather from the tokens of its own text."""
        mixed = self.asking(hidden).view(hidden.shape[0], 3, self.heads, -1)
        gathered = []
        for text in torch.split(mixed, list(lengths)):
            query, key, value = text.permute(1, 2, 0, 3).unsqueeze(1)
            gathered.append(functional.scaled_dot_product_attention(query, key, value)[0].transpose(0, 1))
        return torch.cat(gathered).reshape(hidden.shape)
