"""Downloads from the model hub; a program of its own.

Usage:
    python -m core.models.hub model REPO REVISION FOLDER [GGUF]
    python -m core.models.hub dataset REPO REVISION FILE SPLIT
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from core.errors import AssistantError, DownloadFailed
from core.models.child import fail, report_progress
from core.models.manifest import sha256_of

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

WANTED = ("*.safetensors", "*.json", "*.jinja", "*.txt", "1_Pooling/*")
UNWANTED = ("onnx/*", "openvino/*", "*/*.safetensors", "consolidated*")


def download_model(repo: str, revision: str, target: Path, gguf: str | None) -> None:
    """Download a model's safetensors and what belongs to them, or one GGUF file.

    What is there already is not fetched again. Every large file's checksum is compared with the
    one the hub states for this revision.

    Raises:
        DownloadFailed: It cannot be had, or a file's checksum differs.
    """
    from huggingface_hub import HfApi, snapshot_download  # noqa: PLC0415 - heavy, and an error here is reported
    from huggingface_hub.utils._paths import filter_repo_objects  # noqa: PLC0415

    wanted, unwanted = ([gguf], []) if gguf else (list(WANTED), list(UNWANTED))
    info = HfApi().model_info(repo, revision=revision, files_metadata=True)
    files = list(
        filter_repo_objects(
            info.siblings or [], allow_patterns=wanted, ignore_patterns=unwanted, key=lambda one: one.rfilename
        )
    )
    _require_weights(repo, files)
    progress = _progress_class(sum(one.size or 0 for one in files))
    snapshot_download(
        repo,
        revision=info.sha or revision,
        local_dir=target,
        allow_patterns=[one.rfilename for one in files],
        tqdm_class=progress,
    )
    for one in files:
        _verify(target / one.rfilename, one)


def download_dataset(repo: str, revision: str, target: Path, split: str) -> None:
    """Download a split of a data set and write it as gzipped JSON lines."""
    import datasets  # noqa: PLC0415 - heavy, and an error here is reported

    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as cache:
        rows = datasets.load_dataset(repo, split=split, revision=revision, cache_dir=cache)
        with gzip.open(target, "wt", encoding="utf-8") as out:
            for done, row in enumerate(rows, start=1):
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
                report_progress(done, len(rows))


def _require_weights(repo: str, files: list[RepoSibling]) -> None:
    if not any(one.rfilename.endswith((".safetensors", ".gguf")) for one in files):
        raise DownloadFailed(
            f"{repo} offers no safetensors (and no such GGUF file). Formats that can run code when they are read are "
            "never used; choose a repository with safetensors.",
            item=repo,
        )


def _verify(file: Path, stated: RepoSibling) -> None:
    """Compare with the checksum that the hub states; small files have none and are compared by size."""
    size = file.stat().st_size
    if stated.size is not None and size != stated.size:
        file.unlink()
        raise DownloadFailed(f"{stated.rfilename} arrived with {size} bytes instead of {stated.size}. Pull again.")
    if stated.lfs is None:
        return
    found = sha256_of(file, lambda _: None)
    if found != stated.lfs.sha256:
        file.unlink()
        raise DownloadFailed(
            f"{stated.rfilename} arrived with the checksum {found} instead of {stated.lfs.sha256}, so it was thrown "
            "away. Pull again.",
            file=stated.rfilename,
        )


def _progress_class(total: int) -> Any:
    """Return a progress bar that reports to the parent process instead of the screen."""
    from huggingface_hub.utils.tqdm import tqdm  # noqa: PLC0415 - heavy

    class Progress(tqdm):
        done: ClassVar[int] = 0
        counting: ClassVar[threading.Lock] = threading.Lock()

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            # There are more bars: of files, and of bytes received rather than written.
            self._counts = kwargs.get("name") == "huggingface_hub.snapshot_download"
            super().__init__(*args, **{**kwargs, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> bool | None:
            if self._counts:
                with Progress.counting:
                    Progress.done += int(n or 0)
                    report_progress(min(Progress.done, total), total)
            return None

    return Progress


def main() -> int:
    """Download what the command line names."""
    kind, repo, revision, target, *rest = sys.argv[1:]
    try:
        if kind == "model":
            download_model(repo, revision, Path(target), rest[0] if rest else None)
        else:
            download_dataset(repo, revision, Path(target), rest[0])
    except AssistantError as error:
        return fail(error)
    except Exception as error:  # noqa: BLE001 - the libraries have no common base for failed requests
        return fail(_explain(repo, error))
    return 0


def _explain(repo: str, error: Exception) -> AssistantError:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return DownloadFailed(
        f"{repo} could not be downloaded from the model hub: {reason}. Check the name and the network (behind a proxy "
        "or with a mirror, set HTTPS_PROXY or HF_ENDPOINT), then pull again; what has arrived is kept.",
        item=repo,
    )


if __name__ == "__main__":
    sys.exit(main())
