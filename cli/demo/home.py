"""A throw-away data folder that shares a person's installed models.

The demo's knowledge and conversations are new each time, so that it always tells the same
story, and what the person has taught stays as it is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from core.paths import DataFolders


def make_demo_home(folders: DataFolders) -> DataFolders:
    """Create a data folder whose `models` is the folder of `folders`."""
    # The whole path of the engine's socket has to be short, so no deeper than needed.
    demo = DataFolders(Path(tempfile.mkdtemp(prefix="ai-codegen-demo-")))
    folders.models.mkdir(parents=True, exist_ok=True)
    _link(demo.models, folders.models)
    return demo


def remove_demo_home(demo: DataFolders) -> None:
    """Remove the folder, but nothing of what it links to."""
    _unlink(demo.models)
    shutil.rmtree(demo.root, ignore_errors=True)


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
