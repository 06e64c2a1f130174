"""What every evaluation is given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.evaluation.progress import OnProgress, Tracker
from core.evaluation.results import ResultLog, Run, fingerprint
from core.paths import DataFolders


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What to evaluate, on what, and whom to tell."""

    folders: DataFolders
    settings: dict[str, Any]
    """The body of the section `aiCodegenAssistant`."""
    data: Path | None
    """The person's data; without it, the data that come with the program."""
    limit: int | None
    """Take so many cases only."""
    on_progress: OnProgress

    @contextmanager
    def run(self, name: str, digest: str, total: int) -> Iterator[Run]:
        """Begin or go on with an evaluation; its results are put aside if the context ends well.

        Args:
            name: Of the evaluation.
            digest: Of its data.
            total: Number of its cases.
        """
        log = ResultLog(self.folders.evaluation, name, fingerprint(name, digest, self.settings))
        try:
            yield Run(log, Tracker(total, self.on_progress))
        except BaseException:
            log.close()
            raise
        log.complete()
