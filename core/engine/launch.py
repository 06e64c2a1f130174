"""Starting the engine process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from core.cores import usable_cores
from core.engine.endpoint import private_folder
from core.engine.priority import stand_back
from core.errors import StorageFailed
from core.paths import DataFolders

ALREADY_RUNNING = 75
"""Exit status of an engine that found another one holding the lock (EX_TEMPFAIL)."""

_LOG_TAIL = 2000

_DETACHED = 0x00000008 | 0x00000200 if sys.platform == "win32" else 0
"""DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP."""


def start_engine(folders: DataFolders) -> subprocess.Popen[bytes]:
    """Start an engine that outlives this process; it announces itself when it listens.

    Two clients may do this at once: the engine that does not get the lock exits with
    `ALREADY_RUNNING`, and both clients find the other one.

    Raises:
        StorageFailed: The data folder cannot be used.
    """
    # The private folder as working directory: no `core` or `torch` of a person's project is on the path.
    cwd = private_folder(folders.run)
    command = [sys.executable, "-m", "ai_codegen_assistant", "engine", "--home", str(folders.root)]
    try:
        with startup_log(folders).open("wb") as log:
            engine = subprocess.Popen(
                command,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=engine_environment(),
                start_new_session=True,
                creationflags=_DETACHED,
            )
    except OSError as error:
        raise StorageFailed(f"The engine could not be started in {folders.root}: {error}") from error
    stand_back(engine.pid)
    return engine


def startup_log(folders: DataFolders) -> Path:
    """Return the file that holds what the newest engine printed, outside of its log."""
    return private_folder(folders.logs) / "engine-output.log"


def last_words(folders: DataFolders) -> str:
    """Return the end of what the engine printed, for an error message."""
    try:
        return startup_log(folders).read_text("utf-8", errors="replace")[-_LOG_TAIL:].strip()
    except (OSError, StorageFailed):
        return ""


def engine_environment() -> dict[str, str]:
    """Return the environment of the engine: it calls nowhere, and leaves the editor a core."""
    return os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "ANONYMIZED_TELEMETRY": "False",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(max(1, usable_cores() - 1)),
        # Threads that wait must not spin: on a busy machine that made the start three times as long.
        "OMP_WAIT_POLICY": "PASSIVE",
    }
