"""What accompanies a request through the system.

Standard library only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from core.cancellation import CancelToken
from core.messages import Event
from core.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """Who asks, how to report, and whether the answer is still wanted."""

    settings: Settings
    token: CancelToken
    emit: Callable[[Event], None]
    """Sends tokens and phases to the client; callable from any thread, returns at once."""
    started: float = field(default_factory=time.perf_counter)

    def elapsed(self) -> float:
        """Milliseconds since the request arrived."""
        return (time.perf_counter() - self.started) * 1000
