"""The benchmark for GPU machines runs from beginning to end, with the few packages that such machines have."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ABSENT = ("chromadb", "datasets", "gguf", "lsprotocol", "platformdirs", "pygls", "rich", "sentence_transformers")
RUN = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({ABSENT!r}))
runpy.run_module("bench.gpu", run_name="__main__")
"""


@pytest.mark.timeout(600)
def test_benchmark_of_gpus_runs_at_tiny_size_on_the_cpu(tmp_path: Path) -> None:
    arguments = ["--tiny", "--device", "cpu", "--rounds", "2", "--results", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert "computed exactly what fresh ones compute" in done.stdout
    assert "Recorded steps said exactly what unrecorded ones say" in done.stdout
    figures = {row["name"]: row["median"] for row in result["rows"]}
    assert {"phi3: full swap", "overlap swap", "phi3: decode", "coder: decode, 9 of 10 guesses right"} <= set(figures)
    assert figures["steps recorded again in 50 swaps"] == figures["weights that changed their address"] == 0
    assert json.loads(next(tmp_path.glob("gpu-*.json")).read_text()) == result
    assert next(tmp_path.glob("gpu-*.md")).read_text().count("\n| ") == len(result["rows"]) + 1
