"""Which models there are, what a reference means, and where a model lies on this machine.

A model's reference is what settings and jobs name it by: a model of a set, a hub id
(`owner/name`, or `owner/name/file.gguf` for one GGUF file of a repository), a local folder, or
a local GGUF file.

Imports nothing heavy: the command line reads this without starting an engine.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from core.errors import InvalidParams, ModelDamaged, ModelMissing
from core.messages import ModelInfo, ModelSetInfo, ModelState, Role
from core.models.manifest import Manifest, read_manifest
from core.models.spec import FileSource, HubSource, ItemSpec, ModelSet, load_sets
from core.paths import DataFolders
from core.settings import Settings

_HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:/(?P<file>[^@]+\.gguf))?(?:@(?P<revision>[\w./-]+))?")
PROGRAM = "ai-codegen-assistant"


class ModelRegistry:
    """The model sets, and what of them is installed below one data folder."""

    def __init__(self, folders: DataFolders) -> None:
        self.folders = folders
        self.model_sets = load_sets()

    def model_set(self, name: str) -> ModelSet:
        """Return the set called `name`.

        Raises:
            InvalidParams: There is none.
        """
        if name not in self.model_sets:
            choices = ", ".join(repr(one) for one in self.model_sets)
            raise InvalidParams("modelSet", f"must be one of {choices}, not {name!r:.80}")
        return self.model_sets[name]

    def resolve(self, settings: Settings, role: Role) -> str:
        """Return the reference of the model that has `role` under these settings.

        Raises:
            InvalidParams: The set is unknown, or the override is no path and no hub id.
        """
        override = str(getattr(settings.models, role.value))
        if override:
            return _normalise(override, f"models.{role.value}")
        return self.model_set(settings.model_set).roles[role]

    def locate(self, model: str) -> Path:
        """Return the folder of an installed model: safetensors, tokenizer.json, config.json.

        Raises:
            ModelMissing: It is not on this machine; the message holds the command that brings it.
            ModelDamaged: A file that was installed is gone or has another size.
        """
        if Path(model).is_dir():
            return Path(model)
        spec = self.find(model)
        folder = self.folder(spec)
        manifest = read_manifest(folder)
        if manifest is None:
            raise ModelMissing(self._explain_missing(spec), model=model, command=self._pull_command(spec))
        if problem := manifest.find_problem(folder):
            command = self._pull_command(spec)
            raise ModelDamaged(
                f"The model {model} is damaged: {problem} Mend it with: {command}", model=model, command=command
            )
        return folder

    def installed(self, model: str) -> bool:
        """Whether the model can be used without fetching anything."""
        return Path(model).is_dir() or read_manifest(self.folder(self.find(model))) is not None

    def sets(self) -> list[ModelSetInfo]:
        """Describe every set, the smallest first; `bytes` is what a complete pull downloads."""
        return [
            ModelSetInfo(
                name=one.name,
                summary=one.summary,
                bytes=one.download_bytes,
                installed=all(self.read_manifest(item) for item in one.items),
                hardware=one.hardware,
            )
            for one in self.model_sets.values()
        ]

    def models(self, settings: Settings) -> list[ModelInfo]:
        """Describe the model of each role, as it lies on disk."""
        return [self._describe(role, self.resolve(settings, role)) for role in Role]

    def knowledge_file(self, settings: Settings) -> Path | None:
        """Return HumanEval's file (gzipped JSON lines) of the chosen set, once it is installed."""
        item = self.model_set(settings.model_set).knowledge
        return self.folder(item) / str(item.file) if self.read_manifest(item) else None

    def find(self, reference: str) -> ItemSpec:
        """Return what a reference names; a reference that no set knows is a path or a hub id.

        Raises:
            InvalidParams: It is neither.
        """
        for one in self.model_sets.values():
            if reference in one.models:
                return one.models[reference]
        if reference.endswith(".gguf") and Path(reference).is_absolute():
            return ItemSpec(name=reference, source=FileSource(path=reference))
        if match := _HUB_ID.fullmatch(reference):
            source = HubSource(repo=match["repo"], file=match["file"], revision=match["revision"] or "main")
            return ItemSpec(name=reference, source=source)
        if Path(reference).is_absolute():
            raise ModelMissing(f"There is no model folder {reference}.", model=reference)
        raise InvalidParams("model", f"{reference!r:.200} is no model of a set, no hub id, no folder and no GGUF file")

    def folder(self, item: ItemSpec) -> Path:
        """Return where an item is installed, whether it is or not."""
        return self.folders.models / _folder_name(item)

    def read_manifest(self, item: ItemSpec) -> Manifest | None:
        """Return what was written when the item was installed, or None if it is not."""
        return read_manifest(self.folder(item))

    def _describe(self, role: Role, model: str) -> ModelInfo:
        try:
            folder = self.locate(model)
        except (ModelMissing, ModelDamaged, InvalidParams) as error:
            return ModelInfo(role=role, name=model, state=ModelState.ABSENT, installed=False, detail=error.message)
        return ModelInfo(role=role, name=model, state=ModelState.ABSENT, bytes=_size(folder))

    def _sets_with(self, item: ItemSpec) -> Iterator[str]:
        """Yield the sets that bring an item, the smallest first."""
        return (one.name for one in self.model_sets.values() if item.name in one.models)

    def _pull_command(self, item: ItemSpec) -> str:
        name = next(self._sets_with(item), item.name)
        return f"{PROGRAM} models pull {name}"

    def _explain_missing(self, item: ItemSpec) -> str:
        if isinstance(item.source, FileSource) and not Path(item.source.path).is_file():
            return f"There is no GGUF file {item.source.path}."
        return f"The model {item.name} is not on this machine. Bring it with: {self._pull_command(item)}"


def _size(folder: Path) -> int:
    """Return the bytes on disk of a model's folder."""
    if manifest := read_manifest(folder):
        return sum(record.bytes for record in manifest.files.values())
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


def _normalise(reference: str, field: str) -> str:
    """Make paths absolute, so that a reference means the same in every process."""
    path = Path(reference).expanduser()
    if path.is_absolute() or reference.startswith(".") or path.exists():
        return str(path.resolve())
    if not _HUB_ID.fullmatch(reference):
        raise InvalidParams(field, f"must be a hub id, a folder or a GGUF file, not {reference!r:.200}")
    return reference


def _folder_name(item: ItemSpec) -> str:
    """A GGUF file on disk gets a name that changes with its content; others are named by reference."""
    if not isinstance(item.source, FileSource):
        return re.sub(r"[/@]", "--", item.name)
    path = Path(item.source.path)
    try:
        stat = path.stat()
    except OSError:
        return path.stem
    identity = f"{path}:{stat.st_size}:{stat.st_mtime_ns}".encode()
    return f"{path.stem}--{hashlib.sha256(identity).hexdigest()[:12]}"
