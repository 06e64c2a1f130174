"""`assistant/tasks` and its kin: looking after what has been learnt."""

from __future__ import annotations

from core.messages import (
    ChooseRouteRequest,
    ExportTasksRequest,
    ForgetRequest,
    ImportTasksRequest,
    JudgeRequest,
    RestoreTaskRequest,
    TaskRequest,
    TasksRequest,
    UpdateTaskRequest,
)
from server.handlers.forwarding import forward
from server.server import AssistantServer


def register(server: AssistantServer) -> None:
    """Attach the handlers."""
    forward(server, TasksRequest, "Looking for tasks")
    forward(server, TaskRequest, "Reading the task")
    forward(server, UpdateTaskRequest, "Changing the task")
    forward(server, ForgetRequest, "Forgetting the task")
    forward(server, RestoreTaskRequest, "Restoring the task")
    forward(server, JudgeRequest, "Keeping what became of the answer")
    forward(server, ChooseRouteRequest, "Keeping the choice")
    forward(server, ImportTasksRequest, "Importing tasks")
    forward(server, ExportTasksRequest, "Exporting tasks")
