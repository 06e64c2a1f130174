"""What a command works with."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from cli.engine import Connect, Engine, OnEvent
from cli.output import Output
from core import codec
from core.messages import Request
from core.paths import DataFolders

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The command line, and the ways to the engine and to the person."""

    options: argparse.Namespace
    folders: DataFolders
    settings: dict[str, Any]
    output: Output
    connect: Connect

    @contextlib.contextmanager
    def engine(self, on_event: OnEvent) -> Iterator[Engine]:
        """Connect to the engine for the time of the context."""
        engine = self.connect(self.folders, self.settings, on_event)
        try:
            yield engine
        finally:
            engine.close()

    def call(self, request: Request, kind: type[T]) -> T:
        """Send one request and return its result, showing its tokens and phases meanwhile."""
        return codec.decode(kind, self.call_raw(request))

    def call_raw(self, request: Request) -> dict[str, Any]:
        """Do as `call` does, and return the result as JSON values."""
        with self.output.activity() as on_event, self.engine(on_event) as engine:
            return engine.call(request, on_event)
