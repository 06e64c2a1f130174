from __future__ import annotations

import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.engine import wire
from core.errors import EngineUnavailable


def reader_of(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()))
def test_messages_come_back_whatever_text_they_hold(message: dict[str, object]) -> None:
    async def round_trip() -> object:
        return await wire.read(reader_of(wire.pack(message)))

    assert asyncio.run(round_trip()) == message


async def test_half_a_surrogate_pair_from_an_editor_passes() -> None:
    assert await wire.read(reader_of(wire.pack({"text": "\ud83d"}))) == {"text": "\ud83d"}


@pytest.mark.parametrize("data", [b"", b"\0\0", wire.pack({"id": 1})[:-1]])
async def test_a_side_that_has_gone_is_an_end_and_no_error(data: bytes) -> None:
    assert await wire.read(reader_of(data)) is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (struct.pack(">I", wire.MAX_FRAME + 1), "at most"),
        (struct.pack(">I", 3) + b"{x}", "not JSON"),
        (struct.pack(">I", 2) + b"[]", "not a JSON object"),
        (struct.pack(">I", 2) + b"\xff\xfe", "not JSON"),
    ],
)
async def test_nonsense_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(EngineUnavailable, match=words):
        await wire.read(reader_of(data))
