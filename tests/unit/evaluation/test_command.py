from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.app import main
from cli.exit_codes import ExitCode
from core.evaluation.catalogue import EVALUATIONS

HEAVY = ("torch", "transformers", "sentence_transformers", "chromadb")


def test_evaluations_load_nothing_heavy() -> None:
    code = "import json, sys, core.evaluation.catalogue, core.evaluation.page; print(json.dumps(list(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert not set(HEAVY) & set(loaded)


def test_every_evaluation_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["eval", "--help"])
    listed = capsys.readouterr().out
    assert all(name in listed for name in EVALUATIONS)


@pytest.mark.parametrize("arguments", [["sing"], ["router", "--limit", "0"], ["router", "--limit", "many"], []])
def test_what_cannot_be_measured_is_refused(arguments: list[str], tmp_path: Path) -> None:
    assert main(["eval", *arguments, "--home", str(tmp_path)]) == ExitCode.USAGE


def test_missing_data_are_reported_before_an_engine_is_started(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.jsonl")
    for name in EVALUATIONS:
        assert main(["eval", name, "--data", missing, "--home", str(tmp_path)]) == ExitCode.NOT_FOUND
    assert list(tmp_path.iterdir()) == []


def test_generation_without_the_data_set_says_how_to_get_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "generation", "--home", str(tmp_path)]) == ExitCode.MODEL_MISSING
    assert "models pull starter" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "no folder" / "report.html")
    assert main(["eval", "router", "--report", nowhere, "--home", str(tmp_path)]) == ExitCode.USAGE
    assert list(tmp_path.iterdir()) == []
