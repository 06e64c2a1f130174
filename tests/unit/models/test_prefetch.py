"""Files of models that wait are read ahead: only what is not there, only with plenty of memory, until it is too late."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest

from core.cancellation import CancelToken
from core.errors import Cancelled, ModelMissing
from core.models.prefetch import Prefetcher, page_in

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what is in memory")

MIB = 1 << 20
TIMEOUT = 20.0


def cached(file: Path) -> list[bool]:
    """Say which pages of a file are in memory, without reading any."""
    size = file.stat().st_size
    found = (ctypes.c_ubyte * (-(-size // mmap.PAGESIZE)))()
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), size, mmap.MAP_PRIVATE) as mapped:
        start = ctypes.c_char.from_buffer(mapped)
        failed = ctypes.CDLL(None).mincore(ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(size), found)
        del start
    if failed:
        pytest.skip("this system does not tell what is in memory")
    return [bool(page & 1) for page in found]


def forget(file: Path) -> None:
    """Let the system drop a file from its memory, which not every one does."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if any(cached(file)):
        pytest.skip("this file system keeps files in memory")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made = [tmp_path / "one", tmp_path / "two"]
    for file, size in zip(made, (3 * MIB, MIB + 7), strict=True):
        file.write_bytes(os.urandom(size))
        forget(file)
    return made


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_files_are_in_memory_afterwards(files: list[Path]) -> None:
    assert page_in(files, CancelToken()) == sum(file.stat().st_size for file in files)
    assert all(all(cached(file)) for file in files)


def test_nothing_is_crowded_out(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    little = psutil.virtual_memory()._replace(available=4 * MIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: little)
    assert page_in(files, CancelToken()) == 0
    assert not any(cached(files[0]))


def test_reading_stops_when_cancelled(files: list[Path]) -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        page_in(files, token)
    assert not any(cached(files[0]))


def test_one_model_is_read_at_a_time_and_the_next_when_it_is_done(files: list[Path]) -> None:
    prefetcher, go_on = Prefetcher(), threading.Event()
    asked: list[str] = []

    def find(name: str, found: Sequence[Path]) -> Callable[[], Sequence[Path]]:
        def find_files() -> Sequence[Path]:
            asked.append(name)
            assert go_on.wait(TIMEOUT)
            return found

        return find_files

    prefetcher.start("one", find("one", files[:1]))
    prefetcher.start("two", find("two", files[1:]))
    go_on.set()
    eventually(lambda: all(cached(files[0])))
    eventually(lambda: prefetcher._running is None)
    assert asked == ["one"]
    prefetcher.start("two", find("two", files[1:]))
    eventually(lambda: all(cached(files[1])))


@pytest.mark.parametrize(("key", "stopped"), [("one", True), (None, True), ("two", False)])
def test_only_what_is_read_can_be_stopped(files: list[Path], key: str | None, *, stopped: bool) -> None:
    prefetcher, go_on = Prefetcher(), threading.Event()

    def find_files() -> Sequence[Path]:
        assert go_on.wait(TIMEOUT)
        return files

    prefetcher.start("one", find_files)
    prefetcher.stop(key)
    go_on.set()
    eventually(lambda: prefetcher._running is None)
    assert any(cached(files[0])) is not stopped


def test_model_that_is_not_there_does_no_harm(files: list[Path]) -> None:
    prefetcher = Prefetcher()

    def missing() -> Sequence[Path]:
        raise ModelMissing("not here")

    prefetcher.start("one", missing)
    eventually(lambda: prefetcher._running is None)
    prefetcher.start("two", lambda: files)
    eventually(lambda: all(cached(files[0])))
