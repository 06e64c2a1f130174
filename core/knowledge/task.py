"""The solved task: what is taught, stored, retrieved and put into prompts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from datetime import UTC, datetime

from core.messages import Origin, TaskDetails, TaskMatch, TaskSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A description with an implementation that does what it says."""

    id: str
    description: str
    """What the task is, in words. This alone is embedded."""
    implementation: str
    tests: str | None = None
    language: str = "python"
    origin: Origin = Origin.TAUGHT
    metadata: dict[str, str] = field(default_factory=dict)
    """Further facts of the source, for example the name of the function."""
    created_at: str = ""
    """ISO 8601, UTC."""
    updated_at: str = ""
    verified: bool = False
    """Whether its tests have passed."""
    forgotten: bool = False

    def same_content(self, other: Task) -> bool:
        """Whether both say the same, whenever and under whatever id they were stored."""
        return all(getattr(self, name) == getattr(other, name) for name in _CONTENT)

    def details(self) -> TaskDetails:
        """Return the task as clients see it."""
        names = (one.name for one in dataclasses.fields(TaskDetails) if one.name not in {"task_id", "note"})
        return TaskDetails(task_id=self.id, **{name: getattr(self, name) for name in names})

    def summary(self, similarity: float | None = None) -> TaskSummary:
        """Return the task as one line of a list."""
        return TaskSummary(
            task_id=self.id,
            description=self.description,
            origin=self.origin,
            language=self.language,
            created_at=self.created_at,
            verified=self.verified,
            similarity=similarity,
        )


_CONTENT = ("description", "implementation", "tests", "language")


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A stored task that resembles a query."""

    task: Task
    similarity: float
    """0 to 1, on the scale of the thresholds."""
    meaning: float = 0.0
    """The same with no regard to the wording, in which paraphrases differ and siblings do not."""
    lead: float = 0.0
    """How much nearer in meaning it is than every other task; below 0 if another is nearer."""
    reason: str | None = None
    """Why it matched, for people."""

    def to_message(self) -> TaskMatch:
        """Return the match as clients see it, without the implementation."""
        return TaskMatch(
            task_id=self.task.id,
            description=self.task.description,
            similarity=round(self.similarity, 4),
            origin=self.task.origin,
            reason=self.reason,
        )


def now() -> str:
    """Return this moment as ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
