"""What packing costs in quality: `python -m bench.quantisation [MODEL ...] [--json]`.

Each model is a reference as in the settings; without any, it is the one that writes code in the
starter set. It must be packed, as models are when they are installed on a machine without a GPU.
What is compared is the model in its own folder, computed by transformers in float32:

- each layer: the distance of its packed weights from the stored ones, over the length of those;
- the whole model, over texts of this project, one in English and one in Python: how far its
  predictions are off (mean Kullback-Leibler divergence, in nats), how often the likeliest token is
  the same, and the perplexity;
- the same for the model in bfloat16, which is what runs where nothing is packed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from bench.decode import starter_model
from bench.figures import finish, show
from core.cancellation import CancelToken
from core.models.installer import Installer
from core.models.manifest import find_gguf
from core.models.packed.config import DecoderConfig
from core.models.packed.facts import DEFAULT_BITS, FOLDERS, read_facts
from core.models.packed.gguf_source import GgufSource
from core.models.packed.sources import SafetensorsSource, WeightSource
from core.models.packed.store import open_decoder
from core.models.quantize import Matrix
from core.models.registry import ModelRegistry
from core.models.weights import weigh
from core.paths import DataFolders

TOKENS = 512
"""Of each text."""
ROOT = Path(__file__).resolve().parent.parent
TEXTS = {"prose": ROOT / "README.md", "code": ROOT / "core" / "models" / "chat.py"}
MATRICES = {
    "attention": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.qkv_proj"),
    "attention output": ("self_attn.o_proj",),
    "feed forward": ("mlp.gate_proj", "mlp.up_proj", "mlp.gate_up_proj"),
    "down": ("mlp.down_proj",),
}
Predict = Callable[[Sequence[int]], torch.Tensor]
"""Returns the logits after each token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """How far predictions are from those of the reference."""

    divergence: float
    """Mean, in nats."""
    same_first: float
    """Share of tokens after which the same one is the likeliest."""
    perplexity: float
    """Over that of the reference."""


def main() -> None:
    """Measure and print the figures; the last line is one JSON object."""
    options = read_options(__doc__)
    registry = ModelRegistry(DataFolders(options.home) if options.home else DataFolders.locate())
    references = options.models or [starter_model(registry)]
    with torch.inference_mode():
        found = [_measure_model(reference, registry, quiet=options.json) for reference in references]
    finish({"models": found})


def _measure_model(reference: str, registry: ModelRegistry, *, quiet: bool) -> dict[str, Any]:
    folder = Installer(registry).ensure(reference, lambda _: None, CancelToken())
    facts = read_facts(folder)
    if facts is None:
        message = f"{reference} is not packed. Install it on a machine without a GPU: ai-codegen-assistant models pull"
        raise SystemExit(message)
    config = DecoderConfig.of(AutoConfig.from_pretrained(folder, local_files_only=True))
    errors = layer_errors(_open_source(folder), config.layers)
    losses = measure_losses(folder, config)
    result = {
        "name": Path(reference).name,
        "bitsPerWeight": round(8 * facts.bytes / weigh(folder).parameters, 2),
        "layers": errors,
        **{name: {text: rounded(loss) for text, loss in by_text.items()} for name, by_text in losses.items()},
    }
    if not quiet:
        names = [*MATRICES]
        show(
            f"{result['name']}: relative error of weights by layer, {result['bitsPerWeight']} bits per weight in all",
            [("layer", "  ".join(names))]
            + [
                (str(number), "  ".join(f"{one[name]:{len(name)}.4f}" for name in names))
                for number, one in enumerate(errors)
            ],
        )
        rows = [
            (f"{name}, {text}", json.dumps(rounded(loss)))
            for name, by_text in losses.items()
            for text, loss in by_text.items()
        ]
        show(f"{result['name']}: predictions, against float32", rows)
    return result


def layer_errors(source: WeightSource, layers: int) -> list[dict[str, float]]:
    """Return, for each layer and kind of matrix, the relative error of its packed weights."""
    return [
        {kind: round(_relative_error(source, number, parts), 4) for kind, parts in MATRICES.items()}
        for number in range(layers)
    ]


def _relative_error(source: WeightSource, layer: int, parts: Sequence[str]) -> float:
    names = [name for part in parts if (name := f"model.layers.{layer}.{part}.weight") in source]
    off = length = 0.0
    for name in names:
        exact = source.exact(name)
        off += float((_as_stored(source.matrix(name)).dequantize() - exact).square().sum())
        length += float(exact.square().sum())
    return float((off / length) ** 0.5)


def _as_stored(matrix: Matrix) -> Matrix:
    """Round what stands beside the codes to bfloat16, as packing does."""
    beside = [field.name for field in fields(matrix) if field.name != "codes"]
    return replace(matrix, **{name: getattr(matrix, name).bfloat16().float() for name in beside})


def measure_losses(folder: Path, config: DecoderConfig) -> dict[str, dict[str, Loss]]:
    """Return the loss of the packed model and of bfloat16, by text."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    texts = {name: tokenizer(file.read_text("utf-8"))["input_ids"][:TOKENS] for name, file in TEXTS.items()}
    exact = _predict_all(_open_plain(folder, torch.float32), texts)
    predictions = {
        "packed": _predict_all(_open_packed(folder, config), texts),
        "bfloat16": _predict_all(_open_plain(folder, torch.bfloat16), texts),
    }
    return {
        name: {text: compare(by_text[text], exact[text], tokens) for text, tokens in texts.items()}
        for name, by_text in predictions.items()
    }


def compare(found: torch.Tensor, exact: torch.Tensor, tokens: Sequence[int]) -> Loss:
    """Compare logits after each token of a text."""
    ours, theirs = found.float().log_softmax(-1), exact.float().log_softmax(-1)
    following = torch.tensor(tokens[1:])[:, None]
    surprise = [-one[:-1].gather(1, following).mean() for one in (ours, theirs)]
    return Loss(
        divergence=float((theirs.exp() * (theirs - ours)).sum(-1).mean()),
        same_first=float((ours.argmax(-1) == theirs.argmax(-1)).float().mean()),
        perplexity=float((surprise[0] - surprise[1]).exp()),
    )


def _predict_all(predict: Predict, texts: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    return {name: predict(tokens) for name, tokens in texts.items()}


def _open_plain(folder: Path, dtype: torch.dtype) -> Predict:
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
    return lambda tokens: model(torch.tensor([list(tokens)])).logits[0]


def _open_packed(folder: Path, config: DecoderConfig) -> Predict:
    token = CancelToken()
    decoder = open_decoder(folder / FOLDERS[DEFAULT_BITS], SafetensorsSource(folder), config, token)
    return lambda tokens: decoder.decode(tokens, decoder.new_cache(), token)


def _open_source(folder: Path) -> WeightSource:
    gguf = find_gguf(folder)
    return GgufSource(gguf) if gguf else SafetensorsSource(folder)


def rounded(loss: Loss) -> dict[str, float]:
    """Return the figures as they are printed."""
    return {
        "divergence": round(loss.divergence, 5),
        "sameFirst": round(loss.same_first, 4),
        "perplexityRatio": round(loss.perplexity, 4),
    }


def read_options(description: str | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0] if description else None)
    parser.add_argument("models", nargs="*", help="a model of a set, a model folder or a GGUF file")
    parser.add_argument("--home", type=Path, help="data folder to install into, if not the usual one")
    parser.add_argument("--json", action="store_true", help="print the figures only")
    return parser.parse_args()


if __name__ == "__main__":
    main()
