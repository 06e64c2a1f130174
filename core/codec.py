"""Dataclasses to JSON values and back, with errors that name the field.

Attribute names are snake_case in Python and camelCase on the wire. Fields that are `None`
are left out. Unknown fields are ignored, so that either side may be newer.

Standard library only.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Any, TypeVar

from core.errors import InvalidParams

T = TypeVar("T")


def encode(value: Any) -> Any:
    """Turn a dataclass (or a container of them) into JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((wire, getattr(value, name)) for name, wire, *_ in _fields(type(value)))
        return {wire: encode(item) for wire, item in pairs if item is not None}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    return value


def decode(kind: type[T], wire: Any) -> T:
    """Build the dataclass `kind` from JSON values.

    Raises:
        InvalidParams: A field is missing or has the wrong type; the error names it.
    """
    if wire is None:
        wire = {}
    if not isinstance(wire, Mapping):
        raise InvalidParams("params", f"must be an object, not {_describe(wire)}")
    return typing.cast("T", _decode_dataclass(kind, wire))


def camel_case(name: str) -> str:
    """Return `snake_case` as `snakeCase`."""
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


@cache
def _fields(kind: type) -> tuple[tuple[str, str, Any, bool], ...]:
    """Per field: name, wire name, type, whether it must be given."""
    hints = typing.get_type_hints(kind)
    missing = dataclasses.MISSING
    return tuple(
        (
            field.name,
            camel_case(field.name),
            hints[field.name],
            field.default is missing and field.default_factory is missing,
        )
        for field in dataclasses.fields(kind)
    )


def _decode_dataclass(kind: Any, wire: Mapping[str, Any]) -> Any:
    values = {}
    for name, wire_name, hint, required in _fields(kind):
        if wire.get(wire_name) is not None:
            values[name] = _decode(hint, wire[wire_name], wire_name)
        elif required:
            raise InvalidParams(wire_name, "is required")
    return kind(**values)


def _decode(hint: Any, wire: Any, field: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return wire
    if origin in {types.UnionType, typing.Union}:
        inner = next(one for one in arguments if one is not type(None))
        return _decode(inner, wire, field)
    if origin in {list, tuple}:
        items = _require(wire, (list, tuple), "a list", field)
        return origin(_decode(arguments[0], item, f"{field}[{i}]") for i, item in enumerate(items))
    if origin is dict:
        pairs = _require(wire, Mapping, "an object", field).items()
        return {key: _decode(arguments[1], item, f"{field}.{key}") for key, item in pairs}
    if dataclasses.is_dataclass(hint):
        return _decode_nested(hint, _require(wire, Mapping, "an object", field), field)
    return _decode_enum(hint, wire, field) if issubclass(hint, Enum) else _decode_scalar(hint, wire, field)


def _require(wire: Any, kind: Any, name: str, field: str) -> Any:
    if not isinstance(wire, kind):
        raise InvalidParams(field, f"must be {name}, not {_describe(wire)}")
    return wire


def _decode_nested(hint: Any, wire: Mapping[str, Any], field: str) -> Any:
    try:
        return _decode_dataclass(hint, wire)
    except InvalidParams as error:
        raise error.inside(field) from None


def _decode_enum(hint: type[Enum], wire: Any, field: str) -> Enum:
    try:
        return hint(wire)
    except ValueError:
        choices = ", ".join(repr(one.value) for one in hint)
        raise InvalidParams(field, f"must be one of {choices}, not {wire!r:.80}") from None


def _decode_scalar(hint: type, wire: Any, field: str) -> Any:
    if hint is float and isinstance(wire, int) and not isinstance(wire, bool):
        return float(wire)
    if not isinstance(wire, hint) or (isinstance(wire, bool) and hint is not bool):
        raise InvalidParams(field, f"must be {_NAMES[hint]}, not {_describe(wire)}")
    return wire


_NAMES = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


def _describe(wire: Any) -> str:
    if wire is None:
        return "null"
    if isinstance(wire, Mapping):
        return "an object"
    if isinstance(wire, (list, tuple)):
        return "a list"
    return _NAMES.get(type(wire), type(wire).__name__)
