"""`serve`, `engine`, `status` and `stop`: the processes of the application."""

from __future__ import annotations

import os

from cli.context import Context
from cli.engine import stop_engine
from cli.parser import Commands, add_command
from core.messages import Done, Status, StatusRequest
from core.paths import HOME_VARIABLE


def register(commands: Commands) -> None:
    """Add the commands."""
    add_command(commands, "serve", run_serve, "run the language server on standard input and output")
    add_command(commands, "engine", run_engine, None)
    add_command(commands, "status", run_status, "show the engine, its models, its queue and its knowledge")
    add_command(commands, "stop", run_stop, "end the engine; it starts again when it is needed")


def run_serve(context: Context) -> int:
    """Run the language server."""
    # The server finds the data folder the way every client does.
    os.environ[HOME_VARIABLE] = str(context.folders.root)
    from server.app import serve  # noqa: PLC0415 - loads pygls, which no other command needs

    return serve()


def run_engine(context: Context) -> int:
    """Run the engine."""
    from core.engine import host  # noqa: PLC0415 - loads the heavy half of the application

    return host.main(context.folders)


def run_status(context: Context) -> Status:
    """Ask how things stand."""
    return context.call(StatusRequest(), Status)


def run_stop(context: Context) -> Done:
    """End the engine."""
    return Done(message=stop_engine(context.folders, context.connect))
