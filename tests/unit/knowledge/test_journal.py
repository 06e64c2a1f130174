from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from core.errors import NotFound, StorageFailed
from core.knowledge.embedder import Vectors
from core.knowledge.journal import Journal, read_rows
from core.knowledge.task import Task
from core.messages import Intent, Origin
from core.routing.feedback import Overrule

VECTOR: Vectors = np.asarray([1, 0, 0, 0], np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "knowledge" / "journal.sqlite"


def task(name: str = "one", description: str = "add two numbers", **more: object) -> Task:
    return Task(id=name, description=description, implementation="def add(a, b):\n    return a + b\n", **more)  # type: ignore[arg-type]


def test_tasks_are_there_after_reopening(path: Path) -> None:
    journal = Journal(path)
    stored = task(description="Grüße 🎉 zählen", tests="assert True", metadata={"entry_point": "add"}, verified=True)
    journal.put([(stored, VECTOR)], "model")
    journal.close()
    found = Journal(path).get("one")
    assert found.same_content(stored)
    assert (found.metadata, found.verified, found.origin) == (stored.metadata, True, Origin.TAUGHT)
    assert found.created_at.endswith("+00:00")


def test_a_replaced_task_keeps_its_earlier_form_and_its_time_of_creation(path: Path) -> None:
    journal = Journal(path)
    journal.put([(task(), VECTOR)], "model")
    first = journal.get("one")
    journal.put([(task(description="add numbers"), VECTOR)], "model")
    assert journal.get("one").description == "add numbers"
    assert journal.get("one").created_at == first.created_at
    assert [earlier.description for earlier in journal.versions("one")] == ["add two numbers"]
    assert journal.count() == 1


def test_a_batch_is_stored_as_a_whole_or_not_at_all(path: Path) -> None:
    journal = Journal(path)
    with pytest.raises(AttributeError):
        journal.put([(task("one"), VECTOR), (None, VECTOR)], "model")  # type: ignore[list-item]
    assert journal.count() == 0
    journal.put([(task("two"), VECTOR)], "model")
    assert journal.count() == 1


def test_forgotten_tasks_are_out_of_all_lists_and_can_come_back(path: Path) -> None:
    journal = Journal(path)
    journal.put([(task(), VECTOR)], "model")
    journal.set_forgotten("one", forgotten=True)
    assert (journal.count(), journal.newest(None, 9), journal.rows("model").ids) == (0, [], [])
    assert journal.get("one").forgotten
    journal.set_forgotten("one", forgotten=False)
    assert journal.rows("model").ids == ["one"]


def test_every_change_has_a_later_sequence(path: Path) -> None:
    journal = Journal(path)
    (first,) = journal.put([(task("one"), VECTOR)], "model")
    (second,) = journal.put([(task("two"), VECTOR)], "model")
    third = journal.set_forgotten("two", forgotten=True)
    assert first < second < third


def test_vectors_of_another_model_are_not_returned(path: Path) -> None:
    journal = Journal(path)
    journal.put([(task(), VECTOR)], "old model")
    assert journal.rows("new model").ids == []
    assert journal.unembedded("new model") == ["one"]
    journal.reembed([(journal.get("one"), -VECTOR)], "new model")
    assert journal.rows("new model").vectors.tolist() == [(-VECTOR).tolist()]
    assert journal.versions("one") == []


def test_another_process_reads_the_same_rows(path: Path) -> None:
    journal = Journal(path)
    journal.put([(task(), VECTOR)], "model")
    assert read_rows(path, "model").ids == ["one"]


def test_unknown_task_is_named(path: Path) -> None:
    with pytest.raises(NotFound, match="nothing-here"):
        Journal(path).get("nothing-here")


@pytest.mark.parametrize("damage", [b"", b"no database at all, just text" * 40])
def test_a_damaged_journal_is_reported_and_left_as_it_is(path: Path, damage: bytes) -> None:
    journal = Journal(path)
    for number in range(50):
        journal.put([(task(str(number)), VECTOR)], "model")
    journal.close()
    content = path.read_bytes()
    damaged = damage + content[len(damage) : 4096] + b"\xff" * (len(content) - 4096)
    path.write_bytes(damaged)
    with pytest.raises(StorageFailed, match="damaged"):
        Journal(path).rows("model")
    assert path.read_bytes() == damaged


def test_a_file_of_something_else_is_not_taken_for_a_journal(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
    with pytest.raises(StorageFailed, match="not a journal"):
        Journal(path)


def test_a_journal_of_a_newer_version_is_not_touched(path: Path) -> None:
    Journal(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageFailed, match="newer version"):
        Journal(path)


def test_an_unusable_folder_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageFailed, match="AI_CODEGEN_HOME"):
        Journal(tmp_path / "file" / "journal.sqlite")


def test_a_full_disk_stores_nothing_and_the_journal_goes_on(path: Path) -> None:
    journal = Journal(path)
    journal.put([(task("one"), VECTOR)], "model")
    pages = journal._database.execute("PRAGMA page_count").fetchone()[0]
    journal._database.execute(f"PRAGMA max_page_count = {pages}")  # SQLite answers as on a full disk
    with pytest.raises(StorageFailed, match="full"):
        journal.put([(task("two", description="x" * 100_000), VECTOR)], "model")
    journal._database.execute("PRAGMA max_page_count = 1000000")
    assert journal.count() == 1
    journal.put([(task("two"), VECTOR)], "model")
    assert journal.count() == 2


def test_a_journal_of_the_first_version_is_brought_up_to_date(path: Path) -> None:
    journal = Journal(path)
    journal.put([(task("one"), VECTOR)], "model")
    journal.close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE overrule")
        database.execute("DROP TABLE judgement")
        database.execute("PRAGMA user_version = 1")
    journal = Journal(path)
    journal.put_overrule(Overrule(query="sort it", intent=Intent.EXPLAIN, vector=VECTOR), "model")
    assert [one.id for one in journal.newest(None, 5)] == ["one"]
    assert [one.query for one in journal.overrules("model")] == ["sort it"]
    assert journal.judgements("model") == []
    journal.close()
