"""An editor with one open, unsaved document, as far as the language server can tell."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from cli.lsp_client import LspClient
from core.messages import Event, Phase, PhaseName, Tokens
from core.paths import HOME_VARIABLE, DataFolders
from core.settings import SECTION

ANSWER_TIMEOUT = 600.0
"""Seconds; a model's first load on a slow disk is part of the first answer."""

_STREAM = "demo"


@dataclass(slots=True)
class Document:
    """The open document: what the editor shows, not what is on disk."""

    path: Path
    text: str
    version: int = 1

    @property
    def uri(self) -> str:
        """The document's name in the protocol."""
        return self.path.as_uri()

    @property
    def reference(self) -> dict[str, Any]:
        """`textDocument` of a request."""
        return {"uri": self.uri, "version": self.version}

    def range_of(self, first: str, last: str) -> dict[str, Any]:
        """Return the whole lines from the one that holds `first` to the one that holds `last`."""
        start, end = self.line_of(first), self.line_of(last)
        return {"start": {"line": start, "character": 0}, "end": {"line": end + 1, "character": 0}}

    def line_of(self, part: str) -> int:
        """Return the line, from 0, that holds `part`."""
        return self.text[: self.text.index(part)].count("\n")

    def apply(self, edit: dict[str, Any]) -> None:
        """Apply a text edit; the demo's text is ASCII, so that positions are offsets in a line."""
        start, end = (self._offset(edit["range"][name]) for name in ("start", "end"))
        self.text = self.text[:start] + edit["newText"] + self.text[end:]
        self.version += 1

    def _offset(self, position: dict[str, int]) -> int:
        lines = self.text.splitlines(keepends=True)
        return sum(map(len, lines[: position["line"]])) + position["character"]


@dataclass(slots=True)
class Answer:
    """The result of a request, and what was seen until it came."""

    result: dict[str, Any]
    seconds: float
    tokens: list[str] = field(default_factory=list)


class Editor:
    """Sends what an editor sends and keeps what it would show."""

    def __init__(self, folders: DataFolders, workspace: Path, settings: dict[str, Any]) -> None:
        """Start the language server.

        Args:
            folders: The data folder the server is to use.
            workspace: The folder that is open in the editor.
            settings: The body of the section `aiCodegenAssistant`.
        """
        self.messages: list[str] = []
        """What the server wants shown, oldest first."""
        self._settings = settings
        self._workspace = workspace
        self._on_event: Callable[[Event], None] = _ignore
        self._tokens: list[str] = []
        folders.root.mkdir(parents=True, exist_ok=True)
        self._client = LspClient(
            [sys.executable, "-m", "ai_codegen_assistant", "serve", "--home", str(folders.root)],
            cwd=workspace,
            environment=os.environ | {HOME_VARIABLE: str(folders.root)},
            log=folders.root / "server.log",
            on_notification=self._notified,
            on_request=self._requested,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def initialize(self) -> Answer:
        """Shake hands."""
        params = {
            "processId": os.getpid(),
            "rootUri": self._workspace.as_uri(),
            "capabilities": {
                "window": {"workDoneProgress": True},
                "workspace": {"configuration": True, "workspaceEdit": {"documentChanges": True}},
            },
            "initializationOptions": self._settings,
        }
        answer = self.request("initialize", params, _ignore)
        self._client.notify("initialized", {})
        return answer

    def open(self, document: Document) -> None:
        """Show a document."""
        item = {"uri": document.uri, "languageId": "python", "version": document.version, "text": document.text}
        self._client.notify("textDocument/didOpen", {"textDocument": item})

    def change(self, document: Document) -> None:
        """Tell the server of the document's new text, which stays unsaved."""
        self._client.notify(
            "textDocument/didChange",
            {"textDocument": document.reference, "contentChanges": [{"text": document.text}]},
        )

    def request(self, method: str, params: dict[str, Any], on_event: Callable[[Event], None]) -> Answer:
        """Send a request and wait for its answer, reporting tokens and progress meanwhile."""
        self._on_event, self._tokens = on_event, []
        start = time.monotonic()
        result = self._client.request(method, params, timeout=ANSWER_TIMEOUT)
        answer = Answer(result, time.monotonic() - start, self._tokens)
        self._on_event = _ignore
        return answer

    def assistant(self, method: str, on_event: Callable[[Event], None], **params: Any) -> Answer:
        """Send one of the assistant's own requests, with its answer streamed."""
        streamed = {"streamId": _STREAM} if method in {"ask", "explain", "generate"} else {}
        return self.request(f"assistant/{method}", params | streamed, on_event)

    def _notified(self, method: str, params: Any) -> None:
        if method == "assistant/tokens":
            self._tokens.append(params["text"])
            self._on_event(Tokens(text=params["text"]))
        elif method == "$/progress" and isinstance(params["value"], dict):
            self._progressed(params["value"])
        elif method == "window/showMessage":
            self.messages.append(params["message"])

    def _progressed(self, value: dict[str, Any]) -> None:
        message, share = value.get("message"), value.get("percentage")
        if message:
            fraction = None if share is None else share / 100
            # The protocol tells words, not names; any name makes them be shown.
            self._on_event(Phase(name=PhaseName.STARTING, message=message.partition(" (")[0], fraction=fraction))

    def _requested(self, method: str, params: Any) -> Any:
        if method == "workspace/configuration":
            return [self._settings if item.get("section") == SECTION else None for item in params["items"]]
        return None


def _ignore(_: Event) -> None:
    """Take no notice."""
