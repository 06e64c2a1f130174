"""`ask`, `explain` and `generate`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from cli.context import Context
from cli.engine import decode_answer
from cli.parser import Commands, Location, UsageError, add_command, read_selection
from core.messages import AskRequest, ExplainRequest, Explanation, GenerateRequest, Generation, Intent

_STDIN = "-"


def register(commands: Commands) -> None:
    """Add the commands."""
    ask = add_command(commands, "ask", run_ask, "ask anything: the question is routed to explain or generate")
    ask.add_argument("question", nargs="+", help="the question, or - to read it from standard input")
    ask.add_argument("--code", metavar="FILE[:START-END]", type=Location.parse, help="code the question is about")
    ask.add_argument("--conversation", metavar="ID", help="go on with a conversation")
    ask.add_argument("--intent", choices=[one.value for one in Intent], help="overrule the router")
    _add_force(ask)

    explain = add_command(commands, "explain", run_explain, "explain code, or go on talking about it")
    explain.add_argument("code", metavar="FILE[:START-END]", type=Location.parse, help="lines count from 1")
    explain.add_argument("--question", metavar="TEXT", help="what to explain about it")
    explain.add_argument("--conversation", metavar="ID", help="go on with a conversation")

    generate = add_command(commands, "generate", run_generate, "turn a description into code")
    generate.add_argument("description", nargs="+", help="the description, or - to read it from standard input")
    _add_force(generate)


def run_ask(context: Context) -> Explanation | Generation:
    """Route a question, then explain or generate."""
    options = context.options
    request = AskRequest(
        query=_text(options.question),
        conversation_id=options.conversation,
        selection=read_selection(options.code) if options.code else None,
        intent=Intent(options.intent) if options.intent else None,
        force=options.force,
    )
    return decode_answer(context.call_raw(request))


def run_explain(context: Context) -> Explanation:
    """Explain lines of a file."""
    options = context.options
    request = ExplainRequest(
        selection=read_selection(options.code), question=options.question, conversation_id=options.conversation
    )
    return context.call(request, Explanation)


def run_generate(context: Context) -> Generation:
    """Turn a description into code."""
    options = context.options
    return context.call(GenerateRequest(prompt=_text(options.description), force=options.force), Generation)


def _add_force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="generate even if no stored task is close enough")


def _text(words: Sequence[str]) -> str:
    text = sys.stdin.read() if list(words) == [_STDIN] else " ".join(words)
    if not text.strip():
        raise UsageError("The text is empty; say what you want to know or to have written.")
    return text
