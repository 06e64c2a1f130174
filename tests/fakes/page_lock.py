"""The system's page locks without a GPU: it refuses what it would refuse, and knows what is locked."""

from __future__ import annotations

import mmap


class CountingPageLock:
    """Implements `core.models.master.PageLock`."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        """Bytes that may be locked; None for all."""
        self.locked: dict[int, int] = {}
        self.attempts = 0

    def lock(self, address: int, size: int) -> bool:
        self.attempts += 1
        end = address + size
        assert address % mmap.PAGESIZE == 0, "pages of others would be locked as well"
        assert all(end <= start or start + other <= address for start, other in self.locked.items())
        if self.limit is not None and sum(self.locked.values()) + size > self.limit:
            return False
        self.locked[address] = size
        return True

    def unlock(self, address: int) -> None:
        del self.locked[address]
