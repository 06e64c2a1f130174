from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.conversation.memory import Summary, plan_prompt, plan_summary
from core.errors import ContextTooLong
from core.messages import CodeSelection, Turn
from core.models.interface import ChatMessage

SYSTEM = "You explain code."


def count(messages: Sequence[ChatMessage]) -> int:
    """Count words and line ends, and what a template puts around each message."""
    return 1 + sum(4 + len(one.content.split()) + one.content.count("\n") for one in messages)


def make_turn(number: int, *, words: int = 10, selection: CodeSelection | None = None) -> Turn:
    return Turn(
        question=f"question {number}",
        answer=f"answer {number}" + " word" * words,
        selection=selection,
        created_at="2026-01-01T00:00:00Z",
        model="fake",
    )


def make_code(lines: int, name: str = "code.py") -> CodeSelection:
    return CodeSelection(text="\n".join(f"line {number} of {name}" for number in range(lines)), name=name)


texts = st.lists(st.sampled_from(["why", "def f():", "\n", "```", "x = 1", "é"]), min_size=1, max_size=40).map(" ".join)
selections = st.one_of(
    st.none(),
    st.builds(make_code, st.integers(1, 60), st.sampled_from(["a.py", "b.py"])),
    texts.map(lambda text: CodeSelection(text=text)),
)
dialogues = st.lists(
    st.builds(
        Turn, question=texts, answer=texts, selection=selections, created_at=st.just("2026"), model=st.just("fake")
    ),
    max_size=12,
)


@given(
    turns=dialogues,
    question=texts,
    selection=selections,
    limit=st.integers(1, 400),
    summarised=st.tuples(texts, st.integers(1, 12)) | st.none(),
)
def test_any_dialogue_fits_and_keeps_the_question_and_the_newest_turns_whole(
    turns: list[Turn],
    question: str,
    selection: CodeSelection | None,
    limit: int,
    summarised: tuple[str, int] | None,
) -> None:
    summary = Summary(text=summarised[0], covers=min(summarised[1], len(turns))) if summarised and turns else None
    try:
        plan = plan_prompt(SYSTEM, summary, turns, question, selection, count=count, limit=limit)
    except ContextTooLong:
        with pytest.raises(ContextTooLong):
            plan_prompt(SYSTEM, None, [], question, selection, count=count, limit=limit)
        return
    head, *dialogue, last = plan.messages
    kept = turns[len(turns) - len(dialogue) // 2 :] if dialogue else []
    assert plan.use.prompt_tokens == count(plan.messages) <= limit
    assert head.role == "system"
    assert head.content.startswith(SYSTEM)
    assert last.role == "user"
    assert last.content.endswith(question)
    assert [one.role for one in dialogue] == ["user", "assistant"] * len(kept)
    assert [one.content for one in dialogue[1::2]] == [turn.answer for turn in kept]
    assert all(one.content.endswith(turn.question) for one, turn in zip(dialogue[::2], kept, strict=True))
    assert plan.use.summarised + plan.use.omitted + len(kept) == len(turns)


@given(turns=dialogues, limit=st.integers(30, 400))
def test_summarising_fits_and_always_gets_on(turns: list[Turn], limit: int) -> None:
    summary: Summary | None = None
    while plan := plan_summary(SYSTEM, summary, turns, count=count, limit=limit):
        assert count(plan.messages) + plan.max_tokens <= limit
        assert (summary.covers if summary else 0) < plan.covers <= len(turns)
        summary = plan.summary("word " * plan.max_tokens)


def test_everything_stands_in_the_prompt_while_it_fits() -> None:
    turns = [make_turn(number) for number in range(3)]
    plan = plan_prompt(SYSTEM, None, turns, "And now?", None, count=count, limit=1000)
    assert [one.content.partition(" word")[0] for one in plan.messages] == [
        SYSTEM,
        *("question 0", "answer 0", "question 1", "answer 1", "question 2", "answer 2"),
        "And now?",
    ]
    assert not plan.use.shortened


def test_the_question_comes_after_its_code_and_the_code_says_where_it_is_from() -> None:
    selection = CodeSelection(text="x = '```'", name="a.py", start_line=7)
    plan = plan_prompt(SYSTEM, None, [], "Why?", selection, count=count, limit=1000)
    assert plan.messages[-1].content == "Code from a.py, starting at line 7:\n````python\nx = '```'\n````\n\nWhy?"


def test_the_summary_stands_for_the_turns_it_covers() -> None:
    turns = [make_turn(number) for number in range(3)]
    plan = plan_prompt(SYSTEM, Summary(text="They spoke.", covers=2), turns, "So?", None, count=count, limit=1000)
    assert plan.messages[0].content.endswith("They spoke.")
    assert plan.messages[1].content == "question 2"
    assert (plan.use.summarised, plan.use.omitted) == (2, 0)


def test_a_summary_gives_way_to_the_question() -> None:
    summary = Summary(text="word " * 50, covers=1)
    plan = plan_prompt(SYSTEM, summary, [make_turn(0)], "why " * 30, None, count=count, limit=60)
    assert plan.messages[0].content == SYSTEM
    assert (plan.use.summarised, plan.use.omitted) == (0, 1)


def test_a_long_selection_is_shortened_by_whole_lines_and_says_so() -> None:
    selection = make_code(200)
    plan = plan_prompt(SYSTEM, None, [], "Why?", selection, count=count, limit=200)
    lines = plan.messages[-1].content.split("\n")
    kept = [line for line in lines if line.startswith("line ")]
    (marker,) = (line for line in lines if line.startswith("[..."))
    assert plan.use.shortened
    assert set(kept) < set(selection.text.split("\n"))
    assert kept[0] == "line 0 of code.py"
    assert kept[-1] == "line 199 of code.py"
    assert f"{200 - len(kept)} of 200 lines" in marker
    assert 180 <= plan.use.prompt_tokens <= 200


def test_huge_code_is_never_counted_as_a_whole() -> None:
    longest = 0

    def watch(messages: Sequence[ChatMessage]) -> int:
        nonlocal longest
        longest = max(longest, sum(len(one.content) for one in messages))
        return count(messages)

    plan_prompt(SYSTEM, None, [], "Why?", make_code(100_000), count=watch, limit=500)
    assert longest < 20_000


def test_a_question_that_does_not_fit_says_both_lengths() -> None:
    with pytest.raises(ContextTooLong, match=r"takes 113 tokens, but only 50 fit"):
        plan_prompt(SYSTEM, None, [], "why " * 101, None, count=count, limit=50)


def test_a_single_line_that_does_not_fit_is_an_error_not_an_empty_selection() -> None:
    with pytest.raises(ContextTooLong):
        plan_prompt(SYSTEM, None, [], "Why?", CodeSelection(text="x " * 100), count=count, limit=50)


def test_code_that_stays_the_subject_stands_in_the_prompt_once() -> None:
    code = make_code(20)
    turns = [make_turn(0, selection=code), make_turn(1), make_turn(2, selection=code)]
    plan = plan_prompt(SYSTEM, None, turns, "And now?", code, count=count, limit=1000)
    assert sum(one.content.count("line 0 of code.py") for one in plan.messages) == 1
    assert plan.messages[-1].content == "And now?"


def test_code_is_shown_again_after_other_code() -> None:
    code = make_code(5)
    turns = [make_turn(0, selection=code), make_turn(1, selection=make_code(5, "other.py"))]
    plan = plan_prompt(SYSTEM, None, turns, "And now?", code, count=count, limit=1000)
    assert "line 0 of code.py" in plan.messages[-1].content


def test_a_question_about_code_too_long_for_the_prompt_still_sees_that_code() -> None:
    turns = [make_turn(0, selection=make_code(500))]
    plan = plan_prompt(SYSTEM, None, turns, "And now?", None, count=count, limit=300)
    assert "line 0 of code.py" in plan.messages[1].content
    assert plan.messages[2].content == turns[0].answer
    assert plan.use.shortened


def test_code_too_long_for_the_prompt_leaves_room_for_the_last_turn() -> None:
    code = make_code(500)
    plan = plan_prompt(SYSTEM, None, [make_turn(0)], "And now?", code, count=count, limit=300)
    assert plan.messages[1].content == "question 0"
    assert "line 0 of code.py" in plan.messages[-1].content


def test_the_beginning_of_the_prompt_stays_the_same_for_several_turns() -> None:
    firsts = []
    for length in range(60):
        turns = [make_turn(number) for number in range(length)]
        plan = plan_prompt(SYSTEM, None, turns, "And now?", None, count=count, limit=300)
        firsts.append(plan.use.omitted)
    assert firsts == sorted(firsts)
    assert firsts[-1] > 40
    assert len(set(firsts)) <= 60 / 5


def test_turns_are_summarised_once_they_leave_and_then_fit_again() -> None:
    turns = [make_turn(number) for number in range(30)]
    plan = plan_summary(SYSTEM, None, turns, count=count, limit=300)
    assert plan is not None
    assert "question 0" in plan.messages[-1].content
    steps = 0
    summary: Summary | None = None
    while plan := plan_summary(SYSTEM, summary, turns, count=count, limit=300):
        summary = Summary(text="short", covers=plan.covers)
        steps += 1
    assert summary is not None
    assert 1 <= steps < 10
    prompt = plan_prompt(SYSTEM, summary, turns, "And now?", None, count=count, limit=300)
    assert prompt.use.omitted == 0
    assert prompt.use.summarised == summary.covers


def test_nothing_is_summarised_while_everything_fits() -> None:
    assert plan_summary(SYSTEM, None, [make_turn(0)], count=count, limit=1000) is None


def test_the_newest_turn_is_never_summarised() -> None:
    assert plan_summary(SYSTEM, None, [make_turn(0, words=1000)], count=count, limit=200) is None


def test_a_turn_too_long_for_the_summariser_is_cut_off_there_only() -> None:
    turns = [make_turn(0, words=1000), make_turn(1)]
    plan = plan_summary(SYSTEM, None, turns, count=count, limit=200)
    assert plan is not None
    assert plan.covers == 1
    assert "[...]" in plan.messages[-1].content


def test_the_old_summary_goes_into_the_new_one() -> None:
    turns = [make_turn(number, words=60) for number in range(10)]
    plan = plan_summary(SYSTEM, Summary(text="They met.", covers=2), turns, count=count, limit=300)
    assert plan is not None
    assert "They met." in plan.messages[-1].content
    assert "question 2" in plan.messages[-1].content
    assert "question 1\n" not in plan.messages[-1].content


def test_what_was_stated_is_kept_word_for_word_however_often_it_is_summarised() -> None:
    told = [replace(make_turn(0), question="Hello! Our project is called Zephyr. What does this do?")]
    turns = [*told, *(make_turn(number, words=40) for number in range(1, 30))]
    summary: Summary | None = None
    for until in (10, 20, 30):
        while plan := plan_summary(SYSTEM, summary, turns[:until], count=count, limit=600):
            if summary is not None:  # the model need not be told what is kept without it
                assert "Our project is called Zephyr." not in plan.messages[-1].content
            summary = plan.summary("The model has forgotten it.")
    assert summary is not None
    assert summary.notes == ["Our project is called Zephyr."]
    prompt = plan_prompt(SYSTEM, summary, turns, "What is it called?", None, count=count, limit=600)
    assert "- Our project is called Zephyr.\n\nThe model has forgotten it." in prompt.messages[0].content


def test_of_many_statements_the_newest_are_kept_and_the_summary_keeps_its_bound() -> None:
    turns = [replace(make_turn(number), question=f"The value of x is now {number}.") for number in range(60)]
    summary: Summary | None = None
    while plan := plan_summary(SYSTEM, summary, turns, count=count, limit=800):
        summary = plan.summary("word " * plan.max_tokens)
        added = count([ChatMessage("system", summary.render())]) - count([ChatMessage("system", "")])
        assert added <= 800 // 8
    assert summary is not None
    assert len(summary.notes) > 1
    last = turns[summary.covers - 1].question
    assert summary.notes[-1] == last
    assert summary.notes == [turn.question for turn in turns[summary.covers - len(summary.notes) : summary.covers]]
