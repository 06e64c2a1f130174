"""`chat`: a talk with the assistant in the terminal."""

from __future__ import annotations

from cli import keyboard
from cli.chat import Chat
from cli.context import Context
from cli.exit_codes import ExitCode
from cli.parser import Commands, Location, UsageError, add_command, read_selection


def register(commands: Commands) -> None:
    """Add the command."""
    chat = add_command(commands, "chat", run, "ask, explain, generate and teach in one session; /help lists more")
    chat.add_argument("--code", metavar="FILE[:START-END]", type=Location.parse, help="code to talk about")


def run(context: Context) -> ExitCode:
    """Talk until the person leaves."""
    if context.options.json:
        raise UsageError("chat is a dialogue; for JSON use `ask --conversation ID --json`.")
    selection = read_selection(context.options.code) if context.options.code else None
    history = context.folders.root / "chat-history"
    keyboard.enable_history(history)
    with context.output.activity() as on_event:
        engine = context.connect(context.folders, context.settings, on_event)
    try:
        Chat(engine, context.output, selection).run()
    finally:
        engine.close()
        keyboard.save_history(history)
    return ExitCode.OK
