from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.conversation.history import History
from core.conversation.memory import Summary
from core.errors import InvalidParams, NotFound, StorageFailed
from core.messages import CodeSelection, Turn


def make_turn(question: str = "Why?") -> Turn:
    return Turn(
        question=question,
        answer="Because.",
        selection=CodeSelection(text="x = 1\n", name="a.py", start_line=3),
        created_at="2026-01-01T00:00:00Z",
        model="fake",
    )


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "conversations")


def file_of(history: History, conversation_id: str) -> Path:
    return history._folder / f"{conversation_id}.jsonl"


def test_turns_come_back_as_they_were_in_another_process(history: History, tmp_path: Path) -> None:
    conversation_id = history.create()
    turns = [make_turn("one"), make_turn("two\nlines\u2028and a half: \ud800")]
    for turn in turns:
        history.append(conversation_id, turn)
    stored = History(tmp_path / "conversations").load(conversation_id)
    assert stored.turns == tuple(turns)
    assert stored.summary is None


@given(st.text(), st.text())
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, question: str, answer: str) -> None:
    history = History(tmp_path_factory.mktemp("conversations"))
    conversation_id = history.create()
    turn = Turn(question=question, answer=answer, created_at="", model="")
    history.append(conversation_id, turn)
    assert history.load(conversation_id).turns == (turn,)


def test_a_new_conversation_is_empty_and_not_listed_before_its_first_turn(history: History) -> None:
    conversation_id = history.create()
    assert history.load(conversation_id).turns == ()
    assert history.list(10).conversations == []


def test_files_are_the_users_alone(history: History) -> None:
    conversation_id = history.create()
    history.append(conversation_id, make_turn())
    history.commit_summary(conversation_id, Summary(text="short", covers=1))
    for path in history._folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(history._folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "conversation_id", ["../../etc/passwd", "", "A" * 32, "a" * 31, f"{'a' * 32}\n", "/" + "a" * 31]
)
def test_an_id_is_never_a_path(history: History, conversation_id: str) -> None:
    with pytest.raises(InvalidParams, match="conversationId"):
        history.load(conversation_id)


def test_an_unknown_conversation_is_not_found(history: History) -> None:
    for act in (
        lambda: history.load("0" * 32),
        lambda: history.append("0" * 32, make_turn()),
        lambda: history.commit_summary("0" * 32, Summary(text="", covers=1)),
        lambda: history.show("0" * 32),
        lambda: history.forget("0" * 32),
    ):
        with pytest.raises(NotFound, match="0000"):
            act()


def test_a_turn_torn_by_a_crash_is_dropped_and_the_next_one_is_stored(history: History) -> None:
    conversation_id = history.create()
    history.append(conversation_id, make_turn("one"))
    with file_of(history, conversation_id).open("ab") as stream:
        stream.write(b'{"question": "tor')
    assert [turn.question for turn in history.load(conversation_id).turns] == ["one"]
    history.append(conversation_id, make_turn("two"))
    assert [turn.question for turn in history.load(conversation_id).turns] == ["one", "two"]


def test_a_damaged_line_is_named_and_hides_no_other_conversation(history: History) -> None:
    damaged, healthy = history.create(), history.create()
    for conversation_id in (damaged, healthy):
        history.append(conversation_id, make_turn())
    content = file_of(history, damaged).read_bytes()
    file_of(history, damaged).write_bytes(content + b"not JSON\n" + content)
    with pytest.raises(StorageFailed, match="Line 2 of the conversation"):
        history.load(damaged)
    listed = {one.conversation_id: one.title for one in history.list(10).conversations}
    assert "damaged" in listed[damaged]
    assert listed[healthy] == "Why?"


def test_a_turn_that_cannot_be_written_leaves_the_conversation_as_it_was(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation_id = history.create()
    history.append(conversation_id, make_turn("one"))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageFailed, match="No space left on device"):
            history.append(conversation_id, make_turn("two"))
        with pytest.raises(StorageFailed):
            history.commit_summary(conversation_id, Summary(text="new", covers=1))
    assert [turn.question for turn in history.load(conversation_id).turns] == ["one"]
    assert history.load(conversation_id).summary is None


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageFailed, match="cannot be used"):
        History(tmp_path / "file" / "conversations").create()


def test_the_summary_is_replaced_as_a_whole(history: History) -> None:
    conversation_id = history.create()
    for _ in range(3):
        history.append(conversation_id, make_turn())
    history.commit_summary(conversation_id, Summary(text="first", covers=1))
    history.commit_summary(conversation_id, Summary(text="second", covers=2))
    assert history.load(conversation_id).summary == Summary(text="second", covers=2)
    assert history.show(conversation_id).summary == "second"


@pytest.mark.parametrize(
    "content", ["", "{", '{"text": "x"}', '{"text": "x", "covers": 9}', '{"text": "x", "covers": 0}']
)
def test_a_summary_that_cannot_be_used_is_left_out(history: History, content: str) -> None:
    conversation_id = history.create()
    history.append(conversation_id, make_turn())
    (history._folder / f"{conversation_id}.summary.json").write_text(content)
    assert history.load(conversation_id).summary is None


def test_the_conversation_used_last_is_listed_first(history: History) -> None:
    ids = [history.create() for _ in range(3)]
    for moment, conversation_id in enumerate([ids[1], ids[2], ids[0]]):
        history.append(conversation_id, make_turn(f"question of {conversation_id}"))
        os.utime(file_of(history, conversation_id), (moment, moment))
    listed = history.list(2).conversations
    assert [one.conversation_id for one in listed] == [ids[0], ids[2]]
    assert listed[0].title == f"question of {ids[0]}"
    assert listed[0].turns == 1
    assert listed[0].updated_at == "2026-01-01T00:00:00Z"


def test_the_title_is_short_and_on_one_line(history: History) -> None:
    conversation_id = history.create()
    history.append(conversation_id, make_turn("Why\n  is " + "this " * 40))
    title = history.show(conversation_id).title
    assert title.startswith("Why is this")
    assert title.endswith("…")
    assert len(title) == 80


def test_a_forgotten_conversation_leaves_nothing_behind(history: History) -> None:
    conversation_id = history.create()
    history.append(conversation_id, make_turn())
    history.commit_summary(conversation_id, Summary(text="short", covers=1))
    history.forget(conversation_id)
    assert list(history._folder.iterdir()) == []
    with pytest.raises(NotFound):
        history.load(conversation_id)


def test_an_empty_folder_lists_nothing(history: History) -> None:
    assert history.list(10).conversations == []


def test_a_summary_of_an_older_version_is_read(history: History, tmp_path: Path) -> None:
    conversation_id = history.create()
    history.append(conversation_id, make_turn())
    (tmp_path / "conversations" / f"{conversation_id}.summary.json").write_text('{"text": "old", "covers": 1}')
    assert history.load(conversation_id).summary == Summary(text="old", covers=1)
