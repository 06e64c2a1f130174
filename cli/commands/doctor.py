"""`doctor`: what is installed, what fits, what is missing, and the command that mends it."""

from __future__ import annotations

import platform
import sys

from cli import diagnosis
from cli.context import Context
from cli.machine import find_write_problem, look_at_machine, needed_packages, probe_devices
from cli.parser import Commands, add_command
from cli.reports import DoctorReport, Machine, SetFit
from core.errors import AssistantError
from core.messages import KnowledgeInfo, ModelSetInfo, Phase, PhaseName, Status, StatusRequest, TaskList, TasksRequest
from core.models.registry import ModelRegistry
from core.settings import parse_settings
from core.version import VERSION


def register(commands: Commands) -> None:
    """Add the command."""
    add_command(commands, "doctor", run, "find out what is installed, what fits here, and what is missing")


def run(context: Context) -> DoctorReport:
    """Look at everything and report."""
    folder = context.folders.root
    with context.output.activity() as on_event:
        on_event(Phase(name=PhaseName.STARTING, message="Looking for devices"))
        devices, device_problem = probe_devices()
    registry = ModelRegistry(context.folders)
    settings, _ = parse_settings(context.settings)
    packages = needed_packages()
    machine = look_at_machine(folder, devices)
    write_problem = find_write_problem(folder)
    engine = _ask_engine(context)
    checks = [
        diagnosis.check_python((sys.version_info.major, sys.version_info.minor)),
        diagnosis.check_packages(packages),
        diagnosis.check_folder(folder, write_problem),
        diagnosis.check_devices(devices, device_problem),
        *(diagnosis.check_model(model, settings.model_set) for model in registry.models(settings)),
        diagnosis.check_engine(engine),
    ]
    if isinstance(engine, Status):
        checks.append(diagnosis.check_knowledge(_ask_knowledge(context), settings.model_set))
    return DoctorReport(
        healthy=diagnosis.is_healthy(checks),
        version=VERSION,
        python=platform.python_version(),
        data_folder=str(folder),
        machine=machine,
        packages=packages,
        sets=[_fit(registry, one, machine) for one in registry.sets()],
        checks=checks,
    )


def _fit(registry: ModelRegistry, model_set: ModelSetInfo, machine: Machine) -> SetFit:
    models = registry.model_set(model_set.name).models.values()
    return diagnosis.fit(model_set, max(one.installed_bytes for one in models), machine)


def _ask_engine(context: Context) -> Status | AssistantError:
    try:
        return context.call(StatusRequest(), Status)
    except AssistantError as error:
        return error


def _ask_knowledge(context: Context) -> KnowledgeInfo | AssistantError:
    try:
        # The answer waits until the store is open; its state says more than that it is being opened.
        context.call(TasksRequest(limit=1), TaskList)
        return context.call(StatusRequest(), Status).knowledge
    except AssistantError as error:
        return error
