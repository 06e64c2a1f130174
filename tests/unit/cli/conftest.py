"""A scripted engine and ways to run the command line against it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from cli.app import main
from core import codec
from core.messages import Checks, Event, Explanation, Generation, MemoryUse, Origin, Request, TaskMatch, Timings
from core.paths import DataFolders

Reply = Any
"""A result, an exception to raise, or a list of events that ends in one of them."""


@dataclass
class ScriptedEngine:
    """Implements `cli.engine.Engine`: answers with what it is told to, one after the other."""

    replies: Iterable[Reply] = ()
    requests: list[Request] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    folders: DataFolders | None = None
    closed: int = 0

    def __post_init__(self) -> None:
        self._script = list(self.replies)

    def connect(self, folders: DataFolders, settings: dict[str, Any], _: Callable[[Event], None]) -> ScriptedEngine:
        self.folders, self.settings = folders, settings
        return self

    def call(self, request: Request, on_event: Callable[[Event], None]) -> dict[str, Any]:
        self.requests.append(request)
        reply = self._script.pop(0)
        *events, end = reply if isinstance(reply, list) else [reply]
        for event in events:
            on_event(event)
        if isinstance(end, BaseException):
            raise end
        result: dict[str, Any] = codec.encode(end)
        return result

    def close(self) -> None:
        self.closed += 1


@dataclass
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str
    engine: ScriptedEngine

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Ran]:
    """Run a command line against scripted replies, with `stdin` as its input."""
    monkeypatch.setenv("AI_CODEGEN_HOME", str(tmp_path_factory.mktemp("home")))

    def run_command(*arguments: str, replies: Iterable[Reply] = (), stdin: str = "") -> Ran:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        engine = ScriptedEngine(replies)
        code = main(arguments, engine.connect)
        out, err = capsys.readouterr()
        return Ran(int(code), out, err, engine)

    return run_command


MATCH = TaskMatch(task_id="HumanEval/35", description="Return maximum element.", similarity=0.81, origin=Origin.BUILTIN)
FAR = TaskMatch(task_id="HumanEval/79", description="Convert to binary.", similarity=0.21, origin=Origin.BUILTIN)


def explanation(text: str = "It adds.", **changes: Any) -> Explanation:
    memory = MemoryUse(prompt_tokens=117, limit=8064, summarised=0)
    fields = {"conversation_id": "c1", "text": text, "model": "tiny", "memory": memory, "timings": Timings(total=12.0)}
    return Explanation(**(fields | changes))


def generation(code: str = "def f():\n    return 1\n", **changes: Any) -> Generation:
    fields = {
        "status": "generated",
        "code": code,
        "sources": [MATCH],
        "threshold": 0.55,
        "grounded": True,
        "band": "grounded",
        "model": "tiny",
        "checks": Checks(syntax=True),
        "timings": Timings(total=12.0, tokens_per_second=20.0),
    }
    return Generation(**(fields | changes))


def unknown() -> Generation:
    return Generation(status="unknown", sources=[FAR], threshold=0.55, timings=Timings(total=3.0))
