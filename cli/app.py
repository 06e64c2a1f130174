"""The command line's entry."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status."""
    raise SystemExit(f"no such command: {arguments}")
