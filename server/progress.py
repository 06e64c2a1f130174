"""Showing the long phases of a request with the protocol's work-done progress."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.progress import Progress

from core.messages import Phase

Token = str | int


class ProgressHost(Protocol):
    """What progress needs of the server."""

    @property
    def work_done_progress(self) -> Progress:
        """The tokens known to the protocol."""
        ...

    @property
    def client_capabilities(self) -> types.ClientCapabilities:
        """What the editor can do."""
        ...


class WorkProgress:
    """Progress of one piece of work.

    With a token of the editor's it begins at once. Without one it begins with the first phase,
    where the editor can show progress that it has not asked for.
    """

    def __init__(self, host: ProgressHost, title: str, token: Token | None, on_cancel: Callable[[], object]) -> None:
        self._progress = host.work_done_progress
        self._can_create = _can_create(host.client_capabilities)
        self._title = title
        self._token = token
        self._on_cancel = on_cancel
        self._creating: asyncio.Task[None] | None = None
        self._latest: Phase | None = None
        if token is not None:
            self._begin(token)

    def report(self, phase: Phase) -> None:
        """Show that the work has entered a phase or has got further in it."""
        self._latest = phase
        if self._token is not None:
            report = types.WorkDoneProgressReport(message=describe(phase), percentage=_percentage(phase))
            self._progress.report(self._token, report)
        elif self._can_create and self._creating is None:
            self._creating = asyncio.create_task(self._create(), name="create-progress")

    async def close(self) -> None:
        """End the display and forget the token."""
        if self._creating is not None:
            self._creating.cancel()
            await asyncio.wait([self._creating])
        if self._token is not None:
            self._progress.end(self._token, types.WorkDoneProgressEnd())
            self._progress.tokens.pop(self._token, None)
            self._token = None

    async def _create(self) -> None:
        token = str(uuid.uuid4())
        try:
            await self._progress.create_async(token)
        except JsonRpcException:
            # The editor does not want to show it; the work goes on without.
            return
        self._token = token
        self._begin(token)

    def _begin(self, token: Token) -> None:
        begin = types.WorkDoneProgressBegin(title=self._title, cancellable=True)
        if self._latest is not None:
            begin.message, begin.percentage = describe(self._latest), _percentage(self._latest)
        self._progress.begin(token, begin)
        self._progress.tokens[token].add_done_callback(self._on_token)

    def _on_token(self, token: Future[None]) -> None:
        if token.cancelled():
            self._on_cancel()


def describe(phase: Phase) -> str:
    """Return a phase in words, with the share that is done where it is known."""
    return phase.message if phase.fraction is None else f"{phase.message} ({phase.fraction:.0%})"


def _percentage(phase: Phase) -> int | None:
    return None if phase.fraction is None else round(100 * min(max(phase.fraction, 0.0), 1.0))


def _can_create(capabilities: types.ClientCapabilities) -> bool:
    return capabilities.window is not None and bool(capabilities.window.work_done_progress)
