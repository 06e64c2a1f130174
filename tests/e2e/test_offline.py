"""Nothing needs the network once the models are installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

WITHOUT_NETWORK = ["unshare", "--map-root-user", "--net"]
"""A namespace of its own, with no interface but a loopback that is down."""


def test_everything_works_without_a_network(fresh_home: Path) -> None:
    # In one namespace, so that all commands reach the same engine.
    (fresh_home / "sums.py").write_text("def add(a, b):\n    return a + b\n")
    (fresh_home / "solved.py").write_text("def to_reaumur(celsius):\n    return celsius * 0.8\n")
    story = """
set -e
assistant() { "$PYTHON" -m ai_codegen_assistant --json --home "$HOME_FOLDER" "$@"; }
"$PYTHON" -c 'import socket; assert [name for _, name in socket.if_nameindex()] == ["lo"]'
assistant explain sums.py:1-2 --set explainMaxTokens=16
assistant generate "turn a temperature from degrees Celsius into degrees Réaumur" || test $? = 3
assistant teach --description "Convert degrees Celsius to degrees Réaumur." --file solved.py
assistant generate "turn a temperature from degrees Celsius into degrees Réaumur"
assistant stop
"""
    done = subprocess.run(
        [*WITHOUT_NETWORK, "bash", "-c", story],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=fresh_home,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(fresh_home),
            "PYTHON": sys.executable,
            "HOME_FOLDER": str(fresh_home),
        },
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    explained, refused, taught, generated, _ = (json.loads(line) for line in _documents(done.stdout))
    assert explained["text"]
    assert refused["status"] == "unknown"
    assert generated["sources"][0]["taskId"] == taught["taskId"]
    assert "0.8" in generated["code"]


def _documents(text: str) -> list[str]:
    """Split what several commands printed into JSON documents."""
    decoder, found, position = json.JSONDecoder(), [], 0
    while position < len(text.rstrip()):
        _, end = decoder.raw_decode(text, position)
        found.append(text[position:end])
        position = end + len(text[end:]) - len(text[end:].lstrip())
    return found
