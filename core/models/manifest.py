"""What was installed in a folder: written last, so that its presence means "complete".

Standard library only.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
SOURCE_GGUF = "source.gguf"
"""What a converted model was converted from, if it was downloaded."""
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """One installed file."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything that was installed in one folder, and where it came from."""

    name: str
    source: Mapping[str, Any]
    files: Mapping[str, FileRecord]
    """By path below the folder, with forward slashes."""

    def find_problem(self, folder: Path) -> str | None:
        """Return a sentence about the first file that is gone or has another size.

        Contents are not read: that takes seconds for a large model, and loading checks them too.
        """
        for name, record in self.files.items():
            file = folder / name
            if not file.is_file():
                return f"{file} is missing."
            if file.stat().st_size != record.bytes:
                return f"{file} has {file.stat().st_size} bytes instead of {record.bytes}."
        return None

    def find_damage(self, folder: Path, on_block: Callable[[int], None]) -> str | None:
        """Like `find_problem`, but reads every file and compares its checksum.

        Args:
            folder: Where the files lie.
            on_block: Called with the size of each block read; may raise to stop.
        """
        if problem := self.find_problem(folder):
            return problem
        for name, record in self.files.items():
            if (found := sha256_of(folder / name, on_block)) != record.sha256:
                return f"{folder / name} has the checksum {found} instead of {record.sha256}."
        return None


def read_manifest(folder: Path) -> Manifest | None:
    """Return the folder's manifest, or None if nothing was completely installed there."""
    try:
        data = json.loads((folder / MANIFEST).read_text("utf-8"))
        files = {name: FileRecord(**record) for name, record in data["files"].items()}
        return Manifest(name=data["name"], source=data["source"], files=files)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_manifest(folder: Path, name: str, source: Any, on_block: Callable[[int], None]) -> None:
    """Record every file below `folder`, which came from `source` (a dataclass)."""
    files = {
        file.relative_to(folder).as_posix(): {"sha256": sha256_of(file, on_block), "bytes": file.stat().st_size}
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST
    }
    kind = type(source).__name__.removesuffix("Source").lower()
    data = {"name": name, "source": {"kind": kind, **dataclasses.asdict(source)}, "files": files}
    (folder / MANIFEST).write_text(json.dumps(data, indent=2) + "\n", "utf-8")


def sha256_of(file: Path, on_block: Callable[[int], None]) -> str:
    """Return the checksum of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
            on_block(len(block))
    return digest.hexdigest()


def find_gguf(folder: Path) -> Path | None:
    """Return the GGUF file that a model folder was converted from, while it is there."""
    manifest = read_manifest(folder)
    named = [Path(str(manifest.source["path"]))] if manifest and manifest.source.get("kind") == "file" else []
    return next((file for file in (folder / SOURCE_GGUF, *named) if file.is_file()), None)
