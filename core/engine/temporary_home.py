"""A throw-away data folder that shares a person's installed models.

What is taught and said there is new each time, and what the person has taught stays as it is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from core.paths import DataFolders


def make_temporary_home(folders: DataFolders, purpose: str) -> DataFolders:
    """Create a data folder whose `models` is the folder of `folders`; `purpose` is part of its name."""
    # The whole path of the engine's socket has to be short, so no deeper than needed.
    home = DataFolders(Path(tempfile.mkdtemp(prefix=f"ai-codegen-{purpose}-")))
    folders.models.mkdir(parents=True, exist_ok=True)
    _link(home.models, folders.models)
    return home


def remove_temporary_home(home: DataFolders) -> None:
    """Remove the folder, but nothing of what it links to."""
    _unlink(home.models)
    shutil.rmtree(home.root, ignore_errors=True)


def _link(link: Path, target: Path) -> None:
    if sys.platform == "win32":
        # A junction, because symbolic links need a privilege there.
        shell = os.environ.get("COMSPEC", r"C:\Windows\System32\cmd.exe")
        subprocess.run([shell, "/c", "mklink", "/J", str(link), str(target)], check=True, capture_output=True)
    else:
        link.symlink_to(target, target_is_directory=True)


def _unlink(link: Path) -> None:
    if sys.platform == "win32":
        link.rmdir()
    else:
        link.unlink(missing_ok=True)
