"""The knowledge base with its real index: what is taught is never lost, whatever happens to the processes and files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fakes.word_embedder import WordEmbedder

from core.cancellation import CancelToken
from core.knowledge.base import KnowledgeBase, fingerprint_of
from core.knowledge.index import Index, current
from core.messages import Origin, TeachRequest

pytestmark = pytest.mark.e2e

PATIENCE = 120
ROOT = Path(__file__).parents[3]
TEACH_FOREVER = """
import sys
from pathlib import Path
from core.knowledge.base import KnowledgeBase
from core.messages import TeachRequest
from fakes.word_embedder import WordEmbedder

embedder = WordEmbedder()
base = KnowledgeBase.open(Path(sys.argv[1]), embedder, lambda: None)
if sys.argv[2] == "indexed":
    base.settle(120)
number = 0
while True:
    description = f"task about topic{number}"
    base.teach(TeachRequest(description=description, implementation="x = 1"))
    print(number, flush=True)
    number += 1
"""


@contextmanager
def opened(folder: Path) -> Iterator[KnowledgeBase]:
    base = KnowledgeBase.open(folder, WordEmbedder(), lambda: None)
    try:
        yield base
    finally:
        base.close()


def teach(base: KnowledgeBase, numbers: range) -> None:
    for number in numbers:
        description = f"task about topic{number}"
        base.teach(TeachRequest(description=description, implementation="x = 1"))


def assert_all_found(base: KnowledgeBase, count: int) -> None:
    embedder = WordEmbedder()
    for number in range(count):
        query = f"task about topic{number}"
        found = base.search(query, embedder.embed([query])[0], limit=1)
        assert found, query
        assert found[0].task.description == query
    assert base.info().count == count


@pytest.mark.parametrize("state", ["starting", "indexed"])
def test_killed_right_after_an_acknowledgement_nothing_acknowledged_is_lost(tmp_path: Path, state: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    child = subprocess.Popen(
        [sys.executable, "-c", TEACH_FOREVER, str(tmp_path), state], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert child.stdout is not None
    acknowledged = next(int(line) for line in child.stdout if int(line) >= 60)
    child.send_signal(signal.SIGKILL)
    child.wait()
    with opened(tmp_path) as base:
        assert base.info().count > acknowledged
        assert_all_found(base, base.info().count)
        assert base.settle(PATIENCE)
        assert base.info().state == "ready"
        assert_all_found(base, base.info().count)


def _delete(index: Path) -> None:
    shutil.rmtree(index)


def _truncate(index: Path) -> None:
    for path in index.rglob("*"):
        if path.is_file():
            os.truncate(path, path.stat().st_size // 2)


def _scribble(index: Path) -> None:
    for path in index.rglob("*"):
        if path.is_file():
            path.write_bytes(b"\xa5" * path.stat().st_size)


def _empty_database(index: Path) -> None:
    next(index.rglob("chroma.sqlite3")).unlink()


def _point_nowhere(index: Path) -> None:
    (index / "current").write_text("../../elsewhere")


@pytest.mark.parametrize("damage", [_delete, _truncate, _scribble, _empty_database, _point_nowhere])
def test_a_damaged_index_is_built_anew_and_everything_is_found_meanwhile(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    with opened(tmp_path) as base:
        teach(base, range(120))
        assert base.settle(PATIENCE)
        assert base.info().state == "ready"
    damage(tmp_path / "index")
    with opened(tmp_path) as base:
        assert_all_found(base, 120)
        assert base.settle(PATIENCE)
        assert base.info().state == "ready", base.info().detail
        assert_all_found(base, 120)


def test_an_index_older_than_the_journal_catches_up(tmp_path: Path) -> None:
    with opened(tmp_path) as base:
        teach(base, range(60))
        assert base.settle(PATIENCE)
    shutil.copytree(tmp_path / "index", tmp_path / "backup")
    with opened(tmp_path) as base:
        teach(base, range(60, 90))
        base.forget(
            base.search("task about topic7", WordEmbedder().embed(["task about topic7"])[0], limit=1)[0].task.id
        )
        assert base.settle(PATIENCE)
    shutil.rmtree(tmp_path / "index")
    (tmp_path / "backup").rename(tmp_path / "index")
    with opened(tmp_path) as base:
        assert base.settle(PATIENCE)
        assert base.info().state == "ready"
        assert base.info().count == 89
        embedder = WordEmbedder()
        found = [
            base.search(q, embedder.embed([q])[0], limit=1)[0] for q in ("task about topic88", "task about topic7")
        ]
        assert found[0].task.description == "task about topic88"
        assert found[1].task.description != "task about topic7"


def test_what_was_taught_is_found_where_the_index_misses_it(tmp_path: Path) -> None:
    with opened(tmp_path) as base:
        teach(base, range(60))
        assert base.settle(PATIENCE)
        query = "task about topic30"
        vector = WordEmbedder().embed([query])[0]
        folder = current(tmp_path / "index")
        assert folder is not None
        Index(folder, fingerprint_of(WordEmbedder())).delete([base.search(query, vector, limit=1)[0].task.id])
        assert base.search(query, vector, limit=1)[0].task.description == query
        assert base.info().state == "ready"


def test_an_index_is_read_whole_however_many_pages_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.knowledge.index._PAGE", 10)
    index = Index(tmp_path, "words", create=True)
    ids = [f"task-{number}" for number in range(35)]
    index.upsert(ids, list(range(35)), WordEmbedder().embed(ids))
    index.delete(ids[:2])
    assert index.sequences() == {one: number for number, one in enumerate(ids) if number >= 2}
    index.close()


def test_an_index_that_breaks_while_it_is_open_is_replaced(tmp_path: Path) -> None:
    with opened(tmp_path) as base:
        teach(base, range(60))
        assert base.settle(PATIENCE)
        index = base._keeper._index
        assert index is not None
        index.close()  # every later call of it raises
        assert_all_found(base, 60)
        assert base.settle(PATIENCE)
        assert base.info().state == "ready"
        assert_all_found(base, 60)


def test_an_index_that_cannot_be_made_leaves_exact_search_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "index").write_text("a file is in the way")
    with opened(tmp_path) as base:
        teach(base, range(30))
        assert base.settle(PATIENCE)
        assert base.info().state == "failed"
        assert "exact search" in str(base.info().detail)
        assert_all_found(base, 30)


def test_what_is_rare_in_its_language_is_found_among_many_others(tmp_path: Path) -> None:
    rows = [
        {"description": f"{verb} the {thing}", "implementation": "x = 1", "language": language}
        for verb in ("sort", "count", "merge", "draw", "send", "read")
        for thing in (f"topic{number}" for number in range(100))
        for language in ("python", *(["rust"] if thing.endswith("7") else []))
    ]
    source = tmp_path / "tasks.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    embedder = WordEmbedder()
    queries = ["sort the topic7", "merge and draw topic55", "send it"]
    with opened(tmp_path / "knowledge") as base:
        base.import_tasks(str(source), Origin.IMPORTED, lambda _: None, CancelToken())

        def found(language: str | None) -> list[list[tuple[str, float]]]:
            return [
                [
                    (one.task.id, round(one.similarity, 4))
                    for one in base.search(query, vector, limit=5, language=language)
                ]
                for query, vector in zip(queries, embedder.embed(queries), strict=True)
            ]

        by_exact_search = {language: found(language) for language in ("python", "rust", None)}
        assert base.settle(PATIENCE)
        for language, matches in by_exact_search.items():
            assert found(language) == matches
        assert found("cobol") == [[], [], []]
