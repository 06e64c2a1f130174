"""Starts a program in namespaces of its own, or as the head of a family that ends with it.

This file is a program: `python container.py MODE WORK PID COMMAND...`, for Linux only. It is
what the sandbox uses where bubblewrap is not installed.

- `namespaces`: the command sees an empty network, its own processes only, and a file system
  that holds the paths in `SANDBOX_READABLE` (read only) and an empty folder WORK of
  `SANDBOX_DISK` bytes. Without the rights of root this needs user namespaces.
- `family`: the command runs as it is, but whatever it leaves behind is killed.

Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import sys
from pathlib import Path

# From <linux/sched.h>, <linux/mount.h> and <linux/prctl.h>.
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND = 1, 2, 4, 32, 4096
MS_REC, MS_PRIVATE, MS_RELATIME = 16384, 1 << 18, 1 << 21
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41}
"""The number of the system call, which the C library does not offer by name."""

LIBC = ctypes.CDLL(None, use_errno=True)
DEVICES = ("null", "zero", "full", "random", "urandom")


def main() -> None:
    """Do what the command line says, and end as the command ends."""
    mode, work, parent, *command = sys.argv[1:]
    end_with_parent(int(parent))
    check(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    if mode == "family":
        keep_family(command)
    enter_namespaces()
    end_with_parent(int(parent))  # new rights have undone it
    init = os.fork()
    if init:
        os._exit(supervise(init))
    end_with_parent(0)  # the parent is outside of this namespace, where it has no number
    build_root(work, os.environ["SANDBOX_READABLE"].split(os.pathsep), int(os.environ["SANDBOX_DISK"]))
    os._exit(supervise(spawn(command)))  # its end is the end of the namespace: the kernel kills the rest


def check(result: int, doing: str) -> None:
    """Raise the C library's error."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{doing}: {os.strerror(number)}")


def end_with_parent(parent: int) -> None:
    """Be killed when the parent ends, even if that has happened already."""
    check(LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    if os.getppid() != parent:
        os._exit(1)


def spawn(command: list[str]) -> int:
    """Start the command without what was meant for this program."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SANDBOX_")}
    child = os.fork()
    if child == 0:
        os.execve(command[0], command, environment)  # noqa: S606 -- no shell on purpose
    return child


def supervise(child: int) -> int:
    """Wait for a child, and for all that become ours meanwhile; return its status as a shell does."""
    while True:
        process, status = os.wait()
        if process == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def keep_family(command: list[str]) -> None:
    """Run the command, then kill what it has left; on SIGTERM at once."""
    check(LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")
    signal.signal(signal.SIGTERM, raise_end)
    status = 128 + signal.SIGTERM
    with contextlib.suppress(EndEarly):
        status = supervise(spawn(command))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    kill_family()
    os._exit(status)


class EndEarly(Exception):
    """The sandbox is to end now."""


def raise_end(*_: object) -> None:
    """Leave what is going on."""
    raise EndEarly


def kill_family() -> None:
    """Kill children until none is left; theirs become ours."""
    while True:
        for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii").split():
            os.kill(int(child), signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def enter_namespaces() -> None:
    """Leave the network, the mounts and the processes of the system; keep the user's number."""
    user, group = os.getuid(), os.getgid()
    kinds = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
    if user == 0:
        check(LIBC.unshare(kinds), "unshare")
        return
    check(LIBC.unshare(kinds | CLONE_NEWUSER), "unshare")
    Path("/proc/self/setgroups").write_text("deny", "ascii")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1", "ascii")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1", "ascii")


def build_root(work: str, readable: list[str], disk: int) -> None:
    """Make a file system that holds nothing but what the command needs, and enter it."""
    root = Path.cwd()  # an empty folder of ours to mount it on
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m")
    for path in readable:
        show(Path(path), root)
    for name in DEVICES:
        show(Path("/dev", name), root)
    inner, outer = below(root, work), below(root, "/outer")
    inner.mkdir()
    mount("tmpfs", inner, "tmpfs", MS_NOSUID | MS_NODEV, f"mode=0777,size={disk}")
    outer.mkdir()
    check(LIBC.syscall(PIVOT_ROOT[platform.machine()], bytes(root), bytes(outer)), "pivot_root")
    os.chdir(work)
    check(LIBC.umount2(b"/outer", MNT_DETACH), "umount")
    Path("/outer").rmdir()
    mount(None, "/", None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)


def show(path: Path, root: Path) -> None:
    """Let a file or folder be seen below another root; a link stays a link, a device writable."""
    target = below(root, path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        target.symlink_to(path.readlink())
        return
    if path.is_dir():
        target.mkdir()
    else:
        target.touch()
    mount(path, target, None, MS_BIND)
    if not path.is_char_device():
        mount(None, target, None, MS_REMOUNT | MS_BIND | MS_RDONLY | locked_flags(target))


def below(root: Path, path: str | Path) -> Path:
    """Return where an absolute path lies under another root."""
    return root / Path(path).relative_to("/")


def locked_flags(path: Path) -> int:
    """Return the flags of a mount, which only its owner may take away.

    Those of statvfs have the values of those of mount, but for one.
    """
    flags = os.statvfs(path).f_flag
    same = flags & (os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME)
    return same | (MS_RELATIME if flags & os.ST_RELATIME else 0)


def mount(source: str | Path | None, target: str | Path, kind: str | None, flags: int, options: str = "") -> None:
    """Mount as the system call does."""
    texts = [None if text is None else str(text).encode() for text in (source, target, kind, options)]
    check(LIBC.mount(*texts[:3], ctypes.c_ulong(flags), texts[3]), f"mount {target}")


if __name__ == "__main__":
    main()
