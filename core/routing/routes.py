"""Routes: what people say when they want an explanation, and when they want code."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import count
from pathlib import Path
from typing import Any

from core.errors import StorageFailed
from core.messages import Intent

_FILLINGS = 2
"""How many times an utterance with a placeholder is filled in."""
_PLACEHOLDER = re.compile(r"\{(thing|do|does)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """An intent and things people say when they have it."""

    intent: Intent
    utterances: tuple[str, ...]


def load_routes(extension: Path | None = None) -> list[Route]:
    """Return the routes that come with the program, with a person's own utterances added.

    Args:
        extension: A file of the same form; it is no matter if it does not exist.

    Raises:
        StorageFailed: The person's file cannot be used; the message says why.
    """
    own = tomllib.loads(resources.files("core.routing").joinpath("data", "routes.toml").read_text("utf-8"))
    things, actions = own["things"], own["actions"]
    routes = _read(own, things, actions)
    if extension is not None and extension.exists():
        routes += _read_extension(extension, things, actions)
    return [
        Route(
            intent=intent,
            utterances=tuple(text for route in routes if route.intent is intent for text in route.utterances),
        )
        for intent in Intent
    ]


def _read_extension(path: Path, things: Sequence[str], actions: Sequence[Sequence[str]]) -> list[Route]:
    try:
        return _read(tomllib.loads(path.read_text("utf-8")), things, actions)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageFailed(
            f"The routes in {path} cannot be used ({type(error).__name__}: {error}). "
            'Each needs the form: [[route]] intent = "explain" or "generate", utterances = ["..."]',
            path=str(path),
        ) from error


def _read(data: Mapping[str, Any], things: Sequence[str], actions: Sequence[Sequence[str]]) -> list[Route]:
    return [
        Route(intent=Intent(entry["intent"]), utterances=tuple(_fill(entry["utterances"], things, actions)))
        for entry in data["route"]
    ]


def _fill(utterances: Sequence[str], things: Sequence[str], actions: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the utterances with things and actions in the place of placeholders, going round both lists."""
    thing, action = count(), count()

    def replacement(match: re.Match[str]) -> str:
        if match.group(1) == "thing":
            return things[next(thing) % len(things)]
        infinitive, third_person = actions[next(action) % len(actions)]
        return infinitive if match.group(1) == "do" else third_person

    for utterance in utterances:
        for _ in range(_FILLINGS if _PLACEHOLDER.search(utterance) else 1):
            yield _PLACEHOLDER.sub(replacement, utterance)
