"""`eval`: measure how well the assistant does what it promises."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from cli.context import Context
from cli.exit_codes import ExitCode
from cli.parser import Commands, UsageError, add_command
from core.evaluation.progress import OnProgress

_SUMMARIES = {
    "router": "is an explanation wanted, or code?",
    "retrieval": "is the right task found?",
    "unknown": "does it know what it knows, and what does the threshold cost?",
    "generation": "HumanEval pass@1 with and without retrieval, no task ever retrieved for itself",
    "learning": "taught, then asked in other words: does the answer do the job?",
    "memory": "does a conversation stay within its bound, and what does it remember?",
}


def register(commands: Commands) -> None:
    """Add the command and one action for each evaluation."""
    parser = add_command(commands, "eval", None, "measure routing, retrieval, refusing, generating, learning, memory")
    actions = parser.add_subparsers(title="evaluations", metavar="EVALUATION", required=True, parser_class=type(parser))
    for name, summary in _SUMMARIES.items():
        action = add_command(actions, name, run, summary)
        action.set_defaults(evaluation=name)
        action.add_argument("--data", metavar="FILE", type=Path, help="your own cases, JSON lines (see the README)")
        action.add_argument("--limit", metavar="N", type=_positive, help="take N cases only, spread over the file")
        action.add_argument("--report", metavar="FILE.html", type=Path, help="also write a page with plots")


def run(context: Context) -> int:
    """Evaluate; with `--json` the last line is one object."""
    # Evaluations load numpy, which no other command has to wait for.
    from core.evaluation.catalogue import EVALUATIONS  # noqa: PLC0415
    from core.evaluation.page import render  # noqa: PLC0415
    from core.evaluation.setup import Setup  # noqa: PLC0415

    options = context.options
    with _progress(context) as on_progress:
        setup = Setup(
            folders=context.folders,
            settings=context.settings,
            data=options.data,
            limit=options.limit,
            on_progress=on_progress,
        )
        report = asyncio.run(EVALUATIONS[options.evaluation](setup))
    if options.report:
        _write(options.report, render(report))
    if options.json:
        sys.stdout.write(json.dumps(report.figures) + "\n")
    else:
        from cli.evaluation_view import show  # noqa: PLC0415 - loads rich

        show(report, options.report)
    return ExitCode.OK


def _progress(context: Context) -> AbstractContextManager[OnProgress]:
    if context.options.json:
        return nullcontext(lambda _: None)
    from cli.evaluation_view import progress  # noqa: PLC0415 - loads rich

    return progress()


def _write(path: Path, page: str) -> None:
    try:
        path.write_text(page, "utf-8")
    except OSError as error:
        raise UsageError(f"The report {path} cannot be written: {error.strerror}.") from None


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)
