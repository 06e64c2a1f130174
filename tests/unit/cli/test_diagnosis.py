from __future__ import annotations

from pathlib import Path

import pytest

from cli import diagnosis
from cli.reports import DeviceInfo, Machine, Verdict
from core.errors import EngineUnavailable, ModelMissing
from core.messages import KnowledgeInfo, ModelInfo, ModelSetInfo, ModelState, Role

GB = 10**9


def machine(memory: float = 16, available: float = 8, disk: float = 100, gpu: float | None = None) -> Machine:
    devices = [] if gpu is None else [DeviceInfo(kind="cuda", name="Test GPU", total=int(gpu * GB))]
    return Machine(
        platform="Linux",
        cores=2,
        memory_total=int(memory * GB),
        memory_available=int(available * GB),
        disk_free=int(disk * GB),
        devices=devices,
    )


def model_set(size: float, *, installed: bool = True) -> ModelSetInfo:
    return ModelSetInfo(name="some", summary="A set.", bytes=int(size * GB), installed=installed)


@pytest.mark.parametrize(
    ("largest", "place", "fits", "reason"),
    [
        (7.0, machine(gpu=8), True, "needs 7.7 GB of 8.0 GB on Test GPU"),
        (7.0, machine(gpu=4), True, "on the processor: needs 7.7 GB of 8.0 GB available"),
        (7.0, machine(available=2), True, "close programs, only 2.0 GB of 16.0 GB is available"),
        (20.0, machine(), False, "needs 22.0 GB of memory, the machine has 16.0 GB"),
    ],
)
def test_a_set_fits_where_its_largest_model_does(largest: float, place: Machine, fits: bool, reason: str) -> None:
    fit = diagnosis.fit(model_set(10), int(largest * GB), place)
    assert fit.fits is fits
    assert reason in fit.reason


def test_a_set_that_is_not_installed_needs_room_on_the_disk() -> None:
    full = machine(disk=5)
    assert diagnosis.fit(model_set(4), GB // 2, full).fits
    missing = diagnosis.fit(model_set(8, installed=False), GB // 2, full)
    assert not missing.fits
    assert "needs 8.5 GB of disk to be installed, 5.0 GB is free" in missing.reason


def test_each_problem_has_the_command_that_mends_it() -> None:
    absent = ModelInfo(role=Role.EMBED, name="some/model", state=ModelState.ABSENT, installed=False)
    problems = [
        diagnosis.check_python((3, 10)),
        diagnosis.check_packages({"torch": "2.13", "rich": ""}),
        diagnosis.check_folder(Path("/data"), "/data: Permission denied"),
        diagnosis.check_devices([], "torch cannot be loaded: no such file"),
        diagnosis.check_model(absent, "starter"),
        diagnosis.check_engine(EngineUnavailable("It died.")),
        diagnosis.check_knowledge(KnowledgeInfo(state="failed", detail="disk full"), "starter"),
        diagnosis.check_knowledge(EngineUnavailable("It died."), "starter"),
        diagnosis.check_knowledge(ModelMissing("The embed model is missing."), "starter"),
    ]
    assert all(check.verdict is Verdict.PROBLEM and check.remedy for check in problems)
    assert not diagnosis.is_healthy(problems)
    assert problems[1].remedy is not None
    assert problems[1].remedy.endswith("-m pip install rich")
    assert problems[4].remedy == "ai-codegen-assistant models pull starter"


def test_no_gpu_and_no_tasks_are_no_problems() -> None:
    checks = [
        diagnosis.check_devices([], None),
        diagnosis.check_knowledge(KnowledgeInfo(count=0, state="ready"), "starter"),
    ]
    assert [check.verdict for check in checks] == [Verdict.OK, Verdict.WARNING]
    assert checks[1].remedy == "ai-codegen-assistant index humaneval"
    assert diagnosis.is_healthy(checks)
