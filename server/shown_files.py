"""Files for texts that an editor without a panel shows as documents."""

from __future__ import annotations

import tempfile
from pathlib import Path


class ShownFiles:
    """The files of one server, in a folder that only its user can read.

    They stay when the server ends, since the person may still have them open; they lie where
    the system cleans up by itself.
    """

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._conversations: dict[str, Path] = {}
        self._count = 0

    def append(self, conversation_id: str, text: str) -> Path:
        """Add a turn to a conversation's file and return its path."""
        path = self._conversations.get(conversation_id)
        if path is None:
            path = self._conversations[conversation_id] = self._new_path("explanation", ".md")
        _write(path, text, "a")
        return path

    def create(self, stem: str, suffix: str, text: str) -> Path:
        """Write a new file and return its path."""
        path = self._new_path(stem, suffix)
        _write(path, text, "w")
        return path

    def _new_path(self, stem: str, suffix: str) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="ai-codegen-assistant-"))
        self._count += 1
        return self._folder / f"{stem}-{self._count}{suffix}"


def _write(path: Path, text: str, mode: str) -> None:
    # Text from editors may hold lone surrogates, which UTF-8 cannot carry.
    with path.open(mode, encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
