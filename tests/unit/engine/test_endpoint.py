from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from core.engine import endpoint as endpoints
from core.engine import wire
from core.errors import StorageFailed
from core.paths import DataFolders


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while (message := await wire.read(reader)) is not None:
        writer.write(wire.pack(message))
    writer.close()


@pytest.mark.parametrize("unix", [True, False])
async def test_a_client_finds_the_engine_and_talks_to_it(tmp_path: Path, unix: bool) -> None:
    folders = DataFolders(tmp_path)
    server, endpoint = await endpoints.listen(folders, "1", echo, unix=unix)
    assert endpoints.find(folders) == endpoint
    reader, writer = await endpoints.dial(endpoint)
    writer.write(wire.pack({"hello": 1}))
    assert await wire.read(reader) == {"hello": 1}
    writer.close()
    server.close()
    endpoints.withdraw(folders)
    assert endpoints.find(folders) is None


async def test_nobody_else_can_reach_the_socket_or_read_the_token(tmp_path: Path) -> None:
    folders = DataFolders(tmp_path / "home")
    server, endpoint = await endpoints.listen(folders, "1", echo, unix=True)
    assert endpoint.path is not None
    assert stat.S_IMODE(folders.run.stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(endpoint.path).stat().st_mode) == 0o600
    assert stat.S_IMODE((folders.run / "endpoint.json").stat().st_mode) == 0o600
    server.close()


async def test_a_very_long_data_folder_still_gets_a_socket(tmp_path: Path) -> None:
    folders = DataFolders(tmp_path / ("long" * 40))
    server, endpoint = await endpoints.listen(folders, "1", echo, unix=True)
    _, writer = await endpoints.dial(endpoint)
    writer.close()
    server.close()
    endpoints.withdraw(folders)


async def test_a_damaged_announcement_counts_as_none(tmp_path: Path) -> None:
    folders = DataFolders(tmp_path)
    folders.run.mkdir()
    for text in ("", "{", "[]", '{"pid": 1}'):
        (folders.run / "endpoint.json").write_text(text)
        assert endpoints.find(folders) is None


async def test_a_folder_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageFailed, match="AI_CODEGEN_HOME"):
        endpoints.private_folder(tmp_path / "file" / "run")
