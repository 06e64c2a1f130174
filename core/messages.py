"""What clients and the engine say to each other: types only.

These dataclasses are the seam between the light half (language server, command line) and the
heavy half (engine). `core.codec` turns them into JSON and back, in camelCase; the results are
also the results of the language server's `assistant/...` requests.

Standard library only, and nothing here may ever import more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

PROTOCOL_VERSION = 1
"""Raised when either side would misunderstand the other; compared in the handshake."""


class Intent(StrEnum):
    """What a query asks for."""

    EXPLAIN = "explain"
    GENERATE = "generate"


class Role(StrEnum):
    """What a model is used for."""

    EXPLAIN = "explain"
    GENERATE = "generate"
    EMBED = "embed"


class Origin(StrEnum):
    """Where a task comes from."""

    BUILTIN = "builtin"
    TAUGHT = "taught"
    IMPORTED = "imported"


class Outcome(StrEnum):
    """What a person has made of code that rests on a stored task."""

    ACCEPTED = "accepted"
    EDITED = "edited"
    REJECTED = "rejected"


class ModelState(StrEnum):
    """Where a model is in its life; `absent` means installed or not, but never loaded."""

    ABSENT = "absent"
    LOADING = "loading"
    READY = "ready"
    RUNNING = "running"
    EVICTED = "evicted"
    FAILED = "failed"


class PhaseName(StrEnum):
    """The long stages of a request."""

    STARTING = "starting"
    QUEUED = "queued"
    DOWNLOADING = "downloading"
    CONVERTING = "converting"
    LOADING = "loading"
    INDEXING = "indexing"
    PREFILL = "prefill"
    GENERATING = "generating"


class Action(StrEnum):
    """What `models` does."""

    LIST = "list"
    LOAD = "load"
    UNLOAD = "unload"
    PULL = "pull"
    REMOVE = "remove"


# --- events -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """A piece of the answer's text, in order."""

    kind: ClassVar[str] = "tokens"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A request has entered a stage, or has got further in it (`fraction` from 0 to 1)."""

    kind: ClassVar[str] = "phase"
    name: PhaseName
    message: str
    fraction: float | None = None


Event = Tokens | Phase


# --- parts --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeSelection:
    """Code a person points at."""

    text: str
    language: str = "python"
    name: str | None = None
    """The document's name, for the person and the prompt."""
    start_line: int | None = None
    """Line of the first character, counted from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteChoice:
    """Which intent a query was given, and how clearly."""

    intent: Intent
    scores: dict[str, float]
    """Similarity per intent, -1 to 1."""
    margin: float
    """Winner's score minus the runner-up's."""
    sure: bool = True
    """False inside the band where the person had better be asked."""
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMatch:
    """A stored task that resembles a query."""

    task_id: str
    description: str
    similarity: float
    """0 to 1, on the scale of the threshold."""
    origin: Origin
    reason: str | None = None
    """Why it matched, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Milliseconds spent, and the speed of decoding."""

    queue: float | None = None
    route: float | None = None
    retrieve: float | None = None
    swap: float | None = None
    first_token: float | None = None
    total: float | None = None
    tokens_per_second: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """How full the conversation's prompt is, in the model's own tokens."""

    prompt_tokens: int
    limit: int
    """Context length minus the reply budget."""
    summarised: int
    """Turns that stand in the prompt only through the summary."""
    omitted: int = 0
    """Turns in neither (kept on disk)."""
    shortened: bool = False
    """Whether the selection had to be shortened to fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """What is known about generated code."""

    syntax: bool
    problem: str | None = None
    """Message and line of the syntax error."""


# --- requests -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AskRequest:
    """Route a query, then explain or generate."""

    method: ClassVar[str] = "ask"
    query: str
    conversation_id: str | None = None
    selection: CodeSelection | None = None
    language: str = "python"
    intent: Intent | None = None
    """Overrules the router ("wrong route")."""
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LookUpRequest:
    """Route a query and look for solved tasks as `ask` does, without answering it."""

    method: ClassVar[str] = "lookUp"
    query: str
    selection: CodeSelection | None = None
    language: str = "python"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainRequest:
    """Explain code, or go on talking about it."""

    method: ClassVar[str] = "explain"
    selection: CodeSelection | None = None
    question: str | None = None
    conversation_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest:
    """Turn a description into code."""

    method: ClassVar[str] = "generate"
    prompt: str
    language: str = "python"
    force: bool = False
    """Generate even if no stored task is close enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeachRequest:
    """Store a solved task."""

    method: ClassVar[str] = "teach"
    description: str
    implementation: str
    tests: str | None = None
    language: str = "python"


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksRequest:
    """List stored tasks, or search them by meaning."""

    method: ClassVar[str] = "tasks"
    query: str | None = None
    origin: Origin | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRequest:
    """Show one task."""

    method: ClassVar[str] = "task"
    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateTaskRequest:
    """Change the given fields of a task."""

    method: ClassVar[str] = "updateTask"
    task_id: str
    description: str | None = None
    implementation: str | None = None
    tests: str | None = None
    """Empty text takes them away."""
    language: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetRequest:
    """Delete a task; `restoreTask` brings it back."""

    method: ClassVar[str] = "forget"
    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreTaskRequest:
    """Bring a deleted task back."""

    method: ClassVar[str] = "restoreTask"
    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRequest:
    """Say what has become of code that rests on a task: it moves the task for queries that are near."""

    method: ClassVar[str] = "judge"
    query: str
    """What was asked for."""
    task_id: str
    """The source of the answer."""
    outcome: Outcome | None = None
    """Takes the place of an earlier one for the same query and task; without one, that is taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChooseRouteRequest:
    """Say which intent a query has, whatever the router says, without asking the query again."""

    method: ClassVar[str] = "chooseRoute"
    query: str
    intent: Intent | None = None
    """Holds for nearly the same queries, too; without one, an earlier choice is taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportTasksRequest:
    """Read solved tasks from a source into the store."""

    method: ClassVar[str] = "importTasks"
    source: str
    """`humaneval`, an absolute path of a JSON-lines file, or `hub:OWNER/NAME`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTasksRequest:
    """Write stored tasks to a JSON-lines file."""

    method: ClassVar[str] = "exportTasks"
    path: str
    """Absolute."""
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusRequest:
    """Ask how things stand."""

    method: ClassVar[str] = "status"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsRequest:
    """List, load, unload, pull or remove models."""

    method: ClassVar[str] = "models"
    action: Action
    role: Role | None = None
    """For `load` and `unload`; without it `unload` unloads all."""
    set: str | None = None
    """For `pull` and `remove`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationsRequest:
    """List past conversations, newest first."""

    method: ClassVar[str] = "conversations"
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationRequest:
    """Show one conversation, turn by turn."""

    method: ClassVar[str] = "conversation"
    conversation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetConversationRequest:
    """Delete a conversation for good."""

    method: ClassVar[str] = "forgetConversation"
    conversation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigureRequest:
    """Set this client's settings (the body of the section `aiCodegenAssistant`)."""

    method: ClassVar[str] = "configure"
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownRequest:
    """End the engine; what is waiting is answered with an error."""

    method: ClassVar[str] = "shutdown"


Request = (
    AskRequest
    | LookUpRequest
    | ExplainRequest
    | GenerateRequest
    | TeachRequest
    | TasksRequest
    | TaskRequest
    | UpdateTaskRequest
    | ForgetRequest
    | RestoreTaskRequest
    | JudgeRequest
    | ChooseRouteRequest
    | ImportTasksRequest
    | ExportTasksRequest
    | StatusRequest
    | ModelsRequest
    | ConversationsRequest
    | ConversationRequest
    | ForgetConversationRequest
    | ConfigureRequest
    | ShutdownRequest
)


# --- results ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Result of `explain`, and of `ask` when the intent is to explain."""

    status: str = "answered"
    conversation_id: str
    text: str
    model: str
    memory: MemoryUse
    timings: Timings
    finish: str = "stop"
    """`stop`, or `length` if the reply budget ended the answer."""
    route: RouteChoice | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """Result of `generate`, and of `ask` when the intent is to generate.

    `status` is `generated` or `unknown`. When it is unknown there is no code: `sources` are
    then the closest matches, all below `threshold`.
    """

    status: str
    code: str | None = None
    sources: list[TaskMatch] = field(default_factory=list)
    threshold: float
    grounded: bool = False
    """Whether the code follows stored tasks that are close enough."""
    band: str = "unknown"
    """`grounded`, `weak` (near the threshold) or `unknown`."""
    model: str | None = None
    """The model that wrote the code; none if a stored implementation was adapted."""
    adapted: bool = False
    """Whether the code is the stored implementation of the first source, fitted to the description."""
    checks: Checks | None = None
    timings: Timings
    finish: str | None = None
    route: RouteChoice | None = None
    message: str | None = None
    """For people: why this is unknown and what to do, or what was changed in adapting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LookUp:
    """Result of `lookUp`: what `ask` knows before a language model is involved."""

    route: RouteChoice
    band: str
    """`grounded`, `weak` or `unknown`."""
    threshold: float
    matches: list[TaskMatch]
    """As many as the setting `sources` says, the closest first, whatever their band."""
    timings: Timings


@dataclass(frozen=True, slots=True, kw_only=True)
class Taught:
    """Result of `teach`: durable, and found by the very next request."""

    task_id: str
    similar: list[TaskMatch]
    verified: bool = False
    """Whether its tests were run and have passed."""
    note: str | None = None
    """For people: why the tests were not run, or with how little protection they were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSummary:
    """A task in a list."""

    task_id: str
    description: str
    origin: Origin
    language: str
    created_at: str
    """ISO 8601, UTC."""
    verified: bool = False
    similarity: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskList:
    """Result of `tasks`."""

    tasks: list[TaskSummary]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDetails:
    """Result of `task`, `updateTask`, `forget` and `restoreTask`."""

    task_id: str
    description: str
    implementation: str
    tests: str | None = None
    origin: Origin
    language: str
    created_at: str
    updated_at: str
    verified: bool = False
    forgotten: bool = False
    note: str | None = None
    """For people, after a change: why the tests were not run, or with how little protection they were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """Result of `importTasks`."""

    source: str
    added: int
    unchanged: int
    skipped: int
    """Records that are no solved task; `problems` says why for the first few."""
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """Result of `exportTasks`."""

    path: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """The engine process."""

    pid: int
    """0 as long as there is none."""
    uptime: float
    """Seconds."""
    version: str
    clients: int = 1
    state: str = "running"
    """`starting`, `running` or `stopped`; the engine itself only ever says `running`."""
    detail: str | None = None
    """For people: why it is stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """One model in its role."""

    role: Role
    name: str
    state: ModelState
    installed: bool = True
    bytes: int | None = None
    """In memory when loaded, else on disk."""
    device: str | None = None
    dtype: str | None = None
    detail: str | None = None
    """For people: progress of a load, why it failed, why it is placed where it is."""
    progress: float | None = None
    tokens_per_second: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueInfo:
    """Work in the engine."""

    waiting: int = 0
    running: str | None = None
    """Method of the running job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnowledgeInfo:
    """The store of solved tasks."""

    count: int = 0
    path: str = ""
    state: str = "ready"
    """`starting`, `ready`, `rebuilding` or `failed`; exact search answers while not ready."""
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryInfo:
    """Memory of the engine's process and of its device, in bytes."""

    process: int
    device_used: int | None = None
    device_total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Result of `status`, and the body of every state change."""

    engine: EngineInfo
    models: list[ModelInfo]
    queue: QueueInfo
    knowledge: KnowledgeInfo
    memory: MemoryInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSetInfo:
    """A model set one may choose."""

    name: str
    summary: str
    bytes: int
    installed: bool
    hardware: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Result of `models`."""

    models: list[ModelInfo]
    sets: list[ModelSetInfo] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A question and its answer, as they were."""

    question: str
    answer: str
    selection: CodeSelection | None = None
    created_at: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationSummary:
    """A conversation in a list."""

    conversation_id: str
    title: str
    turns: int
    updated_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationList:
    """Result of `conversations`."""

    conversations: list[ConversationSummary]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Result of `conversation`."""

    conversation_id: str
    title: str
    turns: list[Turn]
    summary: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Result of a request that has nothing else to say."""

    message: str = "done"
