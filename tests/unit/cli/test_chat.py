from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from unit.cli.conftest import Reply, ScriptedEngine, explanation, generation, unknown

from cli.chat import Chat
from cli.screen import Screen
from core.errors import ModelMissing, RejectedTask
from core.messages import AskRequest, CodeSelection, Intent, Taught, TeachRequest

SELECTION = CodeSelection(text="x = 1\n", name="a.py", start_line=1)
TAUGHT = Taught(task_id="t1", similar=[])


def talk(
    lines: Sequence[str | BaseException],
    replies: Sequence[Reply] = (),
    blocks: Sequence[str] = (),
    selection: CodeSelection | None = None,
) -> tuple[ScriptedEngine, str]:
    """Hold a dialogue; return the engine and all that was shown."""
    typed, coded = iter(lines), iter(blocks)

    def read_line(prompt: str) -> str:
        shown.write(prompt)
        line = next(typed, EOFError())
        if isinstance(line, BaseException):
            raise line
        return line

    def read_block(_: str) -> str:
        return next(coded)

    engine, shown = ScriptedEngine(replies), io.StringIO()
    Chat(engine, Screen(shown, shown), selection, read_line=read_line, read_block=read_block).run()
    return engine, shown.getvalue()


def test_a_follow_up_belongs_to_the_conversation_and_code_is_sent_once() -> None:
    engine, shown = talk(["what?", "and then?"], [explanation("First."), explanation("Second.")], selection=SELECTION)
    assert engine.requests == [
        AskRequest(query="what?", selection=SELECTION),
        AskRequest(query="and then?", conversation_id="c1"),
    ]
    assert shown.index("First.") < shown.index("Second.")


def test_new_begins_another_conversation() -> None:
    engine, _ = talk(["what?", "/new", "what?"], [explanation(), explanation()])
    assert engine.requests[1] == AskRequest(query="what?")


def test_wrong_does_the_other_of_the_two() -> None:
    engine, _ = talk(["sort it", "/wrong", "/wrong"], [explanation(), generation(), explanation()])
    assert [request.intent for request in engine.requests if isinstance(request, AskRequest)] == [
        None,
        Intent.GENERATE,
        Intent.EXPLAIN,
    ]


def test_wrong_without_a_question_says_so() -> None:
    engine, shown = talk(["/wrong"])
    assert engine.requests == []
    assert "no question yet" in shown


def test_an_unknown_task_is_taught_in_place_and_asked_again() -> None:
    code = "def fold():\n    return 1\n"
    engine, shown = talk(["fold a plane", "t", ""], [unknown(), TAUGHT, generation(code)], [code])
    assert engine.requests == [
        AskRequest(query="fold a plane"),
        TeachRequest(description="fold a plane", implementation=code),
        AskRequest(query="fold a plane", intent=Intent.GENERATE),
    ]
    assert "[fold a plane]" in shown
    assert code.strip() in shown


def test_the_proposed_description_can_be_replaced() -> None:
    engine, _ = talk(["fold a plane", "t", "Fold a paper plane"], [unknown(), TAUGHT, generation()], ["x = 1\n"])
    assert engine.requests[1] == TeachRequest(description="Fold a paper plane", implementation="x = 1\n")


def test_code_that_is_rejected_can_be_typed_again() -> None:
    replies = [unknown(), RejectedTask("line 1: invalid syntax"), TAUGHT, generation()]
    engine, shown = talk(["fold", "t", ""], replies, ["def (", "x = 1\n"])
    assert "line 1: invalid syntax" in shown
    assert engine.requests[2] == TeachRequest(description="fold", implementation="x = 1\n")


def test_empty_code_gives_up() -> None:
    engine, shown = talk(["fold", "t", ""], [unknown()], ["\n"])
    assert len(engine.requests) == 1
    assert "Nothing was stored." in shown


def test_an_unknown_task_can_be_generated_anyway() -> None:
    engine, _ = talk(["fold", "g"], [unknown(), generation(grounded=False)])
    assert engine.requests[1] == AskRequest(query="fold", intent=Intent.GENERATE, force=True)


def test_an_unknown_task_can_be_left_alone() -> None:
    engine, _ = talk(["fold", "", "/quit", "never asked"], [unknown()])
    assert len(engine.requests) == 1


def test_teach_asks_for_what_it_needs() -> None:
    engine, _ = talk(["/teach", "Fold a plane"], [TAUGHT], ["x = 1\n"])
    assert engine.requests == [TeachRequest(description="Fold a plane", implementation="x = 1\n")]


def test_an_error_does_not_end_the_session() -> None:
    engine, shown = talk(["a", "b"], [ModelMissing("Bring it with: models pull starter"), explanation()])
    assert "models pull starter" in shown
    assert len(engine.requests) == 2


def test_ctrl_c_stops_the_answer_and_not_the_session() -> None:
    engine, shown = talk(["a", KeyboardInterrupt(), "b"], [KeyboardInterrupt(), explanation("Here.")])
    assert len(engine.requests) == 2
    assert "Stopped." in shown
    assert "Here." in shown


def test_code_can_be_selected_in_the_session(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("one = 1\ntwo = 2\n", "utf-8")
    engine, _ = talk([f"/code {file}:2", "what?"], [explanation()])
    request = engine.requests[0]
    assert isinstance(request, AskRequest)
    assert request.selection is not None
    assert request.selection.text == "two = 2\n"


def test_a_command_that_is_none_is_named() -> None:
    engine, shown = talk(["/sing"])
    assert "There is no command /sing." in shown
    assert engine.requests == []
