"""What was packed beside a model.

Packed weights are derived: they are no part of what was installed, can be made again from it, and
count only if this file says that they are complete.

Standard library only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from core import codec
from core.errors import InvalidParams

DEFAULT_BITS = 4
"""What a model is packed in when it is installed."""
FOLDERS = {DEFAULT_BITS: "packed", 8: "packed-int8"}
"""Where packed weights are, below the model's folder, by bits."""
FACTS = "packed.json"
"""Written last."""
FORMAT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PackFacts:
    """What there is."""

    format: int
    speedup: float
    """How many times as fast as bfloat16 a product with one token was when this was made."""
    files: dict[str, int]
    """Bytes by name."""

    @property
    def current(self) -> bool:
        """Whether this version can use it; what another one has packed is there, but must be packed again."""
        return self.format == FORMAT

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(self.files.values())


def read_facts(model: Path, bits: int = DEFAULT_BITS) -> PackFacts | None:
    """Return what is packed below a model's folder, or None if nothing is, or not completely."""
    folder = model / FOLDERS[bits]
    try:
        facts = codec.decode(PackFacts, json.loads((folder / FACTS).read_text("utf-8")))
        complete = all((folder / name).stat().st_size == size for name, size in facts.files.items())
    except (OSError, ValueError, InvalidParams):
        return None
    return facts if complete else None


def write_facts(folder: Path, speedup: float) -> None:
    """Declare everything in a folder complete."""
    files = {file.name: file.stat().st_size for file in sorted(folder.iterdir()) if file.name != FACTS}
    facts = PackFacts(format=FORMAT, speedup=round(speedup, 2), files=files)
    (folder / FACTS).write_text(json.dumps(codec.encode(facts)) + "\n", "utf-8")
