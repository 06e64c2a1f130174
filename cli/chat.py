"""The dialogue of `chat`, without a terminal: what a person types goes in, requests go out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar

from cli import keyboard
from cli.engine import Engine, decode_answer
from cli.output import Output
from cli.parser import Location, read_selection
from core import codec
from core.errors import AssistantError, RejectedTask
from core.messages import (
    AskRequest,
    CodeSelection,
    Explanation,
    Generation,
    Intent,
    Request,
    Status,
    StatusRequest,
    Taught,
    TeachRequest,
)

T = TypeVar("T")

HELP = """\
Ask anything: whether to explain or to write code is found out from the question.
/code FILE:START-END  talk about these lines         /new     begin a new conversation
/wrong                do the other of the two         /teach   store a solved task
/status               show models and memory          /quit    leave (also Ctrl-D)
Ctrl-C stops an answer."""


class Chat:
    """One session: remembers the conversation, the selected code and the last question."""

    def __init__(
        self,
        engine: Engine,
        output: Output,
        selection: CodeSelection | None = None,
        *,
        read_line: Callable[[str], str] = keyboard.read_line,
        read_block: Callable[[str], str] = keyboard.read_block,
    ) -> None:
        """Prepare a session.

        Args:
            engine: Answers.
            output: Shows the answers.
            selection: Code that the first question is about.
            read_line: Asks for a line; raises `EOFError` when the person leaves.
            read_block: Asks for several lines.
        """
        self._engine = engine
        self._output = output
        self._selection = selection
        self._read_line = read_line
        self._read_block = read_block
        self._conversation: str | None = None
        self._last: tuple[AskRequest, Intent] | None = None
        self._commands: dict[str, Callable[[str], None]] = {
            "/help": lambda _: output.say(HELP),
            "/code": self._select,
            "/new": self._begin,
            "/wrong": self._other_intent,
            "/teach": self._teach,
            "/status": lambda _: output.show(self._call(StatusRequest(), Status)),
        }

    def run(self) -> None:
        """Talk until the person leaves."""
        self._output.say(HELP)
        while True:
            try:
                line = self._read_line("> ").strip()
                if line == "/quit":
                    return
                if line:
                    self._answer(line)
            except EOFError:
                return
            except KeyboardInterrupt:
                self._output.say("Stopped. Ctrl-D or /quit leaves.")
            except AssistantError as error:
                self._output.fail(error)

    def _answer(self, line: str) -> None:
        name, _, rest = line.partition(" ")
        if name in self._commands:
            self._commands[name](rest.strip())
        elif name.startswith("/"):
            self._output.say(f"There is no command {name}.\n{HELP}")
        else:
            self._ask(AskRequest(query=line, conversation_id=self._conversation, selection=self._selection))

    def _ask(self, request: AskRequest) -> None:
        with self._output.activity() as on_event:
            answer = decode_answer(self._engine.call(request, on_event))
        self._output.show(answer)
        if isinstance(answer, Explanation):
            self._last = (request, Intent.EXPLAIN)
            self._conversation = answer.conversation_id
            # From here on the code is part of the conversation.
            self._selection = None
            return
        self._last = (request, Intent.GENERATE)
        if answer.status == "unknown":
            self._offer_to_learn(request, answer)

    def _offer_to_learn(self, request: AskRequest, answer: Generation) -> None:
        choice = self._read_line("[t]each it, [g]enerate anyway, or Enter to go on: ").strip().lower()
        if choice in {"g", "generate"}:
            self._ask(dataclasses.replace(request, intent=Intent.GENERATE, force=True))
        elif choice in {"t", "teach", "y", "yes"} and self._learn(request.query):
            self._output.say("Asking again:")
            self._ask(dataclasses.replace(request, intent=Intent.GENERATE))

    def _teach(self, description: str) -> None:
        self._learn(description)

    def _learn(self, proposal: str) -> bool:
        """Ask for a description and code until they can be stored; return whether they were."""
        default = f" [{proposal}]" if proposal else ""
        description = self._read_line(f"What does the code do?{default} ").strip() or proposal
        while description:
            code = self._read_block("The code; a line with a single dot ends it, @FILE reads a file:")
            if not code.strip():
                break
            try:
                self._output.show(self._call(TeachRequest(description=description, implementation=code), Taught))
            except RejectedTask as error:
                self._output.fail(error)
                self._output.say("Try again; empty code gives up.")
            else:
                return True
        self._output.say("Nothing was stored.")
        return False

    def _other_intent(self, _: str) -> None:
        if self._last is None:
            self._output.say("There is no question yet that could have been taken the wrong way.")
            return
        request, taken = self._last
        other = Intent.GENERATE if taken is Intent.EXPLAIN else Intent.EXPLAIN
        self._ask(dataclasses.replace(request, intent=other))

    def _begin(self, _: str) -> None:
        self._conversation = None
        self._selection = None
        self._output.say("A new conversation begins.")

    def _select(self, location: str) -> None:
        self._selection = read_selection(Location.parse(location))
        lines = self._selection.text.count("\n")
        self._output.say(f"The next question is about {lines} lines of {self._selection.name}.")

    def _call(self, request: Request, kind: type[T]) -> T:
        with self._output.activity() as on_event:
            return codec.decode(kind, self._engine.call(request, on_event))
