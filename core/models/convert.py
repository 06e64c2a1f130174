"""Turns a GGUF file into safetensors, tokenizer.json and config.json; a program of its own.

Usage: python -m core.models.convert GGUF FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from core.errors import AssistantError, ModelDamaged, StorageFailed
from core.models.child import fail, report_progress


def convert(gguf: Path, target: Path) -> None:
    """Unpack all weights to bfloat16; the tokenizer keeps its chat template.

    Raises:
        Exception: Whatever the libraries raise for a file that they cannot read.
    """
    import torch  # noqa: PLC0415 - heavy, and an error here is reported
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig  # noqa: PLC0415

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
    report_progress(3, 4)
    tokenizer.save_pretrained(target)
    model.save_pretrained(target)
    report_progress(4, 4)


def main() -> int:
    """Convert what the command line names."""
    gguf, target = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        convert(gguf, target)
    except Exception as error:  # noqa: BLE001 - the libraries have no common base for files they cannot read
        return fail(_explain(gguf, target, error))
    return 0


def _explain(gguf: Path, target: Path, error: Exception) -> AssistantError:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    if "No space left" in reason:
        return StorageFailed(f"There is no room for the converted model in {target}. Free some and try again.")
    return ModelDamaged(
        f"{gguf} cannot be converted: {reason}. Check that the file is complete and a language model that the "
        "installed version of transformers knows.",
        file=str(gguf),
    )


if __name__ == "__main__":
    sys.exit(main())
