from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from core.cancellation import CancelToken
from core.errors import Cancelled, InvalidParams, NotFound, StorageFailed
from core.knowledge import importers
from core.knowledge.task import Task
from core.messages import Imported, Origin, Phase

HUMAN_EVAL = {
    "task_id": "HumanEval/0",
    "prompt": 'from typing import List\n\n\ndef largest(xs: List[int]) -> int:\n    """ Return the largest\n    element of a list.\n    >>> largest([1, 2])\n    2\n    """\n',
    "canonical_solution": "    return max(xs)\n",
    "entry_point": "largest",
    "test": "def check(candidate):\n    assert candidate([1, 2]) == 2\n",
}
MBPP = {
    "task_id": 601,
    "text": "Write a function to add.",
    "code": "def add(a, b):\n\treturn a + b",
    "test_list": ["assert add(1, 2) == 3"],
}


class Shelf:
    """Stores tasks by id, as the knowledge base does."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}

    def store(self, tasks: Any) -> tuple[int, int]:
        news = [task for task in tasks if task.id not in self.tasks or not task.same_content(self.tasks[task.id])]
        self.tasks.update((task.id, task) for task in news)
        return len(news), len(tasks) - len(news)

    def read(self, source: Path | str, token: CancelToken | None = None) -> Imported:
        self.phases: list[Phase] = []
        return importers.run(str(source), Origin.IMPORTED, self.store, self.phases.append, token or CancelToken())


def lines(path: Path, *records: Any) -> Path:
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in records), "utf-8")
    return path


def test_humaneval_records_become_tasks_without_signature_and_examples(tmp_path: Path) -> None:
    shelf = Shelf()
    path = tmp_path / "HumanEval.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(HUMAN_EVAL).encode()))
    assert shelf.read(path).added == 1
    task = shelf.tasks["HumanEval/0"]
    assert task.description == "Return the largest element of a list."
    assert task.implementation.startswith("from typing import List")
    assert task.implementation.endswith("return max(xs)\n")
    assert task.tests is not None
    assert task.tests.endswith("check(largest)\n")
    namespace: dict[str, Any] = {}
    exec(task.implementation + "\n" + task.tests, namespace)


def test_common_fields_are_understood(tmp_path: Path) -> None:
    shelf = Shelf()
    imported = shelf.read(lines(tmp_path / "t.jsonl", MBPP, {"instruction": "say hello", "output": "print('hello')"}))
    assert (imported.added, imported.skipped) == (2, 0)
    assert shelf.tasks["t/601"].tests == "assert add(1, 2) == 3\n"
    assert {task.description for task in shelf.tasks.values()} == {"Write a function to add.", "say hello"}


def test_sources_that_count_their_records_do_not_overwrite_each_other(tmp_path: Path) -> None:
    shelf = Shelf()
    for name in ("one", "other"):
        shelf.read(lines(tmp_path / f"{name}.jsonl", {**MBPP, "text": f"Write a function of {name}."}))
    assert sorted(shelf.tasks) == ["one/601", "other/601"]


def test_what_tests_need_stands_before_them(tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.read(lines(tmp_path / "a.jsonl", {**MBPP, "test_setup_code": "x = 1", "test_imports": ["import math"]}))
    (task,) = shelf.tasks.values()
    assert task.tests == "x = 1\nimport math\nassert add(1, 2) == 3\n"


def test_records_that_are_no_task_are_counted_and_explained(tmp_path: Path) -> None:
    shelf = Shelf()
    records = [
        MBPP,
        "{broken",
        "[1, 2]",
        {"text": "no code"},
        {"text": "bad code", "code": "def ("},
        {"text": 5, "code": "x"},
    ]
    imported = shelf.read(lines(tmp_path / "t.jsonl", *records))
    assert (imported.added, imported.skipped) == (1, 5)
    assert [problem.partition(": ")[0] for problem in imported.problems] == [f"t.jsonl:{n}" for n in (2, 3, 4, 5, 6)]
    assert "not JSON" in imported.problems[0]
    assert "implementation" in imported.problems[2]
    assert "line 1" in imported.problems[3]


def test_reading_again_changes_nothing(tmp_path: Path) -> None:
    shelf = Shelf()
    path = lines(tmp_path / "t.jsonl", MBPP, HUMAN_EVAL)
    shelf.read(path)
    again = shelf.read(path)
    assert (again.added, again.unchanged) == (0, 2)


def test_a_cancelled_import_keeps_what_was_read_and_goes_on_where_it_was(tmp_path: Path) -> None:
    shelf, token = Shelf(), CancelToken()
    path = lines(tmp_path / "t.jsonl", *({**MBPP, "task_id": number} for number in range(500)))

    def store(tasks: Any) -> tuple[int, int]:
        token.cancel()
        return shelf.store(tasks)

    with pytest.raises(Cancelled):
        importers.run(str(path), Origin.IMPORTED, store, lambda _: None, token)
    kept = len(shelf.tasks)
    assert 0 < kept < 500
    resumed = shelf.read(path)
    assert (resumed.added, resumed.unchanged) == (500 - kept, kept)


def test_progress_goes_up_to_the_end(tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.read(lines(tmp_path / "t.jsonl", *({**MBPP, "task_id": number} for number in range(300))))
    fractions = [phase.fraction for phase in shelf.phases]
    assert fractions == sorted(fractions, key=float)  # type: ignore[arg-type]
    assert fractions[-1] == 1


def test_export_and_import_round_trip_exactly(tmp_path: Path) -> None:
    task = Task(
        id="taught-1",
        description="Zeile\nzwei 🎉\u2028drei",
        implementation="x = '\\u2028'\n",
        tests="assert x\n",
        language="python",
        origin=Origin.TAUGHT,
        metadata={"entry_point": "x"},
        created_at="2024-01-01T00:00:00.000+00:00",
        updated_at="2024-01-02T00:00:00.000+00:00",
        verified=True,
    )
    path = tmp_path / "deep" / "export.jsonl"
    assert importers.write(path, [task]) == 1
    shelf = Shelf()
    assert shelf.read(path).added == 1
    assert shelf.tasks == {"taught-1": task}


def test_a_failed_export_leaves_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"
    path.write_text("earlier")

    def tasks() -> Any:
        yield Task(id="1", description="a b", implementation="x")
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageFailed, match="No space left"):
        importers.write(path, tasks())
    assert path.read_text() == "earlier"
    assert [one.name for one in tmp_path.iterdir()] == ["export.jsonl"]


def test_functions_with_docstrings_of_a_folder(tmp_path: Path) -> None:
    package = tmp_path / "tools"
    (package / ".venv").mkdir(parents=True)
    (package / ".venv" / "no.py").write_text('def no():\n    """Not ours."""\n')
    (package / "text.py").write_text(
        "import re\nimport os\nfrom functools import cache\n\n\n"
        '@cache\ndef words(text):\n    """Split a text into words.\n\n    >>> words("a b")\n    """\n    return re.findall(r"\\w+", text)\n\n\n'
        "def silent():\n    pass\n"
    )
    (package / "broken.py").write_text("def (")
    shelf = Shelf()
    imported = shelf.read(package)
    assert (imported.added, imported.skipped) == (1, 2)
    task = shelf.tasks["tools/text.py::words"]
    assert task.description == "Split a text into words."
    assert task.implementation.startswith("import re\nfrom functools import cache\n\n\n@cache\ndef words")
    assert any("silent" in problem for problem in imported.problems)


@pytest.mark.parametrize(
    ("name", "error"), [("missing.jsonl", NotFound), ("picture.png", InvalidParams), ("empty", NotFound)]
)
def test_a_source_that_cannot_be_is_named(tmp_path: Path, name: str, error: type[Exception]) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "empty").mkdir()
    with pytest.raises(error, match=name):
        Shelf().read(tmp_path / name)


def test_a_damaged_archive_is_an_error_not_an_end(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(MBPP).encode() * 99)[:-20])
    with pytest.raises(StorageFailed):
        Shelf().read(path)
