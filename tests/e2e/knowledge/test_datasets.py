"""Importing real `datasets` data sets from disk, in the process of their own that reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict
from fakes.word_embedder import WordEmbedder

from core.cancellation import CancelToken
from core.errors import Cancelled, DownloadFailed
from core.knowledge.base import KnowledgeBase
from core.messages import Origin, Phase

pytestmark = pytest.mark.e2e

COUNT = 150
ROWS = [
    {
        "task_id": number,
        "text": f"Write a function to add {number} to topic{number}.",
        "code": f"def add_{number}(x):\r\n    return x + {number}",
        "test_list": [f"assert add_{number}(1) == {number + 1}"],
        "test_setup_code": "",
    }
    for number in range(COUNT)
]


def _parquet(folder: Path) -> None:
    folder.mkdir()
    Dataset.from_list(ROWS[:100]).to_parquet(folder / "train-00000-of-00001.parquet")
    Dataset.from_list(ROWS[100:]).to_parquet(folder / "test-00000-of-00001.parquet")


def _saved(folder: Path) -> None:
    DatasetDict({"train": Dataset.from_list(ROWS[:100]), "test": Dataset.from_list(ROWS[100:])}).save_to_disk(folder)


@pytest.mark.parametrize("write", [_parquet, _saved])
def test_a_data_set_that_is_cancelled_goes_on_where_it_was(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path / "mbpp")
    base = KnowledgeBase.open(tmp_path / "knowledge", WordEmbedder(), lambda: None)
    token, phases = CancelToken(), list[Phase]()

    def cancel(phase: Phase) -> None:
        phases.append(phase)
        token.cancel()

    with pytest.raises(Cancelled):
        base.import_tasks(str(tmp_path / "mbpp"), Origin.IMPORTED, cancel, token)
    kept = base.info().count
    assert 0 < kept < COUNT
    imported = base.import_tasks(str(tmp_path / "mbpp"), Origin.IMPORTED, phases.append, CancelToken())
    assert (imported.added, imported.unchanged, imported.skipped) == (COUNT - kept, kept, 0)
    assert phases[-1].fraction == 1
    task = base.get("mbpp/149")
    assert (task.description, task.tests) == (ROWS[149]["text"], "assert add_149(1) == 150\n")
    base.close()


def test_a_data_set_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "train.parquet").write_bytes(b"no parquet")
    base = KnowledgeBase.open(tmp_path / "knowledge", WordEmbedder(), lambda: None)
    with pytest.raises(DownloadFailed, match="broken"):
        base.import_tasks(str(tmp_path / "broken"), Origin.IMPORTED, lambda _: None, CancelToken())
    base.close()
