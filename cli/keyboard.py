"""Reading what a person types."""

from __future__ import annotations

import sys
from pathlib import Path

from cli.parser import read_text

END_OF_BLOCK = "."


def read_line(prompt: str) -> str:
    """Read one line; the prompt goes to standard error, so that answers can be piped.

    Raises:
        EOFError: Ctrl-D, or the input has ended.
    """
    if sys.stdout.isatty():
        return input(prompt)
    sys.stderr.write(prompt)
    sys.stderr.flush()
    return input()


def read_block(invitation: str) -> str:
    """Read lines up to a single dot or Ctrl-D; a first line `@FILE` reads that file instead."""
    sys.stderr.write(invitation + "\n")
    lines: list[str] = []
    while True:
        try:
            line = read_line("")
        except EOFError:
            break
        if line == END_OF_BLOCK:
            break
        if not lines and line.startswith("@") and Path(line[1:].strip()).is_file():
            return read_text(Path(line[1:].strip()))
        lines.append(line)
    return "".join(f"{line}\n" for line in lines)


def enable_history(file: Path) -> None:
    """Let the arrow keys edit lines and bring back earlier ones, also those of past sessions."""
    try:
        import readline  # noqa: PLC0415 - not on every platform
    except ImportError:
        return
    readline.set_history_length(1000)
    readline.set_auto_history(True)
    if file.exists():
        readline.read_history_file(file)


def save_history(file: Path) -> None:
    """Keep the lines of this session for the next one."""
    try:
        import readline  # noqa: PLC0415 - not on every platform
    except ImportError:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    readline.write_history_file(file)
