"""The errors people see: what happened, with the numbers, and what to do.

Every error that may cross a process boundary is an `AssistantError`. It has a stable `code`
for programs and a message for people, and travels as plain JSON.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Self


class AssistantError(Exception):
    """Base of all errors that are reported to a person.

    Attributes:
        code: Stable identifier, the same on every side of the wire.
        data: Further facts as JSON values, for programs.
    """

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.data = data

    def to_wire(self) -> dict[str, Any]:
        """Return `{code, message, data}` as plain JSON values."""
        return {"code": self.code, "message": self.message, "data": self.data}

    @staticmethod
    def from_wire(wire: dict[str, Any]) -> AssistantError:
        """Rebuild the error that `to_wire` described; an unknown code gives the base class."""
        kind = _BY_CODE.get(str(wire.get("code")), AssistantError)
        error = kind.__new__(kind)
        AssistantError.__init__(error, str(wire.get("message", "unknown error")), **(wire.get("data") or {}))
        return error


class InvalidParams(AssistantError):
    """A request is malformed: names the field and what is wrong with it."""

    code = "invalidParams"

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}", field=field)

    def inside(self, parent: str) -> Self:
        """Return the same error with its field placed below `parent`."""
        field = f"{parent}.{self.data['field']}"
        problem = self.message.partition(": ")[2]
        return type(self)(field, problem)


class NotFound(AssistantError):
    """Something named by the person (a task, a conversation, a document) does not exist."""

    code = "notFound"


class RejectedTask(AssistantError):
    """A task cannot be taught as it is, for example because its code does not parse."""

    code = "rejectedTask"


class ModelMissing(AssistantError):
    """A model is not on this machine; the message holds the command that brings it."""

    code = "modelMissing"


class ModelDamaged(AssistantError):
    """A model's files are there but cannot be used (truncated, wrong checksum, wrong shapes)."""

    code = "modelDamaged"


class OutOfMemory(AssistantError):
    """A model or a prompt does not fit in memory; the message says what would."""

    code = "outOfMemory"


class ContextTooLong(AssistantError):
    """The prompt and the reply budget exceed the model's context; gives both lengths."""

    code = "contextTooLong"


class ModelFailed(AssistantError):
    """A model failed while it was running; the engine goes on."""

    code = "modelFailed"


class StorageFailed(AssistantError):
    """The data folder cannot be read or written (full, read-only, damaged)."""

    code = "storageFailed"


class DownloadFailed(AssistantError):
    """Something could not be fetched: no network, unknown name, or a checksum that differs."""

    code = "downloadFailed"


class SandboxFailed(AssistantError):
    """The sandbox could not be started, so the code was not run."""

    code = "sandboxFailed"


class EngineUnavailable(AssistantError):
    """The engine could not be started or reached, or died while it was working."""

    code = "engineUnavailable"


class EngineBusy(AssistantError):
    """The queue is full; try again when something has finished."""

    code = "engineBusy"


class Cancelled(AssistantError):
    """The request was cancelled by its client."""

    code = "cancelled"

    def __init__(self, message: str = "The request was cancelled.", **data: Any) -> None:
        super().__init__(message, **data)


def _all_kinds(kind: type[AssistantError]) -> Iterator[type[AssistantError]]:
    yield kind
    for direct in kind.__subclasses__():
        yield from _all_kinds(direct)


_BY_CODE = {kind.code: kind for kind in _all_kinds(AssistantError)}
