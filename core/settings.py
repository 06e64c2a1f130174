"""What a person may set, with defaults and limits.

The names on the wire are those of the editor's section `aiCodegenAssistant`. Every client
sends its own settings; the engine keeps none.

Standard library only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from core import codec
from core.errors import InvalidParams

SECTION = "aiCodegenAssistant"


class Device(StrEnum):
    """Where language models run."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class Precision(StrEnum):
    """The type of a language model's weights."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT8 = "int8"
    INT4 = "int4"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Overrides the model set, role by role: a hub id, a local folder or a GGUF file."""

    explain: str = ""
    generate: str = ""
    embed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings that reach the engine."""

    model_set: str = "starter"
    """`starter`, `small` or `full`."""
    models: ModelChoice = field(default_factory=ModelChoice)
    device: Device = Device.AUTO
    precision: Precision = Precision.AUTO
    threshold: float = 0.0
    """Similarity from which a stored task counts as known; 0 takes the calibrated value."""
    sources: int = 3
    """How many stored tasks may ground one generation."""
    explain_max_tokens: int = 512
    generate_max_tokens: int = 512
    conversation_tokens: int = 0
    """Limit of a conversation's prompt; 0 takes all that the model's context allows."""
    keep_alive: float = 300.0
    """Seconds a model stays loaded without work; 0 keeps it."""
    engine_idle: float = 900.0
    """Seconds the engine stays without clients or work."""


_LIMITS: dict[str, tuple[float, float]] = {
    "threshold": (0.0, 1.0),
    "sources": (1, 10),
    "explain_max_tokens": (16, 4096),
    "generate_max_tokens": (16, 4096),
    "conversation_tokens": (0, 131072),
    "keep_alive": (0, 86400),
    "engine_idle": (1, 86400),
}


def parse_settings(section: Mapping[str, Any] | None) -> tuple[Settings, list[str]]:
    """Read settings as an editor sends them.

    A value that cannot be used is replaced by its default and reported, so that one bad
    setting does not disable the rest.

    Returns:
        The settings, and one sentence for each value that was not usable.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    defaults = Settings()
    for item in dataclasses.fields(Settings):
        name = codec.camel_case(item.name)
        given = (section or {}).get(name)
        if given is None:
            continue
        try:
            value = getattr(codec.decode(Settings, {name: given}), item.name)
            _check_limits(item.name, value)
        except InvalidParams as error:
            used = codec.encode(getattr(defaults, item.name))
            problems.append(f"Setting {SECTION}.{error.message}; using {used!r} instead.")
        else:
            values[item.name] = value
    return Settings(**values), problems


def _check_limits(name: str, value: Any) -> None:
    if name not in _LIMITS:
        return
    low, high = _LIMITS[name]
    if not low <= value <= high:
        raise InvalidParams(codec.camel_case(name), f"must be between {low:g} and {high:g}, not {value!r}")
