"""Frames on the socket between clients and the engine.

A frame is a 4-byte big-endian length and that many bytes of JSON. What the JSON says:

client → engine
    `{"hello": {protocol, version, token, name, settings}}` once, first
    `{"id", "method", "params"}` a request of `core.messages`
    `{"cancel": id}`
engine → client
    `{"welcome": {version, pid, problems}}` or `{"refused": error}`
    `{"id", "event": {kind, ...}}` any number of times
    `{"id", "result"}` or `{"id", "error"}` exactly once for each request
    `{"state": status}` whenever something changed
    `{"leaving": true}` last, when the engine ends in order
"""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any

from core.errors import EngineUnavailable

MAX_FRAME = 64 * 1024 * 1024
"""Bytes; larger than anything either side accepts, small enough to refuse nonsense."""

_LENGTH = struct.Struct(">I")

Message = dict[str, Any]


def pack(message: Message) -> bytes:
    """Return the frame that holds `message`."""
    # ASCII only: text from editors may hold lone surrogates, which UTF-8 cannot carry.
    body = json.dumps(message, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    return _LENGTH.pack(len(body)) + body


async def read(reader: asyncio.StreamReader) -> Message | None:
    """Return the next message, or `None` when the other side has gone.

    Raises:
        EngineUnavailable: The bytes are not a frame.
    """
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > MAX_FRAME:
            raise EngineUnavailable(f"A frame of {length} bytes arrived; at most {MAX_FRAME} are accepted.")
        message = json.loads(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except ValueError as error:
        raise EngineUnavailable(f"A frame arrived that is not JSON: {error}") from None
    if not isinstance(message, dict):
        raise EngineUnavailable("A frame arrived that is not a JSON object.")
    return message
