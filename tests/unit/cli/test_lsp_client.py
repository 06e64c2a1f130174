"""The client against a real child process that speaks the protocol badly or well."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.lsp_client import LspClient, LspError
from core.errors import EngineUnavailable

SERVER = """
import json, sys

def read():
    length = 0
    while (line := sys.stdin.buffer.readline().strip()):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return json.loads(sys.stdin.buffer.read(length)) if length else None

def send(message):
    body = json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False).encode()
    sys.stdout.buffer.write(b"content-type: x\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
    sys.stdout.buffer.flush()

while (message := read()) is not None:
    method, number = message.get("method"), message.get("id")
    if method == "echo":
        send({"method": "seen", "params": message["params"]})
        send({"id": number, "result": message["params"]})
    elif method == "ask back":
        send({"id": "s1", "method": "question", "params": 20})
        send({"id": number, "result": read()["result"]})
    elif method == "fail":
        send({"id": number, "error": {"code": -32602, "message": "range: is required", "data": {"field": "range"}}})
    elif method == "die":
        sys.exit(3)
    elif method == "shutdown":
        send({"id": number, "result": None})
    elif method == "exit":
        sys.exit(0)
"""


@pytest.fixture
def seen() -> list[tuple[str, Any]]:
    return []


@pytest.fixture
def client(tmp_path: Path, seen: list[tuple[str, Any]]) -> LspClient:
    return LspClient(
        [sys.executable, "-c", SERVER],
        cwd=tmp_path,
        environment=dict(os.environ),
        log=tmp_path / "server.log",
        on_notification=lambda method, params: seen.append((method, params)),
        on_request=lambda method, params: params + 1 if method == "question" else None,
    )


def test_a_request_is_answered_after_the_notifications_before_it(
    client: LspClient, seen: list[tuple[str, Any]]
) -> None:
    with client:
        assert client.request("echo", {"text": "grüße 😀"}, timeout=20) == {"text": "grüße 😀"}
        assert seen == [("seen", {"text": "grüße 😀"})]


def test_the_servers_own_requests_are_answered(client: LspClient) -> None:
    with client:
        assert client.request("ask back", None, timeout=20) == 21


def test_an_error_keeps_its_code_and_data(client: LspClient) -> None:
    with client, pytest.raises(LspError, match="range: is required") as caught:
        client.request("fail", None, timeout=20)
    assert caught.value.data == {"code": -32602, "details": {"field": "range"}}


def test_a_server_that_ends_answers_nobody_and_keeps_nobody_waiting(client: LspClient) -> None:
    with client:
        for _ in range(2):
            with pytest.raises(EngineUnavailable, match="language server"):
                client.request("die", None, timeout=20)


def test_an_answer_that_does_not_come_is_a_timeout(client: LspClient) -> None:
    with client, pytest.raises(TimeoutError):
        client.request("unheard", None, timeout=0.1)
