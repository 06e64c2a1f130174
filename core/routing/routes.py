"""Routes: what people say when they want an explanation, and when they want code."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources

from core.messages import Intent


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """An intent and things people say when they have it."""

    intent: Intent
    utterances: tuple[str, ...]


def load_routes() -> list[Route]:
    """Return the routes that come with the program."""
    text = resources.files("core.routing").joinpath("data", "routes.toml").read_text("utf-8")
    return [
        Route(intent=Intent(entry["intent"]), utterances=tuple(entry["utterances"]))
        for entry in tomllib.loads(text)["route"]
    ]
