"""`demo`: the whole product on the starter models, as an editor sees it."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from cli.context import Context
from cli.demo.editor import Editor
from cli.demo.story import Story
from cli.engine import stop_engine
from cli.output import open_output
from cli.parser import Commands, add_command
from cli.reports import DemoReport
from core.engine.temporary_home import make_temporary_home, remove_temporary_home
from core.errors import AssistantError
from core.messages import Action, Models, ModelSetInfo, ModelsRequest
from core.models.registry import ModelRegistry
from core.settings import parse_settings

_INTRODUCTION = "AI-CodeGen-Assistant, seen by an editor: a real language server, a real engine, real models."

_STAND_IN = """\
The starter models are tiny stand-ins (135 million parameters). They show how everything works;
their explanations are poor. How to get real answers is said at the end."""

_STARTER = "starter"

_DEMO_SETTINGS = {"explainMaxTokens": 64, "generateMaxTokens": 48}
"""Short answers keep the demo short on a slow processor."""


def register(commands: Commands) -> None:
    """Add the command."""
    add_command(commands, "demo", run, "watch the whole product work on the starter models")


def run(context: Context) -> DemoReport:
    """Play the story in a throw-away home and report."""
    start = time.monotonic()
    as_json = context.options.json
    # The story is the answer here, so it goes where answers go; with --json only its report is printed.
    told = io.StringIO() if as_json else sys.stdout
    context = dataclasses.replace(
        context,
        folders=make_temporary_home(context.folders, "demo"),
        settings=_DEMO_SETTINGS | context.settings,
        output=open_output(as_json=as_json, out=told, notes=told),
    )
    passed = False
    try:
        story = _play(context)
        passed = story.passed
    finally:
        with contextlib.suppress(AssistantError):
            stop_engine(context.folders, context.connect)
        if passed:
            remove_temporary_home(context.folders)
    return DemoReport(
        passed=passed,
        seconds=time.monotonic() - start,
        steps=story.steps,
        process_bytes=story.status.memory.process if story.status else None,
        kept=None if passed else str(context.folders.root),
        next_steps=_next_steps(ModelRegistry(context.folders).sets()),
    )


def _play(context: Context) -> Story:
    settings, _ = parse_settings(context.settings)
    context.output.say(_INTRODUCTION)
    if settings.model_set == _STARTER:
        context.output.say(_STAND_IN)
    _pull_if_missing(context, settings.model_set)
    with tempfile.TemporaryDirectory(prefix="ai-codegen-workspace-") as workspace:
        with Editor(context.folders, Path(workspace), context.settings) as editor:
            story = Story(editor, context.output, Path(workspace))
            story.tell()
        return story


def _pull_if_missing(context: Context, name: str) -> None:
    wanted = next((one for one in ModelRegistry(context.folders).sets() if one.name == name), None)
    if wanted is not None and wanted.installed:
        return
    context.output.say(f"Fetching the model set {name!r}; this happens once.")
    start = time.monotonic()
    context.call(ModelsRequest(action=Action.PULL, set=name), Models)
    context.output.say(f"It is installed, after {time.monotonic() - start:.0f} s.")


def _next_steps(sets: Sequence[ModelSetInfo]) -> list[str]:
    """Say how to go on, with the sizes of the sets that give real answers."""
    better = [
        f"ai-codegen-assistant models pull {one.name}    # {one.bytes / 1e9:.1f} GB: {one.summary} Needs {one.hardware}."
        for one in sets
        if one.name != _STARTER
    ]
    return [
        "ai-codegen-assistant chat    # talk to it here",
        "ai-codegen-assistant serve   # what an editor starts; the README shows how for five editors",
        *better,
        "ai-codegen-assistant chat --model-set full    # use a set; in the editor: aiCodegenAssistant.modelSet",
    ]
