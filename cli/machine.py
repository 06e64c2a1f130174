"""Looking at this computer: devices, memory, disk, packages, the data folder."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import psutil

from cli.reports import DeviceInfo, Machine
from core import codec

PROBE_TIMEOUT = 90.0
"""Seconds; loading torch from a cold disk takes a while."""

_DISTRIBUTION = "ai-codegen-assistant"


def look_at_machine(data_folder: Path, devices: list[DeviceInfo]) -> Machine:
    """Return what this computer offers."""
    memory = psutil.virtual_memory()
    return Machine(
        platform=platform.platform(),
        cores=os.cpu_count() or 1,
        memory_total=memory.total,
        memory_available=memory.available,
        disk_free=psutil.disk_usage(str(_existing(data_folder))).free,
        devices=devices,
    )


def probe_devices() -> tuple[list[DeviceInfo], str | None]:
    """Return the devices, and what went wrong if they could not be found out.

    A process of its own loads torch: a broken driver can hang or end only that one.
    """
    script = Path(__file__).with_name("device_probe.py")
    # -P: nothing beside the script or in the current folder is taken for a package.
    command = [sys.executable, "-P", str(script)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_TIMEOUT, check=True)
        return [codec.decode(DeviceInfo, one) for one in json.loads(done.stdout)], None
    except subprocess.TimeoutExpired:
        return [], f"Looking for devices took longer than {PROBE_TIMEOUT:.0f} s."
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or [f"exit status {error.returncode}"]
        return [], f"torch cannot be loaded: {lines[-1]}"
    except (OSError, ValueError) as error:
        return [], f"Devices could not be found out: {error}"


def needed_packages() -> dict[str, str]:
    """Return the installed version of each package the application needs; empty if missing."""
    try:
        requirements = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return {_DISTRIBUTION: ""}
    names = [re.split(r"[^\w.-]", one, maxsplit=1)[0] for one in requirements if "extra ==" not in one]
    return {name: _version(name) for name in sorted(names)}


def find_write_problem(folder: Path) -> str | None:
    """Return why files cannot be written below a folder, or `None` if they can."""
    if folder.exists() and not folder.is_dir():
        return f"{folder} is a file"
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)):
            return None
    except OSError as error:
        return f"{_existing(folder)}: {error.strerror}"


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return next(one for one in (folder, *folder.parents) if one.is_dir())


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
