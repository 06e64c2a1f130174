"""Reading the files of a model ahead, while another one is at work: its load finds them in the page cache.

Standard library and psutil only.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

import psutil

from core.cancellation import CancelToken
from core.errors import AssistantError, Cancelled

_SPARE = 2
"""Files are read ahead only if so many times their size is available: nothing else is to be crowded out."""
_CHUNK = 1 << 20
"""Bytes that are read at a time, and between two looks at the cancel token."""
FindFiles = Callable[[], Sequence[Path]]

_log = logging.getLogger(__name__)


class Prefetcher:
    """Reads for one model at a time, on a thread of its own; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: tuple[Hashable, CancelToken] | None = None

    def start(self, key: Hashable, find_files: FindFiles) -> None:
        """Read a model's files, unless some are being read already; `find_files` is called on the other thread."""
        with self._lock:
            if self._running is not None:
                return
            token = CancelToken()
            self._running = (key, token)
        threading.Thread(target=self._run, args=(find_files, token), name="prefetch", daemon=True).start()

    def stop(self, key: Hashable | None = None) -> None:
        """Stop reading for a model, or for whichever it is."""
        with self._lock:
            if self._running is not None and key in {None, self._running[0]}:
                self._running[1].cancel()

    def _run(self, find_files: FindFiles, token: CancelToken) -> None:
        try:
            page_in(find_files(), token)
        except Cancelled:
            pass
        except (AssistantError, OSError) as error:
            # Whoever loads the model will say what is wrong with it.
            _log.info("Files were not read ahead: %s", error)
        finally:
            with self._lock:
                self._running = None


def page_in(files: Sequence[Path], token: CancelToken) -> int:
    """Bring files into the page cache, if there is plenty of memory; returns the bytes that were read.

    What is there already is read as well, which takes a tenth of a second per gigabyte: whether all of it
    is there cannot be told from a part, since systems read ahead on their own.

    Raises:
        Cancelled: The token was set.
        OSError: A file cannot be read.
    """
    if psutil.virtual_memory().available < _SPARE * sum(file.stat().st_size for file in files):
        return 0
    buffer, total = bytearray(_CHUNK), 0
    for file in files:
        with file.open("rb", buffering=0) as stream:
            count = 1
            while count:
                token.raise_if_cancelled()
                count = stream.readinto(buffer) or 0
                total += count
    return total
