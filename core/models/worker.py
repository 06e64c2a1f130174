"""The one thread that owns language models: loads, swaps, runs and unloads them.

Other threads hand in jobs and get futures. Which job is next, and where a model goes, are pure
functions (`core.scheduling`, `core.models.placement`); this module carries their decisions out.
Importing it is light: torch is imported on the model thread, by the backend.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import psutil

from core.cancellation import CancelToken
from core.errors import AssistantError, Cancelled, EngineBusy, EngineUnavailable, ModelFailed, OutOfMemory
from core.messages import MemoryInfo, ModelInfo, ModelState, Phase, PhaseName, QueueInfo, Role
from core.models.installer import Installer
from core.models.interface import ChatMessage, JobTimes, ModelJob, ModelRunner, OnPhase, SamplingParams, TokenChunk
from core.models.packed.facts import read_facts
from core.models.placement import DeviceMemory, Placement, plan
from core.models.prefetch import Prefetcher
from core.models.registry import ModelRegistry
from core.models.weights import weigh, where_stored
from core.scheduling import Residency, Waiting, choose
from core.settings import Device, Precision

T = TypeVar("T")
OnProgress = Callable[[str, float], None]

LONGEST_QUEUE = 64
MAX_WAIT = 5.0
"""Seconds after which jobs of a model that is not loaded go before those of one that is."""
_CLOSE_TIMEOUT = 10.0

_log = logging.getLogger(__name__)


class Loaded(Protocol):
    """A model in memory."""

    @property
    def runner(self) -> ModelRunner:
        """What runs it."""
        ...

    @property
    def bytes(self) -> int:
        """Memory that its weights take."""
        ...

    @property
    def remark(self) -> str:
        """What people should know about how it runs now; empty if nothing."""
        ...

    @property
    def evict(self) -> Callable[[], None]:
        """Lets other models have that memory; moves nothing."""
        ...


class Backend(Protocol):
    """What computes. Made and used on the model thread only."""

    def measure(self) -> Sequence[DeviceMemory]:
        """Return the devices with their memory as it is now, fastest first."""
        ...

    def load(
        self, name: str, folder: Path, placement: Placement, token: CancelToken, on_progress: OnProgress
    ) -> Loaded:
        """Load a model; `on_progress` is told what is being done and how far it has got, 0 to 1."""
        ...

    def release(self) -> None:
        """Give back the memory that is held for evicted models."""
        ...

    def find_lost(self) -> str:
        """Return why a device will never compute again in this process; empty as long as none is lost."""
        ...


class ModelKey(NamedTuple):
    """What makes two jobs share one copy of a model."""

    model: str
    device: Device
    precision: Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSnapshot:
    """How things stand with the models, for any thread."""

    models: list[ModelInfo]
    queue: QueueInfo
    memory: MemoryInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """What people see of one model."""

    state: ModelState = ModelState.ABSENT
    bytes: int | None = None
    device: str | None = None
    dtype: str | None = None
    detail: str | None = None
    progress: float | None = None
    tokens_per_second: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A job in the queue, with its answer."""

    waiting: Waiting
    job: ModelJob[Any]
    future: Future[Any]

    @property
    def key(self) -> ModelKey:
        return ModelKey(self.job.model, self.job.device, self.job.precision)


@dataclass(slots=True, kw_only=True)
class _Resident:
    """A loaded model."""

    loaded: Loaded
    placement: Placement
    used: float
    """When it last ran, in seconds."""


@dataclass(slots=True, kw_only=True)
class _Running:
    """The job on the model thread, and the flag that stops it."""

    entry: _Entry
    token: CancelToken
    loading: bool = True
    """Whether it has not begun yet, for want of its model."""
    answered: bool = False
    """Whether its waiter was told that it is cancelled before a stage of the load had ended."""


class ModelWorker:
    """Runs jobs for models, one at a time, on a thread of its own."""

    def __init__(
        self,
        registry: ModelRegistry,
        on_change: Callable[[], None],
        *,
        open_backend: Callable[[], Backend] | None = None,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        """Start the thread.

        Args:
            registry: Finds models on this machine.
            on_change: Called on the model thread when `snapshot` has changed; must return at once.
            open_backend: Makes what computes, on the model thread, when the first job comes.
            on_lost: Called on the model thread when a device has stopped working: only a new process can use it again.
        """
        self._registry = registry
        self._installer = Installer(registry)
        self._on_change = on_change
        self._open_backend = open_backend or _open_torch
        self._on_lost = on_lost
        self._prefetcher = Prefetcher()
        self._changed = threading.Condition()
        # Guarded by `_changed`:
        self._queue: dict[int, _Entry] = {}
        self._unloads: list[tuple[Role | None, Future[None]]] = []
        self._running: _Running | None = None
        self._closing = False
        self._views: dict[ModelKey, _View] = {}
        self._roles: dict[Role, ModelKey] = {}
        self._device: DeviceMemory | None = None
        self._placed: dict[ModelKey, Placement] = {}
        self._at_hand: set[ModelKey] = set()
        """Models whose weights a device has, or has copies of, whether they are loaded or not."""
        # Touched by the model thread only:
        self._backend: Backend | None = None
        self._residents: dict[ModelKey, _Resident] = {}
        self._last_load = 0.0
        self._keep_alive = 0.0
        self._tickets = count()
        self._thread = threading.Thread(target=self._serve, name="models", daemon=True)
        self._thread.start()

    # --- any thread -----------------------------------------------------------------------

    def submit(self, job: ModelJob[T]) -> Future[T]:
        """Queue a job; its result, its error or `Cancelled` arrives through the future.

        A background job gives way to others: it is stopped and run again from its start later.
        """
        future: Future[T] = Future()
        with self._changed:
            ticket = next(self._tickets)
            waiting = Waiting(
                ticket=ticket,
                model=ModelKey(job.model, job.device, job.precision),
                since=time.monotonic(),
                background=job.background,
            )
            entry = _Entry(waiting=waiting, job=job, future=future)
            ahead = len(self._queue) + (self._running is not None)
            problem = self._refusal()
            if problem is None:
                self._queue[ticket] = entry
                self._give_way(entry)
                self._changed.notify_all()
        if problem is not None:
            future.set_exception(problem)
            return future
        if ahead:
            job.on_phase(Phase(name=PhaseName.QUEUED, message=f"Waiting for {ahead} other request(s)"))
            self._read_ahead(entry.key)
        job.token.on_cancel(lambda: self._drop(ticket))
        return future

    def load(self, job: ModelJob[None]) -> Future[None]:
        """Load the model of a job that does nothing else."""
        return self.submit(job)

    def unload(self, role: Role | None = None) -> Future[None]:
        """Unload the model of a role, or all; done once the running job has ended."""
        future: Future[None] = Future()
        with self._changed:
            closing = self._closing
            if not closing:
                self._unloads.append((role, future))
                self._changed.notify_all()
        if closing:
            future.set_exception(_closing_error())
        return future

    def snapshot(self) -> WorkerSnapshot:
        """Return how things stand."""
        with self._changed:
            models = [_describe(role, key, self._views[key]) for role, key in sorted(self._roles.items())]
            running = self._running.entry.job.method if self._running else None
            queue = QueueInfo(waiting=len(self._queue), running=running)
            device = self._device
        memory = MemoryInfo(
            process=psutil.Process().memory_info().rss,
            device_used=device.total - device.free if device else None,
            device_total=device.total if device else None,
        )
        return WorkerSnapshot(models=models, queue=queue, memory=memory)

    def close(self) -> None:
        """Stop the running job, answer every waiter and end the thread."""
        with self._changed:
            self._closing = True
            left = list(self._queue.values())
            self._queue.clear()
            unloads, self._unloads = self._unloads, []
            running = self._running
            self._changed.notify_all()
        self._prefetcher.stop()
        if running:
            running.token.cancel()
        for future in [*(entry.future for entry in left), *(future for _, future in unloads)]:
            _fail(future, _closing_error())
        self._thread.join(_CLOSE_TIMEOUT)

    def _read_ahead(self, key: ModelKey) -> None:
        """Let a model that waits for another one find its files in memory."""
        with self._changed:
            state, at_hand = self._views.get(key, _View()).state, key in self._at_hand
        if not at_hand and state not in {ModelState.LOADING, ModelState.READY, ModelState.RUNNING}:
            self._prefetcher.start(key, lambda: self._files(key))

    def _files(self, key: ModelKey) -> list[Path]:
        """Return the files that a model's weights will probably be read from: the same as last time, if there was one."""
        with self._changed:
            placed, has_gpu = self._placed.get(key), self._device is not None
        folder = self._registry.locate(key.model)
        if placed is not None:
            stored = where_stored(folder, placed.precision, placed.device)
        elif has_gpu or read_facts(folder) is None:
            stored = folder
        else:
            stored = where_stored(folder, Precision.INT4, Device.CPU)
        return sorted(stored.glob("*.safetensors"))

    def _refusal(self) -> AssistantError | None:
        if self._closing:
            return _closing_error()
        if len(self._queue) >= LONGEST_QUEUE:
            return EngineBusy(
                f"{len(self._queue)} requests are waiting already. Try again when some have finished, or cancel one.",
                waiting=len(self._queue),
            )
        return None

    def _give_way(self, arrived: _Entry) -> None:
        """Stop a background job for one that a person waits for."""
        if self._running and self._running.entry.job.background and not arrived.job.background:
            self._running.token.cancel()

    def _cancel(self, running: _Running) -> None:
        """Stop a job; one that waits for its model is answered at once, though a stage of the load may go on."""
        running.token.cancel()
        with self._changed:
            early = running.loading and running is self._running and not running.answered
            running.answered |= early
        if early:
            running.entry.future.set_exception(Cancelled())

    def _drop(self, ticket: int) -> None:
        """Answer a job that was cancelled while it waited."""
        with self._changed:
            entry = self._queue.pop(ticket, None)
            wanted = {one.key for one in self._queue.values()}
        if entry:
            _fail(entry.future, Cancelled())
            if entry.key not in wanted:
                self._prefetcher.stop(entry.key)

    # --- the model thread -----------------------------------------------------------------

    def _serve(self) -> None:
        while (entry := self._next()) is not None:
            self._run(entry)
            self._notify()
            del entry
        self._evict(list(self._residents))

    def _next(self) -> _Entry | None:
        """Wait for a job; carries out unloads meanwhile. None when closing."""
        while True:
            with self._changed:
                if self._closing:
                    return None
                unloads, self._unloads = self._unloads, []
                entry = None if unloads else self._choose()
                if not unloads and entry is None:
                    self._changed.wait(self._until_idle())
            if entry:
                return entry
            self._unload(unloads)
            self._evict_idle()

    def _choose(self) -> _Entry | None:
        """Take the next job from the queue."""
        residency = Residency(models=self._residents.keys(), since=self._last_load)
        queue = [entry.waiting for entry in self._queue.values()]
        chosen = choose(queue, residency, time.monotonic(), max_wait=MAX_WAIT)
        if chosen is None:
            return None
        entry = self._queue.pop(chosen.ticket)
        self._running = _Running(entry=entry, token=CancelToken())
        return entry

    def _run(self, entry: _Entry) -> None:
        """Run one job and answer it, or put it back if it gave way."""
        running = self._running
        assert running is not None
        try:
            if not entry.future.running() and not entry.future.set_running_or_notify_cancel():
                return
            entry.job.token.on_cancel(lambda: self._cancel(running))
            result = self._do(entry, running.token)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the waiter
            if not self._end_loading():
                self._answer_failure(entry, error)
        else:
            entry.future.set_result(result)
        finally:
            with self._changed:
                self._running = None

    def _answer_failure(self, entry: _Entry, error: BaseException) -> None:
        if isinstance(error, Cancelled) and not entry.job.token.cancelled:
            with self._changed:
                closing = self._closing
                if not closing:
                    self._queue[entry.waiting.ticket] = entry
            if closing:
                entry.future.set_exception(_closing_error())
            return
        if not isinstance(error, AssistantError):
            _log.error("A job of the kind %s failed", entry.job.method, exc_info=error)
        lost = self._explain_loss(error)
        entry.future.set_exception(lost or _without_frames(error))
        if lost:
            _log.error("%s", lost.message)
            self._on_lost()

    def _explain_loss(self, error: BaseException) -> ModelFailed | None:
        """Return what to tell people if it was the device that failed, and will fail again."""
        ours = isinstance(error, AssistantError) and not isinstance(error, ModelFailed)
        reason = "" if ours or self._backend is None else self._backend.find_lost()
        if not reason:
            return None
        return ModelFailed(
            f"The GPU has stopped working: {reason}. Ask again: the engine starts anew, without it if it does not come "
            "back. If this happens often, set device to 'cpu'."
        )

    def _do(self, entry: _Entry, token: CancelToken) -> Any:
        started = time.monotonic()
        self._keep_alive = entry.job.keep_alive
        token.raise_if_cancelled()
        resident = self._ensure_ready(entry, token)
        if self._end_loading():
            raise Cancelled
        ready = time.monotonic()
        times = JobTimes(queue=1000 * (started - entry.waiting.since), swap=1000 * (ready - started))
        with self._lend(entry.key, resident, token) as runner:
            return entry.job.run(runner, times)

    def _end_loading(self) -> bool:
        """Note that the job has its model, or never will; True if its waiter has been answered already."""
        with self._changed:
            assert self._running is not None
            self._running.loading = False
            return self._running.answered

    @contextmanager
    def _lend(self, key: ModelKey, resident: _Resident, token: CancelToken) -> Iterator[_LentRunner]:
        """Give the runner to one job, for as long as it runs."""
        lent = _LentRunner(resident.loaded.runner, token)
        self._show(key, state=ModelState.RUNNING)
        try:
            yield lent
        finally:
            speed = lent.end()
            resident.used = time.monotonic()
            changes = {"tokens_per_second": speed} if speed else {}
            self._show(key, state=ModelState.READY, detail=_explain(resident.loaded, resident.placement), **changes)

    def _ensure_ready(self, entry: _Entry, token: CancelToken) -> _Resident:
        """Return the job's model, loaded."""
        key = entry.key
        with self._changed:
            self._roles[entry.job.role] = key
            self._views.setdefault(key, _View())
        if key not in self._residents:
            self._prefetcher.stop(key)
            self._show(key, state=ModelState.LOADING, detail=None, progress=0.0)
            try:
                self._residents[key] = self._load(key, entry.job.on_phase, token)
            except Cancelled:
                self._show(key, state=ModelState.EVICTED, detail="loading was cancelled", progress=None)
                raise
            except AssistantError as error:
                self._show(key, state=ModelState.FAILED, detail=error.message, progress=None)
                raise
            except Exception as error:
                self._show(key, state=ModelState.FAILED, detail=str(error), progress=None)
                raise ModelFailed(f"The model {key.model} could not be loaded: {error}", model=key.model) from error
        return self._residents[key]

    def _load(self, key: ModelKey, on_phase: OnPhase, token: CancelToken) -> _Resident:
        """Load a model; if memory runs out, evict all others and try once more."""
        folder = self._installer.ensure(key.model, on_phase, token)
        try:
            return self._place(key, folder, on_phase, token)
        except OutOfMemory:
            self._release(list(self._residents))
        return self._place(key, folder, on_phase, token)

    def _place(self, key: ModelKey, folder: Path, on_phase: OnPhase, token: CancelToken) -> _Resident:
        backend = self._open()
        oldest_first = sorted(self._residents.items(), key=lambda pair: pair[1].used)
        resident = {other: (one.placement.device, one.loaded.bytes) for other, one in oldest_first}
        placement = plan(
            key.model, weigh(folder), backend.measure(), resident, device=key.device, precision=key.precision
        )
        self._evict([other for other in self._residents if other in placement.evict])

        def report(doing: str, fraction: float) -> None:
            message = f"Loading {key.model}: {doing}"
            on_phase(Phase(name=PhaseName.LOADING, message=message, fraction=fraction))
            self._show(key, detail=message, progress=fraction)

        loaded = backend.load(key.model, folder, placement, token, report)
        self._last_load = time.monotonic()
        with self._changed:
            self._placed[key] = placement
            if placement.device is not Device.CPU:
                self._at_hand.add(key)
        self._show(
            key,
            state=ModelState.READY,
            bytes=loaded.bytes,
            device=placement.device.value,
            dtype=placement.precision.value,
            detail=_explain(loaded, placement),
            progress=None,
        )
        self._measure()
        return _Resident(loaded=loaded, placement=placement, used=self._last_load)

    def _open(self) -> Backend:
        if self._backend is None:
            self._backend = self._open_backend()
        return self._backend

    def _unload(self, unloads: Sequence[tuple[Role | None, Future[None]]]) -> None:
        for role, future in unloads:
            if keys := [key for key in self._residents if role is None or key == self._roles.get(role)]:
                self._release(keys)
            if future.set_running_or_notify_cancel():
                future.set_result(None)

    def _evict_idle(self) -> None:
        if self._keep_alive:
            now = time.monotonic()
            if idle := [key for key, one in self._residents.items() if now - one.used >= self._keep_alive]:
                self._release(idle)

    def _until_idle(self) -> float | None:
        """Return the seconds until the next model has been idle for too long."""
        if not self._keep_alive or not self._residents:
            return None
        oldest = min(one.used for one in self._residents.values())
        return max(0.0, oldest + self._keep_alive - time.monotonic())

    def _evict(self, keys: Sequence[ModelKey]) -> None:
        """Let the next model have the memory of others."""
        for key in keys:
            self._residents.pop(key).loaded.evict()
            self._show(key, state=ModelState.EVICTED, bytes=None, device=None, dtype=None, detail=None)

    def _release(self, keys: Sequence[ModelKey]) -> None:
        """Unload models, and give back all memory that no loaded model needs."""
        self._evict(keys)
        self._open().release()
        with self._changed:
            self._at_hand.intersection_update(self._residents)
        self._measure()

    def _measure(self) -> None:
        """Note how full the memory of the device is, for `snapshot`."""
        devices = self._open().measure()
        with self._changed:
            self._device = next((one for one in devices if one.device is not Device.CPU), None)

    def _show(self, key: ModelKey, **changes: Any) -> None:
        with self._changed:
            self._views[key] = replace(self._views[key], **changes)
        self._notify()

    def _notify(self) -> None:
        try:
            self._on_change()
        except Exception:  # noqa: BLE001 - a listener must not end the model thread
            _log.exception("The listener for changes of models failed")


class _LentRunner:
    """A runner as one job sees it: stops with the job, is measured, and ends with it."""

    def __init__(self, runner: ModelRunner, token: CancelToken) -> None:
        self._runner: ModelRunner | None = runner
        self._token = token
        self._speed: float | None = None

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def context_length(self) -> int:
        return self._inner.context_length

    def count_tokens(self, text: str) -> int:
        return self._inner.count_tokens(text)

    def encode_chat(self, messages: Sequence[ChatMessage], reply_prefix: str = "") -> list[int]:
        return self._inner.encode_chat(messages, reply_prefix)

    def generate(self, prompt: Sequence[int], params: SamplingParams, token: CancelToken) -> Iterator[TokenChunk]:
        either = CancelToken()
        token.on_cancel(either.cancel)
        self._token.on_cancel(either.cancel)
        started, tokens = 0.0, 0
        for chunk in self._inner.generate(prompt, params, either):
            tokens += chunk.tokens
            if not started:
                started, tokens = time.monotonic(), 0
            yield chunk
        elapsed = time.monotonic() - started
        self._speed = tokens / elapsed if tokens and elapsed else self._speed

    def end(self) -> float | None:
        """Take the runner away; returns tokens per second of the last reply."""
        self._runner = None
        return self._speed

    @property
    def _inner(self) -> ModelRunner:
        if self._runner is None:
            message = "A runner may be used only inside the job that it was given to."
            raise RuntimeError(message)
        return self._runner


def _open_torch() -> Backend:
    from core.models.loader import TorchBackend  # noqa: PLC0415 - imports torch, on the model thread only

    return TorchBackend()


def _describe(role: Role, key: ModelKey, view: _View) -> ModelInfo:
    return ModelInfo(
        role=role,
        name=key.model,
        state=view.state,
        bytes=view.bytes,
        device=view.device,
        dtype=view.dtype,
        detail=view.detail,
        progress=view.progress,
        tokens_per_second=view.tokens_per_second,
    )


def _explain(loaded: Loaded, placement: Placement) -> str:
    """Say why a model is where it is, and how it runs."""
    return "; ".join(filter(None, [placement.reason, loaded.remark]))


def _fail(future: Future[Any], error: AssistantError) -> None:
    """Answer a job that was never started, unless its owner has cancelled the future itself."""
    if future.running() or future.set_running_or_notify_cancel():
        future.set_exception(error)


def _closing_error() -> EngineUnavailable:
    return EngineUnavailable("The engine is shutting down; the request was not finished.")


def _without_frames(error: BaseException) -> BaseException:
    """Forget the traceback: its frames would keep a dropped model's weights in memory."""
    seen: BaseException | None = error
    while seen is not None:
        following = seen.__cause__ or seen.__context__
        seen.__traceback__ = seen.__cause__ = seen.__context__ = None
        seen = following
    return error
