"""Commands for editors that have only menus; each answers at once and starts work.

Results come as a file that is shown, an edit that is applied, or a message. A cancel of the
command's request cancels its work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from core import codec
from core.errors import InvalidParams, NotFound
from core.messages import (
    Action,
    AskRequest,
    ExplainRequest,
    Explanation,
    Generation,
    ModelsRequest,
    Taught,
    TeachRequest,
)
from server import wording
from server.delivery import deliver_code, show_explanation
from server.documents import take_snapshot
from server.handlers.ask import read_ask
from server.handlers.explain import selected_code
from server.handlers.generate import read_generate
from server.params import (
    AskParams,
    Delivery,
    DocumentReference,
    ExplainParams,
    GenerateParams,
    NewConversationParams,
    NoParams,
    TeachSelectionParams,
)
from server.selection import dedent, derive_description
from server.server import AssistantServer, decode_argument
from server.work import Work, begin_work

EXPLAIN_SELECTION = "assistant.explainSelection"
GENERATE_FROM_COMMENT = "assistant.generateFromComment"
TEACH_SELECTION = "assistant.teachSelection"
ASK = "assistant.ask"
SHOW_STATUS = "assistant.showStatus"
UNLOAD_MODELS = "assistant.unloadModels"
NEW_CONVERSATION = "assistant.newConversation"

P = TypeVar("P")
Run = Callable[[AssistantServer, P, Work], Awaitable[None]]


def register(server: AssistantServer) -> None:
    """Attach the commands."""
    _command(server, EXPLAIN_SELECTION, ExplainParams, explain_selection)
    _command(server, GENERATE_FROM_COMMENT, GenerateParams, generate_from_comment)
    _command(server, TEACH_SELECTION, TeachSelectionParams, teach_selection)
    _command(server, ASK, AskParams, ask)
    _command(server, SHOW_STATUS, NoParams, show_status)
    _command(server, UNLOAD_MODELS, NoParams, unload_models)
    _command(server, NEW_CONVERSATION, NewConversationParams, new_conversation)


def _command(server: AssistantServer, name: str, kind: type[P], run: Run[P]) -> None:
    def command(ls: AssistantServer, *arguments: Any) -> None:
        _start(ls, name, run, decode_argument(kind, arguments))

    server.command(name)(command)


def _start(ls: AssistantServer, name: str, run: Run[P], params: P) -> None:
    """Start a command's work in the background."""

    async def work() -> None:
        async with begin_work(ls, _TITLES[name], Delivery()) as begun:
            await run(ls, params, begun)

    ls.protocol.track_command(ls.spawn(work, name))


_TITLES = {
    EXPLAIN_SELECTION: "Explaining",
    GENERATE_FROM_COMMENT: "Generating code",
    TEACH_SELECTION: "Learning the task",
    ASK: "Answering",
    SHOW_STATUS: "Status",
    UNLOAD_MODELS: "Unloading the models",
    NEW_CONVERSATION: "New conversation",
}


async def explain_selection(ls: AssistantServer, params: ExplainParams, work: Work) -> None:
    """Explain the selection in a file, going on with the document's conversation."""
    selection = selected_code(ls, params)
    request = ExplainRequest(selection=selection, question=params.question, conversation_id=params.conversation_id)
    answer = codec.decode(Explanation, await _converse(ls, params.text_document, request, work))
    await show_explanation(ls, wording.explanation(selection, params.question, answer.text), answer)


async def generate_from_comment(ls: AssistantServer, params: GenerateParams, work: Work) -> None:
    """Insert the code that a comment asks for below it."""
    request, place = read_generate(ls, params)
    generation = await work.call(request, Generation)

    def anyway() -> None:
        _start(ls, GENERATE_FROM_COMMENT, generate_from_comment, dataclasses.replace(params, force=True))

    await deliver_code(ls, generation, place, anyway)


async def ask(ls: AssistantServer, params: AskParams, work: Work) -> None:
    """Answer a question in a file, or insert the code that it asks for."""
    request, place = read_ask(ls, params)
    answer = await _converse(ls, params.text_document, request, work)
    if answer["status"] == "answered":
        turn = wording.explanation(request.selection, request.query, answer["text"])
        await show_explanation(ls, turn, codec.decode(Explanation, answer))
        return

    def anyway() -> None:
        _start(ls, ASK, ask, dataclasses.replace(params, force=True))

    await deliver_code(ls, codec.decode(Generation, answer), place, anyway)


async def teach_selection(ls: AssistantServer, params: TeachSelectionParams, work: Work) -> None:
    """Teach the selected code, described by its docstring, its comment or its name."""
    document = take_snapshot(ls.workspace, params.text_document)
    selection = document.selection(params.range)
    code = dedent(selection.text)
    description = params.description or derive_description(code, document.text.lines[: params.range.start.line])
    if description is None:
        raise InvalidParams(
            "description", "nothing says what this code does; write a docstring, or a comment above it, and teach again"
        )
    request = TeachRequest(description=description, implementation=code, language=document.language)
    ls.show(wording.taught(description, await work.call(request, Taught)))


async def show_status(ls: AssistantServer, _: NoParams, __: Work) -> None:
    """Show how things stand."""
    ls.show(wording.status(ls.engine.status()))


async def unload_models(ls: AssistantServer, _: NoParams, work: Work) -> None:
    """Free the memory that models take."""
    await work.call_raw(ModelsRequest(action=Action.UNLOAD))
    ls.show("The models are unloaded. The next request loads what it needs.")


async def new_conversation(ls: AssistantServer, params: NewConversationParams, _: Work) -> None:
    """Let the next explanation start afresh, in one document or in all."""
    if params.text_document is None:
        ls.conversations.clear()
    else:
        ls.conversations.pop(params.text_document.uri, None)
    ls.show("The next explanation starts a new conversation.")


async def _converse(
    ls: AssistantServer, document: DocumentReference | None, request: AskRequest | ExplainRequest, work: Work
) -> dict[str, Any]:
    """Send a request as the next turn of the document's conversation, and remember that one."""
    key = "" if document is None else document.uri
    going_on = request.conversation_id or ls.conversations.get(key)
    try:
        answer = await work.call_raw(dataclasses.replace(request, conversation_id=going_on))
    except NotFound:
        if going_on is None or going_on == request.conversation_id:
            raise
        # It has been forgotten meanwhile, which the person need not care about here.
        answer = await work.call_raw(request)
    if "conversationId" in answer:
        ls.conversations[key] = answer["conversationId"]
    return answer
