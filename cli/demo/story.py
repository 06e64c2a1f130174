"""The demo's story: each step makes a claim, shows what happens, and checks the claim."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from cli.demo.editor import Answer, Document, Editor
from cli.engine import decode_answer
from cli.output import Output
from cli.reports import BufferChange, DemoStep
from core import codec
from core.errors import AssistantError
from core.messages import Conversation, Explanation, Generation, Intent, Status, TaskDetails, TaskList, Taught, Timings

_SAVED = '''\
"""Prices of a small shop."""


def total(prices, discount=0.0):
    """Return the sum of the prices after a discount."""
    subtotal = sum(prices)
    return round(subtotal * (1 - discount), 2)
'''

_COMMENT = "Return the maximum element of the list"

_INDENT = "    "

_UNSAVED = f"""

def report(prices):
    # {_COMMENT}
"""

_QUESTION = "What does this function do?"
_FOLLOW_UP = "And what happens with a discount of 1?"

_TAUGHT = "Format a number of cents as a price in euros, with a comma before the cents"
_TAUGHT_AGAIN = "Write an amount of cents as a euro price with a decimal comma"
_SOLUTION = '''\
def format_price(cents: int) -> str:
    """Return cents as a price, for example 1234 as '12,34 EUR'."""
    euros, rest = divmod(cents, 100)
    return f"{euros},{rest:02d} EUR"
'''

_MESSAGE_TIMEOUT, _POLL = 10.0, 0.1


class StepFailed(AssistantError):
    """A step of the demo did not do what it claims."""

    code = "demoFailed"


class Story:
    """The steps in their order, and what they found."""

    def __init__(self, editor: Editor, output: Output, workspace: Path) -> None:
        self.steps: list[DemoStep] = []
        self.status: Status | None = None
        self._editor = editor
        self._output = output
        self._document = Document(workspace / "shop.py", _SAVED)
        self._conversation = ""
        self._first_prompt = 0
        self._taught = ""
        self._plan: list[tuple[str, Callable[[], Timings | None]]] = [
            ("Start: the server answers at once, the engine follows", self._start),
            ("Explain: a question about selected code", self._explain),
            ("Follow up: the conversation is remembered", self._follow_up),
            ("Generate: a comment becomes code", self._generate),
            ("Unknown: what nothing stored resembles is refused", self._refuse),
            ("Anyway: the model alone, as it would have answered", self._insist),
            ("Teach: the missing task, with its solution", self._teach),
            ("Learned: asked in other words", self._ask_again),
            ("Durable: the engine is killed, and asked again", self._survive),
        ]

    @property
    def passed(self) -> bool:
        """Whether every step was run and did what it claims."""
        return len(self.steps) == len(self._plan) and all(step.passed for step in self.steps)

    def tell(self) -> None:
        """Run the steps until one fails."""
        for number, (title, step) in enumerate(self._plan, 1):
            if not self._run(number, title, step):
                return

    def _run(self, number: int, title: str, step: Callable[[], Timings | None]) -> bool:
        self._output.say(f"\n== {number}. {title}")
        start, timings, problem = time.monotonic(), None, None
        try:
            timings = step()
        except AssistantError as error:
            problem = error.message
        except TimeoutError:
            problem = "No answer came in time."
        if problem is not None:
            self._output.say(f"FAILED: {problem}")
        seconds = time.monotonic() - start
        name = title.partition(":")[0]
        self.steps.append(
            DemoStep(title=name, passed=problem is None, seconds=seconds, timings=timings, problem=problem)
        )
        return problem is None

    def _start(self) -> None:
        answer = self._editor.initialize()
        name = answer.result.get("serverInfo", {}).get("name", "the server")
        self._output.say(f"{name} answered `initialize` after {answer.seconds * 1000:.0f} ms.")
        self._document.path.write_text(_SAVED, "utf-8")
        self._editor.open(self._document)
        self._document.text += _UNSAVED
        self._document.version += 1
        self._editor.change(self._document)
        # The answer waits until the engine has started and has read what it knows.
        known = codec.decode(TaskList, self._request("tasks", limit=1).result).total
        _check(known > 0, "The engine knows no tasks.")
        self._output.say(f"The engine is up (process {self._ask_status().engine.pid}) and knows {known} solved tasks.")

    def _explain(self) -> Timings:
        self._say_question(_QUESTION, "total() is selected")
        answer = self._request(
            "ask",
            query=_QUESTION,
            textDocument=self._document.reference,
            range=self._document.range_of("def total", "return round"),
        )
        result = self._explanation(answer)
        _check(result.route is not None and result.route.intent is Intent.EXPLAIN, "It was not routed to explain.")
        streamed = "".join(answer.tokens)
        _check(streamed.strip() == result.text.strip(), "The streamed tokens are not the answer.")
        self._conversation, self._first_prompt = result.conversation_id, result.memory.prompt_tokens
        self._output.show(result)
        self._output.say(f"Streamed in {len(answer.tokens)} pieces, complete and in order before the answer.")
        return result.timings

    def _follow_up(self) -> Timings:
        self._say_question(_FOLLOW_UP, "nothing is selected")
        result = self._explanation(self._request("explain", question=_FOLLOW_UP, conversationId=self._conversation))
        wire = self._request("conversation", conversationId=self._conversation).result
        questions = [turn.question for turn in codec.decode(Conversation, wire).turns]
        _check(questions == [_QUESTION, _FOLLOW_UP], f"The conversation holds the questions {questions}.")
        _check(result.memory.prompt_tokens > self._first_prompt, "The model was not given the first question again.")
        self._output.show(result)
        return result.timings

    def _generate(self) -> Timings:
        line = self._document.line_of(_COMMENT)
        self._say_question(f"# {_COMMENT}", f"the comment in line {line + 1}, in unsaved text")
        answer = self._request(
            "generate",
            textDocument=self._document.reference,
            position={"line": line, "character": len(_INDENT)},
        )
        result = self._generation(answer)
        _check(result.status == "generated" and result.grounded, "No stored task grounds the code.")
        _check(result.checks is not None and result.checks.syntax, "The code has a syntax error.")
        self._output.show(result)
        self._apply(answer.result.get("edit"))
        return result.timings

    def _refuse(self) -> Timings:
        self._say_question(_TAUGHT, "a description nobody has taught yet")
        result = self._generation(self._request("generate", prompt=_TAUGHT))
        _check(result.status == "unknown" and not result.code, "It was not refused.")
        _check(all(one.similarity < result.threshold for one in result.sources), "A source is above the threshold.")
        self._output.show(result)
        return result.timings

    def _insist(self) -> Timings:
        self._say_question(_TAUGHT, "the same, with `force`")
        answer = self._request("generate", prompt=_TAUGHT, force=True)
        result = self._generation(answer)
        _check(result.status == "generated" and not result.grounded, "It does not say that the code is not grounded.")
        _check(result.model is not None and bool(answer.tokens), "No model wrote this.")
        self._output.show(result)
        return result.timings

    def _teach(self) -> None:
        self._output.say(f"taught: {_TAUGHT}\n{_SOLUTION}")
        answer = self._request("teach", description=_TAUGHT, implementation=_SOLUTION)
        taught = codec.decode(Taught, answer.result)
        self._taught = taught.task_id
        self._output.show(taught)

    def _ask_again(self) -> Timings:
        self._say_question(_TAUGHT_AGAIN, "other words for the same")
        result = self._generation(self._request("generate", prompt=_TAUGHT_AGAIN))
        self._check_learned(result)
        self._output.show(result)
        return result.timings

    def _survive(self) -> Timings:
        before = self._ask_status()
        psutil.Process(before.engine.pid).kill()
        self._output.say(f"Killed the engine (process {before.engine.pid}). The editor shows:")
        self._output.say(f"  {self._wait_for_message()}")
        stored = self._request("task", taskId=self._taught)
        _check(
            codec.decode(TaskDetails, stored.result).implementation.strip() == _SOLUTION.strip(),
            "It is gone.",
        )
        self._say_question(_TAUGHT_AGAIN, "the same once more")
        result = self._generation(self._request("generate", prompt=_TAUGHT_AGAIN))
        self._check_learned(result)
        after = self.status = self._ask_status()
        _check(after.engine.pid != before.engine.pid, "The engine was not restarted.")
        self._output.show(result)
        self._output.say(f"A new engine (process {after.engine.pid}) knows what the killed one was taught.")
        return result.timings

    def _check_learned(self, result: Generation) -> None:
        _check(result.status == "generated", "It is still unknown.")
        _check(result.sources[0].task_id == self._taught, "The taught task was not the closest one.")
        _check(result.checks is not None and result.checks.syntax, "The code has a syntax error.")

    def _apply(self, edit: dict[str, Any] | None) -> None:
        """Do what an editor does with the edit of an answer: one change of the open document."""
        _check(edit is not None, "The answer holds no edit.")
        changes = [change for document in (edit or {})["documentChanges"] for change in document["edits"]]
        _check(len(changes) == 1, f"The edit has {len(changes)} parts instead of one.")
        before = self._document.text
        self._document.apply(changes[0])
        self._editor.change(self._document)
        inserted = [line for line in changes[0]["newText"].splitlines() if line.strip()]
        _check(
            all(line.startswith(_INDENT) for line in inserted), "The code does not follow the comment's indentation."
        )
        self._output.show(BufferChange(name=self._document.path.name, before=before, after=self._document.text))

    def _wait_for_message(self) -> str:
        """Return the next message the editor is told to show."""
        deadline = time.monotonic() + _MESSAGE_TIMEOUT
        while not self._editor.messages:
            if time.monotonic() > deadline:
                raise StepFailed("The editor was not told that the engine has died.")
            time.sleep(_POLL)
        return self._editor.messages.pop(0)

    def _ask_status(self) -> Status:
        return codec.decode(Status, self._request("status").result)

    def _request(self, method: str, **params: Any) -> Answer:
        with self._output.activity() as on_event:
            return self._editor.assistant(method, on_event, **params)

    def _explanation(self, answer: Answer) -> Explanation:
        result = decode_answer(answer.result)
        if not isinstance(result, Explanation) or not result.text.strip():
            raise StepFailed("The answer is no explanation.")
        return result

    def _generation(self, answer: Answer) -> Generation:
        result = decode_answer(answer.result)
        if not isinstance(result, Generation):
            raise StepFailed("The answer is an explanation, not code.")
        return result

    def _say_question(self, text: str, situation: str) -> None:
        self._output.say(f"> {text}    ({situation})")


def _check(condition: bool, problem: str) -> None:  # noqa: FBT001 - reads like `assert`
    if not condition:
        raise StepFailed(problem)
