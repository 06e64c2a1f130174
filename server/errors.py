"""What becomes of an error on its way to the editor: one table."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import cattrs
from lsprotocol.types import ErrorCodes, LSPErrorCodes
from pygls.exceptions import JsonRpcException

from core.codec import camel_case
from core.errors import AssistantError, Cancelled, InvalidParams

logger = logging.getLogger(__name__)

_RPC_CODES: dict[str, int] = {
    InvalidParams.code: ErrorCodes.InvalidParams,
    Cancelled.code: LSPErrorCodes.RequestCancelled,
    AssistantError.code: ErrorCodes.InternalError,
}
"""Every code that is not here is a failure of a well-formed request: `RequestFailed`."""


def to_rpc(error: AssistantError) -> JsonRpcException:
    """Return the response for `error`; its `data` holds our own code and further facts."""
    code = _RPC_CODES.get(error.code, LSPErrorCodes.RequestFailed)
    return JsonRpcException(message=error.message, code=int(code), data={**error.data, "code": error.code})


def unreadable_params(cause: BaseException | None) -> InvalidParams:
    """Name the field that kept a message of the standard protocol from being understood."""
    if not isinstance(cause, cattrs.BaseValidationError):
        return InvalidParams("params", "cannot be understood")
    problem, _, path = cattrs.transform_error(cause)[0].rpartition(" @ ")
    field = ".".join(camel_case(part) for part in path.split(".") if part not in {"$", "params"})
    return InvalidParams(field or "params", problem)


@contextlib.contextmanager
def rpc_errors() -> Iterator[None]:
    """Turn whatever is raised inside into an error response.

    This is the boundary of every handler: a fault of ours is logged with its traceback, and
    the editor is told without it.
    """
    try:
        yield
    except AssistantError as error:
        raise to_rpc(error) from error
    except JsonRpcException:
        raise
    except Exception as error:
        logger.exception("A request failed because of a fault in the language server")
        text = f"The language server failed: {type(error).__name__}. Its log says where; please report it."
        raise to_rpc(AssistantError(text)) from error
