"""Turns a GGUF file into safetensors, tokenizer.json and config.json; a program of its own.

Usage: python -m core.models.convert GGUF FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from core.errors import AssistantError, ModelDamaged
from core.models.child import fail, report_progress


def convert(gguf: Path, target: Path) -> None:
    """Unpack all weights to bfloat16; the tokenizer keeps its chat template.

    Raises:
        ModelDamaged: The file is no GGUF file of a language model that transformers knows.
    """
    import torch  # noqa: PLC0415 - heavy; this module is also imported for its name
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig  # noqa: PLC0415

    try:
        report_progress(0, 4)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
        report_progress(1, 4)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),
            local_files_only=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, NotImplementedError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelDamaged(f"{gguf} cannot be converted: {reason}", file=str(gguf)) from error
    report_progress(3, 4)
    tokenizer.save_pretrained(target)
    model.save_pretrained(target)
    report_progress(4, 4)


def main() -> int:
    """Convert what the command line names."""
    try:
        convert(Path(sys.argv[1]), Path(sys.argv[2]))
    except AssistantError as error:
        return fail(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
