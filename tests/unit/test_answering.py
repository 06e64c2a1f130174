"""Explaining and generating on the real model worker, with a scripted model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fakes.backend import OneModelBackend, settings_for_model
from fakes.runner import FakeRunner

from core.cancellation import CancelToken
from core.context import RequestContext
from core.conversation.explainer import Explainer
from core.conversation.history import History
from core.errors import Cancelled, InvalidParams, ModelFailed, NotFound
from core.generation.generator import Generator
from core.generation.grounding import Grounding, decide
from core.knowledge.task import Match, Task
from core.knowledge.thresholds import Thresholds
from core.messages import CodeSelection, Event, ExplainRequest, GenerateRequest, Tokens
from core.models.interface import ChatMessage
from core.models.registry import ModelRegistry
from core.models.worker import ModelWorker
from core.paths import DataFolders
from core.settings import Settings

CODE = CodeSelection(text="total = sum(prices)")
CHATTY = ["word " * 20]
THRESHOLDS = Thresholds(known=0.6, weak=0.5, taught=0.4, same=0.7)


class NeverSummarises(FakeRunner):
    """Fails whenever it is asked for a summary."""

    def encode_chat(self, messages: Sequence[ChatMessage], reply_prefix: str = "") -> list[int]:
        if any("ummar" in message.content for message in messages if message.role == "user"):
            raise ModelFailed("cannot summarise")
        return super().encode_chat(messages, reply_prefix)


@dataclass
class Bench:
    """An explainer and a generator whose model says what the test has written."""

    explainer: Explainer
    generator: Generator
    history: History
    settings: Settings
    runner: FakeRunner
    events: list[Event] = field(default_factory=list)

    def context(self) -> RequestContext:
        return RequestContext(settings=self.settings, token=CancelToken(), emit=self.events.append)

    def streamed(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Tokens))


@pytest.fixture
def open_bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    workers: list[ModelWorker] = []

    def make(*replies: str | BaseException, runner: FakeRunner | None = None, **settings: object) -> Bench:
        runner = runner or FakeRunner(replies)
        registry = ModelRegistry(DataFolders(tmp_path / "home"))
        worker = ModelWorker(registry, lambda: None, open_backend=lambda: OneModelBackend(runner))
        workers.append(worker)
        history = History(tmp_path / "conversations")
        return Bench(
            Explainer(registry, worker, history),
            Generator(registry, worker),
            history,
            settings_for_model(tmp_path / "model", **settings),
            runner,
        )

    yield make
    for worker in workers:
        worker.close()


def found(similarity: float, description: str = "sum the prices of a list", lead: float = 0.0) -> Grounding:
    task = Task(id="T/1", description=description, implementation="def total(prices):\n    return sum(prices)\n")
    return decide([Match(task=task, similarity=similarity, meaning=similarity, lead=lead)], THRESHOLDS)


async def test_a_follow_up_sees_the_turn_before(open_bench: Callable[..., Bench]) -> None:
    bench = open_bench("It adds the prices.", "Nothing else.")
    first = await bench.explainer.explain(ExplainRequest(selection=CODE), bench.context())
    assert bench.streamed() == first.text == "It adds the prices."
    await bench.explainer.explain(
        ExplainRequest(question="And then?", conversation_id=first.conversation_id), bench.context()
    )
    last_chat = [message.content for message in bench.runner.chats[-1][0]]
    assert any("It adds the prices." in content for content in last_chat)
    assert [turn.answer for turn in bench.history.load(first.conversation_id).turns] == [
        "It adds the prices.",
        "Nothing else.",
    ]


async def test_a_model_that_fails_leaves_the_conversation_as_it_was(open_bench: Callable[..., Bench]) -> None:
    bench = open_bench("First answer.", ModelFailed("broke"), "Second answer.")
    first = await bench.explainer.explain(ExplainRequest(selection=CODE), bench.context())
    follow_up = ExplainRequest(question="More?", conversation_id=first.conversation_id)
    with pytest.raises(ModelFailed):
        await bench.explainer.explain(follow_up, bench.context())
    assert len(bench.history.load(first.conversation_id).turns) == 1
    assert (await bench.explainer.explain(follow_up, bench.context())).text == "Second answer."


async def test_a_failing_summariser_loses_nothing_and_the_prompt_stays_bounded(
    open_bench: Callable[..., Bench],
) -> None:
    bench = open_bench(runner=NeverSummarises(CHATTY, context_length=400), explain_max_tokens=40)
    conversation: str | None = None
    for number in range(12):
        request = ExplainRequest(question=f"Question {number}?", conversation_id=conversation)
        answer = await bench.explainer.explain(request, bench.context())
        conversation = answer.conversation_id
        assert answer.memory.prompt_tokens <= answer.memory.limit
    assert conversation is not None
    past = bench.history.load(conversation)
    assert [turn.question for turn in past.turns] == [f"Question {number}?" for number in range(12)]
    assert past.summary is None


async def test_old_turns_are_summarised_once_they_no_longer_fit(open_bench: Callable[..., Bench]) -> None:
    bench = open_bench(runner=FakeRunner(CHATTY, context_length=400), explain_max_tokens=40)
    conversation: str | None = None
    for number in range(12):
        request = ExplainRequest(question=f"Question {number}?", conversation_id=conversation)
        conversation = (await bench.explainer.explain(request, bench.context())).conversation_id
    assert conversation is not None
    for _ in range(200):
        if bench.history.load(conversation).summary is not None:
            break
        await asyncio.sleep(0.02)
    summary = bench.history.load(conversation).summary
    assert summary is not None
    assert 0 < summary.covers < 12
    answer = await bench.explainer.explain(
        ExplainRequest(question="Last?", conversation_id=conversation), bench.context()
    )
    afterwards = bench.history.load(conversation).summary
    assert afterwards is not None
    assert summary.covers <= answer.memory.summarised <= afterwards.covers < 12  # it may have gone on meanwhile


async def test_nothing_to_explain_is_an_error_and_an_unknown_conversation_too(open_bench: Callable[..., Bench]) -> None:
    bench = open_bench("unused")
    with pytest.raises(InvalidParams, match="question"):
        await bench.explainer.explain(ExplainRequest(), bench.context())
    with pytest.raises(NotFound):
        await bench.explainer.explain(ExplainRequest(question="Why?", conversation_id="0" * 32), bench.context())


async def test_a_cancelled_explanation_leaves_no_conversation_behind(open_bench: Callable[..., Bench]) -> None:
    bench = open_bench("unused")
    context = bench.context()
    context.token.cancel()
    with pytest.raises(Cancelled):
        await bench.explainer.explain(ExplainRequest(selection=CODE), context)
    assert bench.history.list(10).conversations == []


async def test_an_unknown_task_is_refused_without_a_model(open_bench: Callable[..., Bench]) -> None:
    bench = open_bench("unused")
    answer = await bench.generator.generate(GenerateRequest(prompt="parse a date"), found(0.2), bench.context())
    assert (answer.status, answer.code, answer.grounded) == ("unknown", None, False)
    assert answer.sources[0].task_id == "T/1"
    assert bench.runner.prompts == []


async def test_force_generates_an_unknown_task_and_says_that_it_rests_on_nothing(
    open_bench: Callable[..., Bench],
) -> None:
    bench = open_bench("x = 1\n```")
    request = GenerateRequest(prompt="parse a date", force=True)
    answer = await bench.generator.generate(request, found(0.2), bench.context())
    assert (answer.status, answer.grounded, answer.band) == ("generated", False, "unknown")
    assert answer.code == bench.streamed() == "x = 1"
    assert "sum(prices)" not in str(bench.runner.chats[-1][0])


@pytest.mark.parametrize(("similarity", "band", "grounded"), [(0.65, "grounded", True), (0.55, "weak", False)])
async def test_a_known_task_puts_its_solution_into_the_prompt(
    open_bench: Callable[..., Bench], similarity: float, band: str, grounded: bool
) -> None:
    bench = open_bench("def f(:\n```")
    answer = await bench.generator.generate(GenerateRequest(prompt="add them"), found(similarity), bench.context())
    assert (answer.band, answer.grounded, answer.adapted) == (band, grounded, False)
    assert "sum(prices)" in str(bench.runner.chats[-1][0])
    assert answer.checks is not None
    assert not answer.checks.syntax
    assert "line 1" in str(answer.checks.problem)


async def test_the_same_task_is_answered_with_its_stored_implementation(open_bench: Callable[..., Bench]) -> None:
    bench = open_bench("unused")
    request = GenerateRequest(prompt="a function `add_up` that sums the prices of a list")
    answer = await bench.generator.generate(request, found(0.9), bench.context())
    assert answer.adapted
    assert answer.model is None
    assert answer.code == bench.streamed()
    assert "def add_up(prices):\n    return sum(prices)" in str(answer.code)
    assert "T/1" in str(answer.message)
    assert bench.runner.prompts == []


async def test_force_has_the_model_write_even_a_known_task(open_bench: Callable[..., Bench]) -> None:
    bench = open_bench("y = 2\n```")
    request = GenerateRequest(prompt="sum the prices of a list", force=True)
    answer = await bench.generator.generate(request, found(0.9), bench.context())
    assert (answer.code, answer.adapted, answer.grounded) == ("y = 2", False, True)


async def test_what_was_taught_is_kept_as_it_is_where_it_is_probably_meant_and_marked_as_weak(
    open_bench: Callable[..., Bench],
) -> None:
    bench = open_bench("unused")
    request = GenerateRequest(prompt="total of what is in the basket")
    answer = await bench.generator.generate(request, found(0.45, lead=0.2), bench.context())
    assert (answer.band, answer.grounded, answer.adapted) == ("weak", False, True)
    assert "sum(prices)" in str(answer.code)
    assert "0.45" in str(answer.message)
    assert "check" in str(answer.message)
    assert bench.runner.prompts == []


async def test_what_contradicts_the_request_is_never_passed_on_as_it_is(open_bench: Callable[..., Bench]) -> None:
    bench = open_bench("max(prices)\n```")
    request = GenerateRequest(prompt="sum of the prices of a list, without the last 7")
    answer = await bench.generator.generate(request, found(0.9, lead=0.2), bench.context())
    assert (answer.code, answer.adapted) == ("max(prices)", False)


async def test_a_task_that_does_not_meet_the_examples_in_the_request_is_no_source(
    open_bench: Callable[..., Bench],
) -> None:
    bench = open_bench("prices[0]\n```")
    prompt = "the first of some prices, as in total([5, 2]) == 5"
    answer = await bench.generator.generate(GenerateRequest(prompt=prompt), found(0.75), bench.context())
    assert (answer.status, answer.band, answer.code) == ("unknown", "unknown", None)
    assert "total([5, 2]) == 5" in str(answer.message)
    forced = await bench.generator.generate(GenerateRequest(prompt=prompt, force=True), found(0.75), bench.context())
    assert (forced.code, forced.grounded) == ("prices[0]", False)
    assert "sum(prices)" not in str(bench.runner.chats[-1][0])


async def test_a_task_that_meets_the_examples_in_the_request_is_the_one_asked_for(
    open_bench: Callable[..., Bench],
) -> None:
    bench = open_bench("unused")
    prompt = "what is in the basket costs, as in\ncost([5, 2]) == 7\ncost([1]) == 1\ncost([2]) == 2"
    answer = await bench.generator.generate(GenerateRequest(prompt=prompt), found(0.55), bench.context())
    assert answer.adapted
    assert "sum(prices)" in str(answer.code)
    assert "examples" in str(answer.message)


async def test_a_mistaken_example_does_not_hide_a_task_in_the_same_words(open_bench: Callable[..., Bench]) -> None:
    bench = open_bench("unused")
    prompt = "sum the prices of a list\ntotal([5, 2]) == 8"
    answer = await bench.generator.generate(GenerateRequest(prompt=prompt), found(0.95), bench.context())
    assert answer.adapted
