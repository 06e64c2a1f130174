"""Where the running engine listens, and the secret that lets a client in.

The engine writes `run/endpoint.json` (readable by its user only) once it listens; clients read
it. The socket is a Unix socket in a private folder where the platform has them, else a
loopback port. The token is asked for on both.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import stat
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from core.errors import StorageFailed
from core.paths import DataFolders

OnConnection = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_PRIVATE_FOLDER, _PRIVATE_FILE = 0o700, 0o600
_LONGEST_SOCKET_PATH = 100
"""Bytes; systems allow 104 to 108 with the closing zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The address of a running engine."""

    pid: int
    version: str
    token: str
    path: str | None = None
    """Unix socket."""
    port: int | None = None
    """Loopback port, where there are no Unix sockets."""


def private_folder(folder: Path) -> Path:
    """Create `folder` for this user alone.

    Raises:
        StorageFailed: It cannot be created, or belongs to somebody else.
    """
    try:
        folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        status = folder.lstat()
        if hasattr(os, "getuid") and (not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid()):
            raise StorageFailed(f"The folder {folder} belongs to another user; remove it or choose AI_CODEGEN_HOME.")
        folder.chmod(_PRIVATE_FOLDER)
    except OSError as error:
        raise StorageFailed(
            f"The folder {folder} cannot be used: {error.strerror}. "
            "Make it writable, or set AI_CODEGEN_HOME to a folder that is."
        ) from error
    return folder


def socket_path(folders: DataFolders) -> Path:
    """Return where the Unix socket goes: beside the endpoint file unless that path is too long."""
    path = folders.run / "engine.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(folders.root)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"ai-codegen-{os.getuid()}-{digest}" / "engine.sock"


async def listen(
    folders: DataFolders,
    version: str,
    on_connection: OnConnection,
    *,
    unix: bool = hasattr(asyncio, "start_unix_server"),
) -> tuple[asyncio.Server, Endpoint]:
    """Start listening and announce it; call only while holding the engine's lock."""
    private_folder(folders.run)
    path, port = None, None
    if unix:
        path = socket_path(folders)
        private_folder(path.parent)
        path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(on_connection, path)
        path.chmod(_PRIVATE_FILE)
    else:
        server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
    endpoint = Endpoint(
        pid=os.getpid(),
        version=version,
        token=secrets.token_urlsafe(32),
        path=None if path is None else str(path),
        port=port,
    )
    _write(folders, endpoint)
    return server, endpoint


async def dial(endpoint: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the engine; raises `OSError` if nobody listens."""
    if endpoint.path is not None:
        return await asyncio.open_unix_connection(endpoint.path)
    return await asyncio.open_connection("127.0.0.1", endpoint.port)


def find(folders: DataFolders) -> Endpoint | None:
    """Return the announced endpoint, if there is one; its engine may have died since."""
    try:
        return Endpoint(**json.loads(_file(folders).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def withdraw(folders: DataFolders) -> None:
    """Take the announcement back."""
    endpoint = find(folders)
    if endpoint is not None and endpoint.pid == os.getpid():
        _file(folders).unlink(missing_ok=True)
        if endpoint.path is not None:
            Path(endpoint.path).unlink(missing_ok=True)


def _file(folders: DataFolders) -> Path:
    return folders.run / "endpoint.json"


def _write(folders: DataFolders, endpoint: Endpoint) -> None:
    partial = folders.run / f"endpoint.{endpoint.pid}.partial"
    with contextlib.suppress(FileNotFoundError):
        partial.unlink()
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(endpoint), file)
    partial.replace(_file(folders))
