from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.word_embedder import WordEmbedder

from core.errors import InvalidParams, NotFound, RejectedTask, StorageFailed
from core.knowledge.base import KnowledgeBase
from core.knowledge.task import Match, Task
from core.messages import Intent, Origin, Outcome, TasksRequest, Taught, TeachRequest, UpdateTaskRequest

ADD = "def add(a, b):\n    return a + b"


class Store:
    """A knowledge base together with the embedder, as the engine uses them."""

    def __init__(self, folder: Path, fingerprint: str = "words-1") -> None:
        self.embedder = WordEmbedder(fingerprint)
        self.changes = 0
        self.base = KnowledgeBase.open(folder, self.embedder, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def teach(self, description: str, implementation: str = ADD, **more: str) -> Taught:
        request = TeachRequest(description=description, implementation=implementation, **more)  # type: ignore[arg-type]
        return self.base.teach(request)

    def search(self, query: str, **filters: object) -> list[Match]:
        return self.base.search(query, self.embedder.embed([query])[0], limit=5, **filters)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.base.close()


def test_a_taught_task_is_found_by_the_very_next_search(store: Store) -> None:
    taught = store.teach("add two numbers")
    (match,) = store.search("add two numbers")
    assert match.task.id == taught.task_id
    assert match.similarity > store.base.thresholds().known
    assert "meaning" in str(match.reason)


def test_teaching_the_same_twice_is_one_task(store: Store) -> None:
    assert store.teach("add two numbers").task_id == store.teach("  Add  two numbers ").task_id
    assert store.base.info().count == 1


def test_teaching_another_implementation_corrects_the_task(store: Store) -> None:
    first = store.teach("add two numbers", "def add(a, b):\n    return a - b")
    second = store.teach("add two numbers", ADD)
    assert first.task_id == second.task_id
    assert store.base.get(first.task_id).implementation == ADD
    assert [one.implementation for one in store.base.versions(first.task_id)] == ["def add(a, b):\n    return a - b"]


def test_a_task_counts_as_verified_until_something_its_tests_have_tested_changes(store: Store) -> None:
    request = TeachRequest(description="add two numbers", implementation=ADD, tests="assert add(1, 2) == 3")
    assert not store.base.teach(request).verified
    task_id = store.base.teach(request, verified=True).task_id
    assert store.base.get(task_id).verified
    assert store.base.update(UpdateTaskRequest(task_id=task_id, description="add numbers")).verified
    change = UpdateTaskRequest(task_id=task_id, implementation="def add(a, b):\n    return b + a")
    revised = store.base.revised(change)
    assert not revised.verified
    assert not store.base.update(change).verified
    assert store.base.update(change, passed=revised).verified


def test_empty_tests_take_the_tests_of_a_task_away(store: Store) -> None:
    task_id = store.teach("add two numbers", tests="assert add(1, 2) == 3").task_id
    assert store.base.update(UpdateTaskRequest(task_id=task_id, tests=" \n")).tests is None
    assert store.base.get(task_id).tests is None


def test_a_task_that_was_changed_after_its_tests_ran_is_not_verified(store: Store) -> None:
    task_id = store.teach("add two numbers", tests="assert add(1, 2) == 3").task_id
    change = UpdateTaskRequest(task_id=task_id, description="add numbers")
    passed = store.base.revised(change)
    store.base.update(UpdateTaskRequest(task_id=task_id, implementation="def add(a, b):\n    return 0"))
    assert not store.base.update(change, passed=passed).verified


def test_near_duplicates_are_named_when_teaching(store: Store) -> None:
    first = store.teach("add two numbers")
    assert [one.task_id for one in store.teach("add the two numbers").similar] == [first.task_id]
    assert store.teach("open a window with a blue button").similar == []


def test_forget_and_restore(store: Store) -> None:
    task_id = store.teach("add two numbers").task_id
    assert store.base.forget(task_id).forgotten
    assert (store.search("add two numbers"), store.base.info().count) == ([], 0)
    with pytest.raises(NotFound, match="already"):
        store.base.forget(task_id)
    assert not store.base.restore(task_id).forgotten
    assert store.search("add two numbers")[0].task.id == task_id


def test_update_changes_what_is_found(store: Store) -> None:
    task_id = store.teach("add two numbers").task_id
    store.base.update(UpdateTaskRequest(task_id=task_id, description="concatenate words"))
    assert store.search("concatenate words")[0].similarity == pytest.approx(1, abs=1e-3)
    assert store.search("add two numbers")[0].similarity < 0.5
    with pytest.raises(NotFound):
        store.base.update(UpdateTaskRequest(task_id="missing", description="x y"))


def test_everything_is_there_after_reopening(store: Store, tmp_path: Path) -> None:
    kept, gone = store.teach("add two numbers").task_id, store.teach("multiply two numbers").task_id
    store.base.forget(gone)
    store.base.close()
    again = Store(tmp_path)
    try:
        assert [match.task.id for match in again.search("add two numbers")] == [kept]
    finally:
        again.base.close()


@pytest.mark.usefixtures("store")
def test_a_second_owner_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.knowledge.base._OTHER_OWNER_PATIENCE", 0.01)
    with pytest.raises(StorageFailed, match="Another process"):
        Store(tmp_path)


def test_tasks_of_another_embedding_model_are_embedded_again(store: Store, tmp_path: Path) -> None:
    task_id = store.teach("add two numbers").task_id
    store.base.close()
    again = Store(tmp_path, fingerprint="words-2")
    try:
        assert again.base.settle(60)
        assert again.search("add two numbers")[0].task.id == task_id
        assert again.base.info().count == 1
    finally:
        again.base.close()


def test_list_is_newest_first_and_searches_by_meaning(store: Store) -> None:
    for description in ("add two numbers", "reverse the text", "sort the names"):
        store.teach(description)
    listed = store.base.tasks(TasksRequest(limit=2), None)
    assert [one.description for one in listed.tasks] == ["sort the names", "reverse the text"]
    assert listed.total == 3
    query = "reverse the text"
    found = store.base.tasks(TasksRequest(query=query, limit=1), store.embedder.embed([query])[0])
    assert [one.description for one in found.tasks] == [query]
    assert store.base.tasks(TasksRequest(origin=Origin.BUILTIN), None).total == 0


def test_what_was_taught_comes_first_between_equals(store: Store) -> None:
    store.base._store_imported([_builtin()])
    taught = store.teach("add two numbers").task_id
    assert [match.task.id for match in store.search("add two numbers")] == [taught, "Builtin/1"]


def test_reading_a_source_again_does_not_undo_a_change(store: Store) -> None:
    assert store.base._store_imported([_builtin()]) == (1, 0)
    store.base.update(UpdateTaskRequest(task_id="Builtin/1", implementation="def add(*x):\n    return sum(x)"))
    assert store.base._store_imported([_builtin()]) == (0, 1)
    assert "sum(x)" in store.base.get("Builtin/1").implementation


def _builtin() -> Task:
    return Task(id="Builtin/1", description="add two numbers", implementation=ADD, origin=Origin.BUILTIN)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("description", "   ", "empty"),
        ("description", "x " * 10_000, "characters"),
        ("description", "12 + 3", "no words"),
        ("description", "add\0numbers", "control character"),
        ("description", "add \ud800 numbers", "half a character"),
        ("implementation", "", "empty"),
        ("implementation", "\x7fELF\x01\x02", "control character"),
        ("language", "", "empty"),
    ],
)
def test_what_is_no_text_is_refused_by_field(store: Store, field: str, value: str, problem: str) -> None:
    fields = {"description": "add two numbers", "implementation": ADD, field: value}
    with pytest.raises(InvalidParams, match=problem) as caught:
        store.teach(**fields)
    assert caught.value.data["field"] == field
    assert store.base.info().count == 0


@pytest.mark.parametrize("field", ["implementation", "tests"])
def test_python_that_does_not_parse_is_refused_with_its_line(store: Store, field: str) -> None:
    fields = {"description": "add two numbers", "implementation": ADD, field: "x = 1\ndef broken(:\n"}
    with pytest.raises(RejectedTask, match="line 2") as caught:
        store.teach(**fields)
    assert caught.value.data["line"] == 2


def test_code_of_another_language_is_not_parsed_as_python(store: Store) -> None:
    store.teach("add two numbers", "fn add(a: i32, b: i32) -> i32 { a + b }", language="rust")
    assert store.search("add two numbers", language="rust")
    assert store.search("add two numbers", language="python") == []


@pytest.mark.parametrize(
    "text", ["Größe in Metern 📏", "数を足す", "\uff41dd e\u0301", "add\u202enumbers", "مجموع عددين"]
)
def test_unusual_text_comes_back_as_it_was(store: Store, text: str) -> None:
    task_id = store.teach(text, f"NAME = {text!r}\n").task_id
    assert store.base.get(task_id).description == text
    assert store.search(text)[0].task.id == task_id


def test_a_choice_of_intent_survives_a_restart_and_another_model_and_can_be_withdrawn(tmp_path: Path) -> None:
    store = Store(tmp_path)
    vector = store.embedder.embed(["sort it"])[0]
    store.base.overrule(" sort it ", vector, Intent.GENERATE)
    store.base.overrule("sort it", vector, Intent.EXPLAIN)
    store.base.close()
    store = Store(tmp_path, "words-2")
    assert store.base.settle(60)
    (overrule,) = store.base.feedback.overrules
    assert (overrule.query, overrule.intent) == ("sort it", Intent.EXPLAIN)
    store.base.withdraw("sort it")
    assert store.base.feedback.overrules == ()
    with pytest.raises(NotFound, match="sort it"):
        store.base.withdraw("sort it")
    store.base.close()


def test_a_rejected_task_falls_behind_and_says_why_until_that_is_taken_back(store: Store) -> None:
    wanted, other = (store.teach(text).task_id for text in ("add two numbers", "add two small numbers"))
    query, vector = "add two numbers please", store.embedder.embed(["add two numbers please"])[0]
    before = store.search(query)
    assert [match.task.id for match in before] == [wanted, other]
    store.base.judge(query, vector, wanted, Outcome.REJECTED)
    after = store.search(query)
    assert [match.task.id for match in after] == [other, wanted]
    assert "rejected by you for “add two numbers please”" in str(after[1].reason)
    store.base.take_back(query, wanted)
    assert store.search(query) == before
    with pytest.raises(NotFound, match="judged"):
        store.base.take_back(query, wanted)


def test_judging_a_task_that_is_not_there_is_refused(store: Store) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        store.base.judge("sort it", store.embedder.embed(["sort it"])[0], "nowhere", Outcome.ACCEPTED)


def test_a_judgement_survives_a_restart_and_another_model(tmp_path: Path) -> None:
    store = Store(tmp_path)
    task_id = store.teach("add two numbers").task_id
    query = "add numbers"
    store.base.judge(query, store.embedder.embed([query])[0], task_id, Outcome.ACCEPTED)
    store.base.close()
    for fingerprint in ("words-1", "words-2"):
        store = Store(tmp_path, fingerprint)
        assert store.base.settle(60)
        assert "accepted by you" in str(store.search(query)[0].reason)
        store.base.close()
