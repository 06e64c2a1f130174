"""Building the language server, and serving it over standard input and output."""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
from typing import BinaryIO

from lsprotocol import types

from core.engine.client import EngineClient
from core.paths import DataFolders
from server.engine_link import Connect
from server.handlers import ask, code_actions, commands, conversations, explain, generate, status, tasks, teach
from server.server import AssistantServer

_HANDLERS = (ask, explain, generate, teach, tasks, conversations, status, code_actions, commands)


def create_server(connect: Connect) -> AssistantServer:
    """Return a server with all handlers attached.

    Args:
        connect: Opens the connection to the engine; called in the background once the editor
            has said `initialized`, or with the first request.
    """
    server = AssistantServer(connect)
    _attach_life_cycle(server)
    for handlers in _HANDLERS:
        handlers.register(server)
    return server


def serve() -> int:
    """Serve one editor over standard input and output, and return the exit status."""
    _configure_logging()
    # Nothing of ours is lost by an interrupt, and the thread that reads would hold up an orderly end.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    stdin, stdout = _claim_stdio()
    server = create_server(functools.partial(EngineClient.connect, DataFolders.locate()))
    server.start_io(stdin, stdout)
    return 1 if server.exit_was_abrupt else 0


def _attach_life_cycle(server: AssistantServer) -> None:
    @server.feature(types.INITIALIZE)
    def initialize(ls: AssistantServer, params: types.InitializeParams) -> None:
        ls.configuration.accept(params.initialization_options)

    @server.feature(types.INITIALIZED)
    def initialized(ls: AssistantServer, _: types.InitializedParams) -> None:
        ls.spawn(ls.start, "start")

    @server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    def changed(ls: AssistantServer, params: types.DidChangeConfigurationParams) -> None:
        ls.configuration.accept(params.settings)
        ls.engine.reload_settings()

    @server.feature(types.SHUTDOWN)
    async def shutdown(ls: AssistantServer, _: None) -> None:
        await ls.close()

    @server.feature(types.EXIT)
    def leave(ls: AssistantServer, _: None) -> None:
        ls.exit_was_abrupt = not ls.protocol.shutting_down


def _claim_stdio() -> tuple[BinaryIO, BinaryIO]:
    """Keep the two streams for the protocol; whatever prints to standard output goes to the log."""
    stdin, stdout = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return stdin, stdout


def _configure_logging() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("pygls").setLevel(logging.WARNING)
    # The errors these log hold params, that is people's code; what fails is answered and logged by us.
    for name in ("pygls.protocol.json_rpc", "pygls.server"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
