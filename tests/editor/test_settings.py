"""The editor's settings are those of the assistant: names, defaults, choices and limits."""

from __future__ import annotations

import dataclasses
import json
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from core.codec import camel_case, encode
from core.settings import _LIMITS, SECTION, Settings
from core.version import VERSION

PACKAGE = json.loads((Path(__file__).parents[2] / "editor-client" / "package.json").read_text(encoding="utf-8"))
DECLARED: dict[str, dict[str, Any]] = {
    name.removeprefix(f"{SECTION}."): declaration
    for name, declaration in PACKAGE["contributes"]["configuration"]["properties"].items()
}

CLIENT_ONLY = {"interpreter", "dataFolder", "installArguments", "trace.server"}
"""What the engine never sees: how the editor starts it."""

MACHINE_ONLY = {"interpreter", "dataFolder", "installArguments", "modelSet", "device", "precision"}
"""What a workspace must not choose: what is run, and which models are loaded."""


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


DEFAULTS = flat(encode(Settings()))


def test_the_editor_offers_exactly_the_settings_of_the_engine() -> None:
    assert set(DECLARED) == set(DEFAULTS) | CLIENT_ONLY


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_the_defaults_are_the_same(name: str) -> None:
    assert DECLARED[name]["default"] == DEFAULTS[name]


@pytest.mark.parametrize("field", [field for field in dataclasses.fields(Settings) if field.name in _LIMITS])
def test_the_limits_are_the_same(field: dataclasses.Field[Any]) -> None:
    declared = DECLARED[camel_case(field.name)]
    assert (declared["minimum"], declared["maximum"]) == _LIMITS[field.name]


@pytest.mark.parametrize("name", ["device", "precision"])
def test_the_choices_are_the_same(name: str) -> None:
    kind = type(getattr(Settings(), name))
    assert issubclass(kind, StrEnum)
    assert DECLARED[name]["enum"] == [choice.value for choice in kind]


def test_a_workspace_cannot_choose_what_runs() -> None:
    scopes = {name: declaration["scope"] for name, declaration in DECLARED.items()}
    chosen = MACHINE_ONLY | {name for name in DECLARED if name.startswith("models.")}
    assert {scopes[name] for name in chosen} == {"machine"}


def test_the_extension_and_the_backend_have_the_same_version() -> None:
    assert PACKAGE["version"] == VERSION
