"""Weights without a place of their own."""

from __future__ import annotations


class Still:
    """Weights that stay; implements `core.models.static_model.Weights`."""

    moves = 0

    def require(self) -> None:
        """They are there."""
