"""Which part of the engine answers which method."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from core import codec, messages
from core.assistant import Assistant
from core.context import RequestContext
from core.engine.model_service import ModelService
from core.engine.session import Session
from core.engine.status import StatusReport
from core.errors import InvalidParams
from core.messages import ConfigureRequest, Done

Method = Callable[[Any, RequestContext], Awaitable[Any]]


class Dispatcher:
    """Decodes a request, runs the method it names and returns the result."""

    def __init__(
        self,
        assistant: Assistant,
        models: ModelService,
        report: StatusReport,
        stop: Callable[[], None],
    ) -> None:
        self._stop = stop
        self._report = report
        self._methods: dict[str, tuple[type, Method]] = {
            kind.method: (kind, method)
            for kind, method in (
                (messages.AskRequest, assistant.ask),
                (messages.LookUpRequest, assistant.look_up),
                (messages.ExplainRequest, assistant.explain),
                (messages.GenerateRequest, assistant.generate),
                (messages.TeachRequest, assistant.teach),
                (messages.TasksRequest, assistant.tasks),
                (messages.TaskRequest, assistant.task),
                (messages.UpdateTaskRequest, assistant.update_task),
                (messages.ForgetRequest, assistant.forget),
                (messages.RestoreTaskRequest, assistant.restore_task),
                (messages.JudgeRequest, assistant.judge),
                (messages.ChooseRouteRequest, assistant.choose_route),
                (messages.ImportTasksRequest, assistant.import_tasks),
                (messages.ExportTasksRequest, assistant.export_tasks),
                (messages.ConversationsRequest, assistant.conversations),
                (messages.ConversationRequest, assistant.conversation),
                (messages.ForgetConversationRequest, assistant.forget_conversation),
                (messages.ModelsRequest, models.perform),
                (messages.ShutdownRequest, self._shutdown),
            )
        }

    async def __call__(self, session: Session, method: str, params: dict[str, Any], context: RequestContext) -> Any:
        """Run one request of one client.

        Raises:
            InvalidParams: The method is unknown or its parameters are malformed.
            AssistantError: Whatever went wrong while answering.
        """
        if method == ConfigureRequest.method:
            problems = session.configure(codec.decode(ConfigureRequest, params).settings)
            return Done(message="\n".join(problems) or "done")
        if method == messages.StatusRequest.method:
            return self._report.status(session.settings)
        if method not in self._methods:
            raise InvalidParams("method", f"{method!r} is unknown")
        kind, run = self._methods[method]
        return await run(codec.decode(kind, params), context)

    async def _shutdown(self, _: messages.ShutdownRequest, __: RequestContext) -> Done:
        # The answer goes out first.
        asyncio.get_running_loop().call_later(0.05, self._stop)
        return Done(message="The engine stops.")
