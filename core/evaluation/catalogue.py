"""All evaluations by name."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from core.evaluation import generation, learning, memory, retrieval, router, unknown
from core.evaluation.report import Report
from core.evaluation.setup import Setup

Evaluate = Callable[[Setup], Coroutine[Any, Any, Report]]

EVALUATIONS: dict[str, Evaluate] = {
    router.NAME: router.evaluate,
    retrieval.NAME: retrieval.evaluate,
    unknown.NAME: unknown.evaluate,
    generation.NAME: generation.evaluate,
    learning.NAME: learning.evaluate,
    memory.NAME: memory.evaluate,
}
