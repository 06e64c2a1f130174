"""Downloads from a model hub: a small server plays the hub."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from core.cancellation import CancelToken
from core.errors import DownloadFailed
from core.messages import Phase
from core.models.fetch import fetch_dataset
from core.models.installer import Installer
from core.models.registry import ModelRegistry
from core.models.spec import DatasetSource
from core.paths import DataFolders

pytestmark = pytest.mark.e2e

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = bytes(range(256)) * 20_000
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"a pickle",
    "modeling_custom.py": b"raise SystemExit",
    "onnx/model.onnx": b"onnx",
    "onnx/config.json": b"{}",
}


class Hub(ThreadingHTTPServer):
    """What the hub's library needs of a hub."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = dict(FILES)
        self.stated = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
        self.requests: list[str] = []
        self.cut: str | None = None


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(f"{self.command} {path}")
        if path.startswith("/api/models/tiny/model/tree/"):
            self.send_json([self.entry(name) for name in self.server.files])
        elif path.startswith("/api/models/tiny/model/revision/"):
            siblings = [{"rfilename": name, **self.entry(name)} for name in self.server.files]
            self.send_json({"id": "tiny/model", "sha": COMMIT, "siblings": siblings})
        elif path.startswith("/tiny/model/resolve/"):
            self.send_file(path.split("/", 5)[5])
        else:
            self.send_error(404)

    def entry(self, name: str) -> dict[str, object]:
        size = len(self.server.files[name])
        row: dict[str, object] = {"type": "file", "path": name, "size": size, "oid": "a" * 40, "blobId": "a" * 40}
        if name.endswith(".safetensors"):
            row["lfs"] = {
                "oid": self.server.stated[name],
                "sha256": self.server.stated[name],
                "size": size,
                "pointerSize": 9,
            }
        return row

    def send_json(self, value: object) -> None:
        self.send_bytes(json.dumps(value).encode(), {"Content-Type": "application/json", "X-Repo-Commit": COMMIT})

    def send_file(self, name: str) -> None:
        if name not in self.server.files:
            self.send_error(404)
            return
        headers = {"ETag": f'"{self.server.stated[name]}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        self.send_bytes(self.server.files[name], headers, cut=self.server.cut == name)

    def send_bytes(self, content: bytes, headers: dict[str, str], *, cut: bool = False) -> None:
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0] or 0)
        part = content[start:]
        self.send_response(206 if start else 200)
        for name, value in {**headers, "Content-Length": str(len(part))}.items():
            self.send_header(name, value)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(part[: len(part) // 2] if cut else part)
        self.close_connection = cut

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # a pull goes ahead all the same
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(DataFolders(tmp_path / "home"))


def pull(registry: ModelRegistry, name: str = "tiny/model") -> list[Phase]:
    phases: list[Phase] = []
    Installer(registry).pull(name, phases.append, CancelToken())
    return phases


def test_only_safetensors_and_what_belongs_to_them_are_fetched(hub: Hub, registry: ModelRegistry) -> None:
    phases = pull(registry)
    folder = registry.locate("tiny/model")
    names = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert names == {"config.json", "tokenizer.json", "model.safetensors", "manifest.json"}
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert not any(".bin" in request or ".py" in request for request in hub.requests)
    assert phases[-1].fraction == 1.0


def test_installed_model_needs_no_hub(hub: Hub, registry: ModelRegistry) -> None:
    pull(registry)
    hub.requests.clear()
    pull(registry)
    assert hub.requests == []


def test_interrupted_download_goes_on(hub: Hub, registry: ModelRegistry) -> None:
    hub.cut = "model.safetensors"
    with pytest.raises(DownloadFailed, match="what has arrived is kept"):
        pull(registry)
    assert not registry.installed("tiny/model")
    hub.cut = None
    hub.requests.clear()
    pull(registry)
    assert (registry.locate("tiny/model") / "model.safetensors").read_bytes() == WEIGHTS
    assert not any(request.startswith("GET") and request.endswith("/config.json") for request in hub.requests)


def test_wrong_checksum_is_noticed_and_the_file_is_fetched_anew(hub: Hub, registry: ModelRegistry) -> None:
    hub.files["model.safetensors"] = WEIGHTS[:-1] + b"!"
    with pytest.raises(DownloadFailed, match=r"model\.safetensors arrived with the checksum"):
        pull(registry)
    assert not registry.installed("tiny/model")
    hub.files["model.safetensors"] = WEIGHTS
    pull(registry)
    assert registry.installed("tiny/model")


def test_repository_without_safetensors_is_refused(hub: Hub, registry: ModelRegistry) -> None:
    del hub.files["model.safetensors"]
    with pytest.raises(DownloadFailed, match="offers no safetensors"):
        pull(registry)


@pytest.mark.usefixtures("hub")
def test_unknown_repository_is_named(registry: ModelRegistry) -> None:
    with pytest.raises(DownloadFailed, match="tiny/nonesuch could not be downloaded from the model hub"):
        pull(registry, "tiny/nonesuch")


def test_hub_that_cannot_be_reached(registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with pytest.raises(DownloadFailed, match=r"Check the name and the network"):
        pull(registry)


def test_split_of_a_data_set_becomes_json_lines(tmp_path: Path) -> None:
    """`datasets` reads a folder as it reads a repository."""
    rows = [{"task_id": "T/1", "prompt": "def f():\n"}, {"task_id": "T/2", "prompt": "naïve 🙂"}]
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = DatasetSource(repo=str(tmp_path / "source"), split="test")
    target = tmp_path / "target"
    fractions: list[float] = []
    fetch_dataset(source, target, "tasks.jsonl.gz", fractions.append, CancelToken())
    lines = gzip.decompress((target / "tasks.jsonl.gz").read_bytes()).decode().splitlines()
    assert [json.loads(line) for line in lines] == rows
    assert fractions == [0.5, 1.0]
    assert [one.name for one in target.iterdir()] == ["tasks.jsonl.gz"]
