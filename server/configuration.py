"""The person's settings: from the editor to the engine.

They come with `initialize`, are asked for where the editor answers `workspace/configuration`,
and change with `workspace/didChangeConfiguration`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer

from core import codec
from core.settings import SECTION, parse_settings

logger = logging.getLogger(__name__)

PULL_TIMEOUT = 5.0
"""Seconds an editor may take to send its settings before we go on without."""


class Configuration:
    """The settings of one editor window."""

    def __init__(self, server: LanguageServer) -> None:
        self._server = server
        self._body: Mapping[str, Any] = {}
        self._shown: set[str] = set()

    def accept(self, sent: Any) -> None:
        """Take settings as they were pushed: the section's body, or an object that holds the section."""
        if not isinstance(sent, Mapping):
            return
        body = sent.get(SECTION, sent)
        if isinstance(body, Mapping):
            self._body = body

    async def load(self) -> dict[str, Any]:
        """Return the usable settings, asked for anew if the editor can be asked.

        What is not usable is shown to the person, once.
        """
        await self._pull()
        settings, problems = parse_settings(self._body)
        for problem in problems:
            if problem not in self._shown:
                self._shown.add(problem)
                self._server.window_show_message(types.ShowMessageParams(types.MessageType.Warning, problem))
        encoded: dict[str, Any] = codec.encode(settings)
        return encoded

    async def _pull(self) -> None:
        if not self._can_pull():
            return
        item = types.ConfigurationItem(section=SECTION)
        request = self._server.workspace_configuration_async(types.ConfigurationParams(items=[item]))
        try:
            answer = await asyncio.wait_for(request, PULL_TIMEOUT)
        except (JsonRpcException, TimeoutError) as problem:
            logger.warning("The editor did not send its settings: %s", type(problem).__name__)
            return
        if answer and isinstance(answer[0], Mapping):
            self._body = answer[0]

    async def watch(self) -> None:
        """Ask to be told of changes, where the editor wants to be asked."""
        if not self._can_register():
            return
        registration = types.Registration(
            id="settings", method=types.WORKSPACE_DID_CHANGE_CONFIGURATION, register_options={"section": SECTION}
        )
        try:
            await self._server.client_register_capability_async(types.RegistrationParams([registration]))
        except JsonRpcException as problem:
            logger.warning("The editor does not tell of changed settings: %s", problem.message)

    def _can_pull(self) -> bool:
        workspace = self._server.client_capabilities.workspace
        return workspace is not None and bool(workspace.configuration)

    def _can_register(self) -> bool:
        workspace = self._server.client_capabilities.workspace
        changes = workspace.did_change_configuration if workspace is not None else None
        return changes is not None and bool(changes.dynamic_registration)
