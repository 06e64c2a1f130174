"""What this system can keep untrusted code from, and the command that does it."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from core.errors import SandboxFailed

WORK = "/scratch"
"""The throw-away folder, where the sandbox has a file system of its own."""


class Protection(StrEnum):
    """What stands between the code and the person's things, best first."""

    BUBBLEWRAP = "bubblewrap"
    NAMESPACES = "namespaces"
    LIMITS = "limits"
    TIME = "time"

    @property
    def isolated(self) -> bool:
        """Whether the code can reach neither the network nor the person's files and processes."""
        return self in {Protection.BUBBLEWRAP, Protection.NAMESPACES}

    @property
    def words(self) -> str:
        """Say what is promised, and what is not."""
        return _WORDS[self]


_ISOLATED = (
    "The code sees no network, no files of yours and no other processes, "
    "and its time, memory, processes, disk and output are limited ({by})."
)
_WORDS = {
    Protection.BUBBLEWRAP: _ISOLATED.format(by="bubblewrap"),
    Protection.NAMESPACES: _ISOLATED.format(by="Linux namespaces"),
    Protection.LIMITS: (
        "The code's time, memory, processes, file sizes and output are limited, but it can reach the network "
        "and read and change your files. Install bubblewrap for real isolation."
    ),
    Protection.TIME: (
        "Only the code's time and output are limited: it can reach the network and read and change your files. "
        "This system offers no isolation that the assistant can use."
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How to start a Python program under a protection."""

    command: list[str]
    """To be followed by Python's own arguments."""
    environment: dict[str, str]
    ending: signal.Signals
    """What makes the command end, together with all it has started."""


def plan_launch(protection: Protection, folder: str, disk: int) -> Launch:
    """Return the command and the environment that put Python under a protection.

    Args:
        protection: One that this system has.
        folder: An empty folder, for the protections that cannot mount one.
        disk: Bytes that the throw-away folder may hold, where it is mounted for the run.

    Raises:
        SandboxFailed: The protection's program is not installed.
    """
    # The interpreter itself rather than a link to it, whose way may lead through hidden folders.
    python = [os.path.realpath(sys.executable), "-s", "-P", "-B"]
    match protection:
        case Protection.BUBBLEWRAP:
            return Launch(command=[*_bubblewrap(disk), *python], environment=_environment(WORK), ending=_KILL)
        case Protection.NAMESPACES:
            facts = {"SANDBOX_READABLE": os.pathsep.join(_readable()), "SANDBOX_DISK": str(disk)}
            return Launch(
                command=[*_container("namespaces"), *python], environment=_environment(WORK) | facts, ending=_KILL
            )
        case Protection.LIMITS if sys.platform == "linux":
            return Launch(
                command=[*_container("family"), *python], environment=_environment(folder), ending=signal.SIGTERM
            )
        case _:
            return Launch(command=python, environment=_environment(folder), ending=_KILL)


_KILL = signal.Signals(getattr(signal, "SIGKILL", signal.SIGTERM))
"""Windows has but one way to end a process."""


def gives_up_root(protection: Protection) -> bool:
    """Whether the code runs as nobody: always when we are root, unless nobody could not read Python."""
    if not is_root():
        return False
    return protection.isolated or all(one.stat().st_mode & stat.S_IXOTH for one in Path(os.__file__).resolve().parents)


def is_root() -> bool:
    """Whether this process has the rights of root."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _environment(folder: str) -> dict[str, str]:
    fixed = {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "LANG": "C.UTF-8"}
    needed = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}  # by Python on Windows
    return {"HOME": folder, "TMPDIR": folder, "PATH": "/usr/bin:/bin", **fixed, **needed}


def _container(mode: str) -> list[str]:
    program = Path(__file__).with_name("container.py")
    return [sys.executable, "-I", "-B", str(program), mode, WORK, str(os.getpid())]


def _bubblewrap(disk: int) -> list[str]:
    program = shutil.which("bwrap")
    if program is None:
        raise SandboxFailed("The program bwrap is not on the PATH. Install bubblewrap.")
    shown = [part for path in _readable() for part in _show(Path(path))]
    devices = [part for name in _DEVICES for part in ("--dev-bind", f"/dev/{name}", f"/dev/{name}")]
    # As root the harness gives up its rights itself, for which it needs two of them.
    rights = ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if is_root() else []
    user = [] if is_root() else ["--unshare-user", "--disable-userns"]
    kinds = [f"--unshare-{kind}" for kind in ("ipc", "pid", "net", "uts")]
    folder = ["--perms", "0777", "--size", str(disk), "--tmpfs", WORK, "--remount-ro", "/", "--chdir", WORK]
    return [program, *user, *kinds, *rights, "--die-with-parent", "--new-session", *shown, *devices, *folder, "--"]


_DEVICES = ("null", "zero", "full", "random", "urandom")


def _show(path: Path) -> Sequence[str]:
    # Nobody has to get through to it, and bubblewrap would make the way there root's alone.
    way = [part for one in reversed(path.parents[:-1]) for part in ("--perms", "0755", "--dir", str(one))]
    if path.is_symlink():
        return [*way, "--symlink", str(path.readlink()), str(path)]
    return [*way, "--ro-bind", str(path), str(path)]


def _readable() -> Iterator[str]:
    """Yield what Python needs to run, and nothing of the person's."""
    system = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/etc/ld.so.cache", "/nix/store", "/gnu/store"]
    python = [os.path.realpath(sys.base_prefix), os.path.realpath(sys.prefix)]
    seen: list[Path] = []
    for text in [*system, *python]:
        path = Path(text)
        if (path.exists() or path.is_symlink()) and not any(path.is_relative_to(one) for one in seen):
            seen.append(path)
            yield text
