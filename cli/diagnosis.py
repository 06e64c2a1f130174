"""What `doctor` concludes from what was found: pure functions."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cli.reports import Check, DeviceInfo, Machine, SetFit, Verdict
from core.errors import AssistantError, ModelMissing
from core.messages import KnowledgeInfo, ModelInfo, ModelSetInfo, Status

PROGRAM = "ai-codegen-assistant"

_HEADROOM = 1.1
"""Memory a model needs, relative to its weights: the rest is the prompt, the cache and workspace."""

_GIGABYTE = 1e9


def fit(model_set: ModelSetInfo, largest: int, machine: Machine) -> SetFit:
    """Say whether a model set can be used here.

    Models take turns in memory, so that the largest one decides.

    Args:
        model_set: The set; its `bytes` have to be fetched if it is not installed.
        largest: Bytes of its largest model on disk.
        machine: What there is.
    """
    needed = largest * _HEADROOM
    fits, reason = _place(needed, machine)
    if not model_set.installed and model_set.bytes + largest > machine.disk_free:
        fits = False
        reason = f"needs {_gigabytes(model_set.bytes + largest)} of disk to be installed, {_gigabytes(machine.disk_free)} is free"
    return SetFit(
        name=model_set.name,
        summary=model_set.summary,
        bytes=model_set.bytes,
        installed=model_set.installed,
        fits=fits,
        reason=reason,
    )


def check_python(version: tuple[int, int]) -> Check:
    """Check the interpreter."""
    text = f"Python {version[0]}.{version[1]}"
    if version >= (3, 11):
        return _ok("python", text)
    return _problem("python", f"{text} is too old; 3.11 or newer is needed.", "python3.11 -m venv .venv")


def check_packages(packages: Mapping[str, str]) -> Check:
    """Check that everything the application imports is installed."""
    missing = [name for name, version in packages.items() if not version]
    if not missing:
        return _ok("packages", f"all {len(packages)} are installed")
    return _problem(
        "packages", f"missing: {', '.join(missing)}", f"{sys.executable} -m pip install {' '.join(missing)}"
    )


def check_folder(folder: Path, problem: str | None) -> Check:
    """Check that data can be stored."""
    if problem is None:
        return _ok("data folder", f"{folder} is writable")
    return _problem("data folder", f"cannot be written: {problem}", f"{PROGRAM} --home FOLDER doctor")


def check_devices(devices: Sequence[DeviceInfo], problem: str | None) -> Check:
    """Check that torch works, and say where models run."""
    if problem is not None:
        return _problem("devices", problem, f"{sys.executable} -m pip install --force-reinstall torch")
    if not devices:
        return _ok("devices", "no GPU was found; models run on the processor")
    return _ok("devices", "models run on " + ", ".join(one.name for one in devices))


def check_model(model: ModelInfo, model_set: str) -> Check:
    """Check one model of the chosen set."""
    name = f"{model.role.value} model"
    if model.installed:
        return _ok(name, model.name)
    return _problem(name, model.detail or f"{model.name} is not installed", f"{PROGRAM} models pull {model_set}")


def check_engine(found: Status | AssistantError) -> Check:
    """Check that the engine answers."""
    if isinstance(found, AssistantError):
        return _problem("engine", found.message, f"{PROGRAM} stop && {PROGRAM} status")
    return _ok("engine", f"process {found.engine.pid} answers, version {found.engine.version}")


def check_knowledge(knowledge: KnowledgeInfo | AssistantError, model_set: str) -> Check:
    """Check the store of solved tasks."""
    name = "knowledge"
    if isinstance(knowledge, ModelMissing):
        return _problem(name, "cannot be searched without the embed model", f"{PROGRAM} models pull {model_set}")
    if isinstance(knowledge, AssistantError):
        return _problem(name, knowledge.message, f"{PROGRAM} stop && {PROGRAM} status")
    detail = f"{knowledge.count} tasks, {knowledge.state}"
    if knowledge.state == "failed":
        return _problem(name, f"{detail}: {knowledge.detail}", f"{PROGRAM} stop && {PROGRAM} status")
    if knowledge.count == 0 and knowledge.state == "ready":
        return Check(
            name=name,
            verdict=Verdict.WARNING,
            detail="No tasks are stored, so every request for code is unknown.",
            remedy=f"{PROGRAM} index humaneval",
        )
    return _ok(name, detail)


def is_healthy(checks: Sequence[Check]) -> bool:
    """Whether nothing that is needed is missing."""
    return all(check.verdict is not Verdict.PROBLEM for check in checks)


def _place(needed: float, machine: Machine) -> tuple[bool, str]:
    for device in machine.devices:
        if device.total is not None and needed <= device.total:
            return True, f"needs {_gigabytes(needed)} of {_gigabytes(device.total)} on {device.name}"
    if needed <= machine.memory_total:
        if needed <= machine.memory_available:
            return (
                True,
                f"on the processor: needs {_gigabytes(needed)} of {_gigabytes(machine.memory_available)} available",
            )
        return True, (
            f"on the processor: needs {_gigabytes(needed)}; close programs, "
            f"only {_gigabytes(machine.memory_available)} of {_gigabytes(machine.memory_total)} is available"
        )
    return False, f"needs {_gigabytes(needed)} of memory, the machine has {_gigabytes(machine.memory_total)}"


def _gigabytes(count: float) -> str:
    return f"{count / _GIGABYTE:.1f} GB"


def _ok(name: str, detail: str) -> Check:
    return Check(name=name, verdict=Verdict.OK, detail=detail)


def _problem(name: str, detail: str, remedy: str) -> Check:
    return Check(name=name, verdict=Verdict.PROBLEM, detail=detail, remedy=remedy)
