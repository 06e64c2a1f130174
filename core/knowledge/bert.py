"""The forward pass of a BERT sentence model, and nothing of what a library for all models adds to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import BertModel, PreTrainedTokenizerFast

from core.cores import free_cores
from core.knowledge.encoder import Encoder, Floats, States
from core.knowledge.wording import describe_wording

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Bert:
    """Embeds texts by the mean of their tokens, as a model of sentence-transformers does.

    The tokens of several texts go through the encoder one after the other, so that nothing is padded.
    """

    def __init__(self, bert: BertModel, encoder: Encoder, tokenizer: Tokenizer) -> None:
        embeddings = bert.embeddings
        places = embeddings.position_embeddings.weight + embeddings.token_type_embeddings.weight[0]
        self._tokenizer = tokenizer
        # A copy, so that the file of all weights need not stay mapped for this one.
        self._words: Floats = embeddings.word_embeddings.weight.detach().numpy().copy()
        self._places: Floats = places.detach().numpy()
        self._encoder = encoder

    @classmethod
    def of(cls, model: Any) -> Bert | None:
        """Return what does the work of a model of sentence-transformers, or None if this cannot.

        Its tokenizer is used on. Only the kind of transformer is looked at: whether the vectors are the
        model's is for the caller to try.
        """
        bert, tokenizer = getattr(model[0], "auto_model", None), getattr(model[0], "tokenizer", None)
        if not isinstance(bert, BertModel) or not isinstance(tokenizer, PreTrainedTokenizerFast):
            return None
        if bert.dtype != torch.float32 or bert.config.hidden_act != "gelu":
            return None
        encoder = Encoder.of(bert)
        if encoder is None:
            return None
        reads = min(tokenizer.model_max_length, bert.config.max_position_embeddings)
        backend = tokenizer.backend_tokenizer
        backend.no_padding()
        backend.enable_truncation(reads, direction=tokenizer.truncation_side)
        return cls(bert, encoder, backend)

    def embed(self, texts: Sequence[str]) -> Floats:
        """Return one unit vector per text, of which there is at least one."""
        states, lengths = self._encode(texts)
        return _means(states.last, lengths)

    def read(self, texts: Sequence[str]) -> tuple[Floats, Floats]:
        """Return what texts mean and how they are worded: two unit vectors for each."""
        states, lengths = self._encode(texts)
        ends = np.cumsum(lengths)[:-1]
        wording = np.stack([describe_wording(one) for one in np.split(states.middle, ends)])
        return _means(states.last, lengths), wording

    def _encode(self, texts: Sequence[str]) -> tuple[States, list[int]]:
        """Return the hidden states of all tokens, and how many each text has."""
        tokens = [self._tokenizer.encode(text).ids for text in texts]
        lengths = [len(one) for one in tokens]
        words = self._words[np.concatenate(tokens)]
        places = np.concatenate([self._places[:length] for length in lengths])
        # A thread that shared a core with another program would hold up the rest, so only free ones are taken.
        # Many texts are embedded for long, and leave a core to the editor as everything does that takes long.
        threads = free_cores() if len(texts) == 1 else min(free_cores(), torch.get_num_threads())
        return self._encoder.encode(words, places, lengths, threads), lengths


def _means(hidden: Floats, lengths: Sequence[int]) -> Floats:
    # The sum over a text's tokens points where their mean does.
    sums = np.add.reduceat(hidden, np.cumsum([0, *lengths[:-1]]), axis=0)
    vectors: Floats = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return vectors
