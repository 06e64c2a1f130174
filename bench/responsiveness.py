"""How soon the language server answers while the engine works: `python -m bench.responsiveness [--json]`.

A real language server over stdio, the real engine and the models of the starter set, which must
be installed (`ai-codegen-assistant models pull starter`); in a data folder of its own that goes
away afterwards. A probe asks for code actions and for `assistant/status` in turns, all the time,
while the engine starts and imports torch, loads, prefills, decodes, swaps, is taught, and imports
and indexes tasks. Times are those of the client: from the request until its answer is read.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.figures import finish, median, percentile, show
from cli.lsp_client import LspClient
from core.messages import Role
from core.models.registry import ModelRegistry
from core.paths import HOME_VARIABLE, DataFolders
from core.settings import Settings

PERIOD = 0.01
"""Seconds between two probes."""
IDLE = 5.0
TIMEOUT = 600.0
TAUGHT = 15
IMPORTED = 400
SETTINGS = {"explainMaxTokens": 96, "generateMaxTokens": 64, "engineIdle": 5}


class Editor:
    """A document, and a language server that knows it."""

    def __init__(self, folders: DataFolders) -> None:
        self.streaming = threading.Event()
        """Set when the first token of an answer arrives."""
        self._client = LspClient(
            [sys.executable, "-m", "ai_codegen_assistant", "serve", "--home", str(folders.root)],
            cwd=folders.root,
            environment=os.environ | {HOME_VARIABLE: str(folders.root)},
            log=folders.root / "server.log",
            on_notification=self._notified,
            on_request=lambda *_: None,
        )
        self._uri = (folders.root / "example.py").as_uri()

    def initialize(self) -> None:
        """Shake hands and open the document."""
        params = {"processId": os.getpid(), "rootUri": None, "capabilities": {}, "initializationOptions": SETTINGS}
        self.request("initialize", params)
        self._client.notify("initialized", {})
        item = {"uri": self._uri, "languageId": "python", "version": 1, "text": _document()}
        self._client.notify("textDocument/didOpen", {"textDocument": item})

    def close(self) -> None:
        """End the server."""
        self._client.close()

    def request(self, method: str, params: Any) -> Any:
        """Send a request and wait for its answer."""
        return self._client.request(method, params, timeout=TIMEOUT)

    def code_actions(self) -> None:
        """Ask for what may be done with a selection."""
        where = {"textDocument": {"uri": self._uri}, "range": _range(4)}
        self.request("textDocument/codeAction", {**where, "context": {"diagnostics": []}})

    def status(self) -> None:
        """Ask how things stand."""
        self.request("assistant/status", {})

    def explain(self, lines: int) -> None:
        """Ask for an explanation of the document's first lines."""
        self.streaming.clear()
        where = {"textDocument": {"uri": self._uri}, "range": _range(lines)}
        self.request("assistant/explain", {**where, "streamId": "bench"})

    def models(self, action: str, role: str = "explain") -> None:
        """Load or unload."""
        self.request("assistant/models", {"action": action, "role": role})

    def teach(self, number: int) -> None:
        """Store one solved task."""
        task = {
            "description": f"Return the number of seats at table {number}, given the guests",
            "implementation": f"def seats_{number}(guests):\n    return len(guests) + {number}\n",
        }
        self.request("assistant/teach", task)

    def _notified(self, method: str, _: Any) -> None:
        if method == "assistant/tokens":
            self.streaming.set()


class Probe:
    """Asks all the time, and notes how long each answer took and what was going on."""

    def __init__(self, editor: Editor) -> None:
        self.times: dict[str, list[float]] = defaultdict(list)
        self.stage = "start"
        self._asks: list[Callable[[], None]] = [editor.code_actions, editor.status]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="probe", daemon=True)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Probe as long as the block lasts."""
        self._thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._thread.join(TIMEOUT)

    def _run(self) -> None:
        while not self._ended.wait(PERIOD):
            stage, ask = self.stage, self._asks[0]
            self._asks.reverse()
            started = time.perf_counter()
            ask()
            self.times[stage].append(1000 * (time.perf_counter() - started))


def main() -> None:
    """Measure and print the figures; the last line is one JSON object."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench-responsiveness-") as scratch:
        times = measure(_data_folder(Path(scratch)))
    busy = [one for stage, values in times.items() if stage != "idle" for one in values]
    result = {
        "p99Ms": round(percentile(busy, 99), 2),
        "maxMs": round(max(busy), 2),
        "idleP99Ms": round(percentile(times["idle"], 99), 2),
        "requests": len(busy),
    }
    if not options.json:
        rows = [
            (stage, f"{median(values):7.2f} / {percentile(values, 99):7.2f} / {max(values):7.2f}   n={len(values)}")
            for stage, values in times.items()
        ]
        show("codeAction and assistant/status, ms at the client (median / p99 / max)", rows)
    finish(result)


def measure(folders: DataFolders) -> dict[str, list[float]]:
    """Return the milliseconds of each answer, by what was going on."""
    editor = Editor(folders)
    try:
        editor.initialize()
        probe = Probe(editor)
        with probe.running():
            _work(editor, probe, folders)
        return probe.times
    finally:
        editor.close()


def _work(editor: Editor, probe: Probe, folders: DataFolders) -> None:
    probe.stage = "start and import"
    editor.request("assistant/tasks", {"limit": 1})
    probe.stage = "load"
    editor.models("load")
    probe.stage = "idle"
    time.sleep(IDLE)
    for _ in range(3):
        _explain(editor, probe)
    probe.stage = "unload and load"
    for _ in range(3):
        editor.models("unload")
        editor.models("load")
    probe.stage = "teach"
    for number in range(TAUGHT):
        editor.teach(number)
    probe.stage = "import and index, while decoding"
    answering = threading.Thread(target=editor.explain, args=(20,))
    answering.start()
    editor.request("assistant/importTasks", {"source": str(_tasks(folders.root))})
    answering.join()


def _explain(editor: Editor, probe: Probe) -> None:
    """Ask for an explanation; what comes before its first token counts as prefill."""
    probe.stage = "prefill"
    answering = threading.Thread(target=editor.explain, args=(120,))
    answering.start()
    while answering.is_alive() and not editor.streaming.wait(PERIOD):
        pass
    probe.stage = "decode"
    answering.join()


def _data_folder(scratch: Path) -> DataFolders:
    """Return a new data folder with the installed models."""
    installed = DataFolders.locate()
    registry = ModelRegistry(installed)
    for role in (Role.EXPLAIN, Role.EMBED):
        registry.locate(registry.resolve(Settings(), role))
    (scratch / "models").symlink_to(installed.models)
    return DataFolders(scratch)


def _document() -> str:
    functions = [
        f"def total_{number}(prices, rate):\n    subtotal = sum(prices[:{number}])\n    return subtotal * (1 + rate)\n\n"
        for number in range(60)
    ]
    return "".join(functions)


def _range(lines: int) -> dict[str, Any]:
    return {"start": {"line": 0, "character": 0}, "end": {"line": lines, "character": 0}}


def _tasks(folder: Path) -> Path:
    rows = [
        {
            "description": f"Sum the first {n} prices of a list",
            "implementation": f"def f{n}(p):\n    return sum(p[:{n}])\n",
        }
        for n in range(IMPORTED)
    ]
    file = folder / "tasks.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.responsiveness", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    main()
