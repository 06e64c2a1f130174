"""`eval`: measure how well the assistant does what it promises."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from cli.context import Context
from cli.exit_codes import ExitCode
from cli.parser import Commands, UsageError, add_command


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """What `--help` says about an evaluation."""

    summary: str
    data: str
    """The fields of a line of data."""


_EVALUATIONS = {
    "router": _Evaluation("is an explanation wanted, or code?", '{"text", "intent"}'),
    "retrieval": _Evaluation(
        "is the right task found? With --data in your own knowledge, else in the built-in tasks",
        '{"query", "known", "task_id"}',
    ),
    "unknown": _Evaluation(
        "does it know what it knows, and what does the threshold cost? With --data in your own knowledge, "
        "else in the built-in tasks",
        '{"query", "known", "task_id"?}',
    ),
    "generation": _Evaluation(
        "HumanEval pass@1 with and without retrieval; no task is ever retrieved for itself",
        '{"task_id", "prompt", "entry_point", "test"}',
    ),
    "learning": _Evaluation(
        "taught, then asked in other words: does the answer do the job?",
        '{"task_id", "description", "implementation", "query", "entry_point", "tests"}',
    ),
    "memory": _Evaluation(
        "does a conversation stay within its bound, and what does it remember?", '{"fact", "question", "answer": [...]}'
    ),
}


def register(commands: Commands) -> None:
    """Add the command and one action for each evaluation."""
    parser = add_command(commands, "eval", None, "measure routing, retrieval, refusing, generating, learning, memory")
    actions = parser.add_subparsers(title="evaluations", metavar="EVALUATION", required=True, parser_class=type(parser))
    for name, evaluation in _EVALUATIONS.items():
        action = add_command(actions, name, run, evaluation.summary)
        action.set_defaults(evaluation=name)
        action.add_argument(
            "--data", metavar="FILE", type=Path, help=f"your own cases, a JSON object a line: {evaluation.data}"
        )
        action.add_argument("--limit", metavar="N", type=_positive, help="take N cases only, spread over the file")
        action.add_argument("--report", metavar="FILE.html", type=Path, help="also write a page with plots")


def run(context: Context) -> int:
    """Evaluate, with progress on standard error; with `--json` the last line of the output is one object."""
    # Evaluations load numpy, and their views load rich: no other command has to wait for that.
    from cli import evaluation_view as view  # noqa: PLC0415
    from core.evaluation.catalogue import EVALUATIONS  # noqa: PLC0415
    from core.evaluation.page import render  # noqa: PLC0415
    from core.evaluation.setup import Setup  # noqa: PLC0415

    options = context.options
    if options.report:
        _check_writable(options.report)
    with view.progress() as on_progress:
        setup = Setup(
            folders=context.folders,
            settings=context.settings,
            data=options.data,
            limit=options.limit,
            on_progress=on_progress,
        )
        report = asyncio.run(EVALUATIONS[options.evaluation](setup))
    if options.report:
        options.report.write_text(render(report), "utf-8")
    if options.json:
        sys.stdout.write(json.dumps(report.figures) + "\n")
    else:
        view.show(report, options.report)
    return ExitCode.OK


def _check_writable(path: Path) -> None:
    """Find out before hours of work whether their result can be stored."""
    try:
        path.open("a").close()
    except OSError as error:
        raise UsageError(f"The report {path} cannot be written: {error.strerror}.") from None


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)
