"""The benchmark for GPU machines runs from beginning to end, with the few packages that such machines have."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bench.gpu import Report
from bench.gpu_setup import Row

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
    assert result["problems"] == []
    assert "computed exactly what fresh ones compute" in done.stdout
    assert "Recorded steps said exactly what unrecorded ones say" in done.stdout
    figures = {row["name"]: row["median"] for row in result["rows"]}
    assert {"phi3: full swap", "overlap swap", "phi3: decode", "coder: decode, 9 of 10 guesses right"} <= set(figures)
    assert figures["steps recorded again in 50 swaps"] == figures["weights that changed their address"] == 0
    assert json.loads(next(tmp_path.glob("gpu-*.json")).read_text()) == result
    assert next(tmp_path.glob("gpu-*.md")).read_text().count("\n| ") == len(result["rows"]) + 1


def test_what_breaks_off_is_told_and_the_rest_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = {"device": "Card", "size": "full", "torch": "2", "transformers": "5", "date": "today"}
    report = Report(facts, tmp_path)

    def breaking() -> Iterator[Row | str]:
        yield Row(name="first", median=1, p95=1, unit="s")
        raise torch.OutOfMemoryError("full\nof tensors")

    report.add("decoding", breaking())
    written = json.loads((tmp_path / "gpu-card.json").read_text())
    assert written["problems"] == ["decoding broke off: OutOfMemoryError: full"]
    report.add("swapping", iter([Row(name="second", median=2, p95=2, unit="s"), "one answer differs"]))
    with pytest.raises(SystemExit) as ended:
        report.finish()
    assert ended.value.code == 1
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [row["name"] for row in result["rows"]] == ["first", "second"]
    assert "**Wrong:** one answer differs" in (tmp_path / "gpu-card.md").read_text()
