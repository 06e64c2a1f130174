"""What quantising for a small GPU costs in quality: `python -m bench.gpu_quality [MODEL ...] [--json]`.

Each model is a reference as in the settings; without any, it is the one that writes code in the
starter set. Computed on the CPU, by the same layers that run on a GPU:

- each layer: the distance of its quantised weights from the stored ones, over the length of those;
- the whole model, over texts of this project: how far its predictions are off from those in float32
  (mean Kullback-Leibler divergence, in nats), how often the likeliest token is the same, and the perplexity.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from bench.decode import starter_model
from bench.figures import finish, show
from bench.quantisation import TEXTS, TOKENS, compare, read_options, rounded
from core.cancellation import CancelToken
from core.models.installer import Installer
from core.models.quantised_linear import quantisable, rounding_error
from core.models.registry import ModelRegistry
from core.paths import DataFolders
from core.settings import Precision

PRECISIONS = (Precision.INT8, Precision.INT4)


def main() -> None:
    """Measure and print the figures; the last line is one JSON object."""
    options = read_options(__doc__)
    registry = ModelRegistry(DataFolders(options.home) if options.home else DataFolders.locate())
    with torch.inference_mode():
        found = [_measure(one, registry, quiet=options.json) for one in options.models or [starter_model(registry)]]
    finish({"models": found})


def _measure(reference: str, registry: ModelRegistry, *, quiet: bool) -> dict[str, Any]:
    folder = Installer(registry).ensure(reference, lambda _: None, CancelToken())
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    texts = {name: tokenizer(file.read_text("utf-8"))["input_ids"][:TOKENS] for name, file in TEXTS.items()}
    exact = _predict(_load(folder), texts)
    result: dict[str, Any] = {"name": Path(reference).name}
    for precision in PRECISIONS:
        model = _load(folder)
        errors = _round(model, precision)
        found = _predict(model, texts)
        losses = {name: rounded(compare(found[name], exact[name], tokens)) for name, tokens in texts.items()}
        result[precision.value] = {"layers": errors, **losses}
        if not quiet:
            title = f"{result['name']} in {precision.value}: relative error of weights"
            show(title, [(name, f"{error:.4f}") for name, error in errors.items()])
            show(f"{result['name']} in {precision.value}: predictions", [(k, str(v)) for k, v in losses.items()])
    return result


def _load(folder: Path) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return model


def _round(model: PreTrainedModel, precision: Precision) -> dict[str, float]:
    """Let a model have the weights that quantised ones stand for; returns the error of each layer."""
    errors: dict[str, list[float]] = defaultdict(list)
    for name, layer, kind in quantisable(model, precision):
        found = re.search(r"layers\.(\d+)\.", name)
        quantised = kind.of(layer)
        errors[f"layer {found[1]}" if found else name].append(rounding_error(layer, quantised))
        layer.weight.data = quantised.dequantise()
    return {name: round((sum(one * one for one in each) / len(each)) ** 0.5, 4) for name, each in errors.items()}


def _predict(model: PreTrainedModel, texts: Mapping[str, Sequence[int]]) -> dict[str, torch.Tensor]:
    return {name: model(torch.tensor([list(tokens)])).logits[0] for name, tokens in texts.items()}


if __name__ == "__main__":
    main()
