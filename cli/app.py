"""The command line's entry: reads the arguments, runs one command, reports how it ended."""

from __future__ import annotations

import contextlib
import os
import sys
from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence

from cli import exit_codes
from cli.commands import chat, conversations, demo, doctor, evaluate, feedback, models, processes, questions, tasks
from cli.context import Context
from cli.engine import BlockingClient, Connect
from cli.exit_codes import ExitCode
from cli.output import Output, open_output
from cli.parser import Parser, add_common_options, settings_of
from core.errors import AssistantError, Cancelled
from core.paths import DataFolders
from core.version import VERSION

_GROUPS = (questions, chat, tasks, feedback, models, conversations, processes, doctor, demo, evaluate)


def main(arguments: Sequence[str], connect: Connect = BlockingClient.connect) -> int:
    """Run one command and return its exit status.

    Args:
        arguments: The command line without the program's name.
        connect: How to reach the engine.
    """
    try:
        options = build_parser().parse_args(arguments)
        context = _context(options, connect)
    except AssistantError as error:
        _output(as_json="--json" in arguments).fail(error)
        return exit_codes.of_error(error)
    try:
        return _run(context)
    except AssistantError as error:
        context.output.fail(error)
        return exit_codes.of_error(error)
    except KeyboardInterrupt:
        context.output.fail(Cancelled("Interrupted."))
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does; the interpreter may not complain at its end.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED


def build_parser() -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog="ai-codegen-assistant",
        description="A fully offline coding assistant for Python: explains code, turns comments into code, "
        "and learns tasks you teach it.",
        epilog=exit_codes.EXPLAINED,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    add_common_options(parser, nested=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    for group in _GROUPS:
        group.register(commands)
    return parser


def _context(options: Namespace, connect: Connect) -> Context:
    return Context(
        options=options,
        folders=DataFolders(options.home.expanduser().absolute()) if options.home else DataFolders.locate(),
        settings=settings_of(options),
        output=_output(as_json=options.json),
        connect=connect,
    )


def _output(*, as_json: bool) -> Output:
    return open_output(as_json=as_json, out=sys.stdout, notes=sys.stderr)


def _run(context: Context) -> int:
    result = context.options.run(context)
    if isinstance(result, int):
        return result
    context.output.show(result)
    return exit_codes.of_result(result)
