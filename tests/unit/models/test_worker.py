from __future__ import annotations

import gc
import json
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from fakes.runner import FakeRunner

from core.cancellation import CancelToken
from core.errors import (
    AssistantError,
    Cancelled,
    EngineBusy,
    EngineUnavailable,
    ModelDamaged,
    ModelFailed,
    ModelMissing,
    OutOfMemory,
)
from core.messages import ModelState, Phase, PhaseName, Role
from core.models import prefetch
from core.models.interface import JobTimes, ModelJob, ModelRunner, SamplingParams
from core.models.placement import DeviceMemory, Placement
from core.models.registry import ModelRegistry
from core.models.worker import LONGEST_QUEUE, ModelWorker, OnProgress
from core.paths import DataFolders
from core.settings import Device, Precision

TIMEOUT = 20.0
GIB = 1 << 30


@dataclass
class ScriptedBackend:
    """Loads `FakeRunner`s; a script may fail a load or hold it until the test goes on."""

    free: int = 100 * GIB
    failures: list[BaseException] = field(default_factory=list)
    hold: threading.Event | None = None
    lost: str = ""
    deaf: bool = False
    """Whether a load that is held does not look at its token."""
    loading: threading.Event = field(default_factory=threading.Event)
    runners: dict[str, FakeRunner] = field(default_factory=dict)
    history: list[str] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    alive: weakref.WeakSet[_Loaded] = field(default_factory=weakref.WeakSet)

    def measure(self) -> Sequence[DeviceMemory]:
        self.threads.add(threading.current_thread().name)
        free = self.free - GIB * len(self.alive)
        return [DeviceMemory(device=Device.CUDA, name="GPU", free=free, total=self.free, fast_bfloat16=True)]

    def load(
        self, name: str, folder: Path, placement: Placement, token: CancelToken, on_progress: OnProgress
    ) -> _Loaded:
        self.threads.add(threading.current_thread().name)
        on_progress("reading", 0.5)
        self.loading.set()
        while self.hold and not self.hold.wait(0.01):
            if not self.deaf:
                token.raise_if_cancelled()
        token.raise_if_cancelled()
        if self.failures:
            self.history.append(f"fail {Path(name).name}")
            raise self.failures.pop(0)
        self.history.append(f"load {Path(name).name}")
        runner = self.runners.get(Path(name).name, FakeRunner(["a reply"], name=name))
        loaded = _Loaded(runner, lambda: self.history.append(f"evict {Path(name).name}"))
        self.alive.add(loaded)
        return loaded

    def release(self) -> None:
        self.history.append("release")

    def find_lost(self) -> str:
        return self.lost


class _Loaded:
    """Weakly referable, so that a test sees whether an unloaded model is really gone."""

    bytes = GIB
    remark = ""

    def __init__(self, runner: FakeRunner, evict: Callable[[], None]) -> None:
        self.runner = runner
        self.evict = evict


def model_folder(parent: Path, name: str) -> Path:
    """A folder that looks like a model of a few numbers."""
    folder = parent / name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"num_hidden_layers": 1, "hidden_size": 8}))
    (folder / "tokenizer.json").write_text("{}")
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    return folder


@dataclass
class Bench:
    """A worker on a scripted backend, and two models."""

    worker: ModelWorker
    backend: ScriptedBackend
    folders: dict[str, Path]
    keep_alive: float = 300.0
    phases: list[Phase] = field(default_factory=list)
    states: list[tuple[str, ModelState]] = field(default_factory=list)

    def job(
        self,
        model: str = "one",
        run: Callable[[ModelRunner, JobTimes], Any] | None = None,
        *,
        role: Role = Role.EXPLAIN,
        token: CancelToken | None = None,
        background: bool = False,
    ) -> ModelJob[Any]:
        return ModelJob(
            role=role,
            model=str(self.folders.get(model, model)),
            device=Device.AUTO,
            precision=Precision.AUTO,
            token=token or CancelToken(),
            on_phase=self.phases.append,
            run=run or (lambda runner, _: runner.name),
            keep_alive=self.keep_alive,
            method="explain",
            background=background,
        )

    def do(self, *args: Any, **kwargs: Any) -> Any:
        return self.worker.submit(self.job(*args, **kwargs)).result(TIMEOUT)

    def block(self) -> Blocker:
        """Keep the model thread busy until told to go on."""
        blocker = Blocker()
        blocker.future = self.worker.submit(self.job(run=blocker.run))
        assert blocker.started.wait(TIMEOUT)
        return blocker


@dataclass
class Blocker:
    started: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    future: Future[Any] = field(default_factory=Future)

    def run(self, runner: ModelRunner, times: JobTimes) -> str:
        self.started.set()
        assert self.go_on.wait(TIMEOUT)
        return "done"


@pytest.fixture
def open_bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def make(backend: ScriptedBackend | None = None, on_lost: Callable[[], None] = lambda: None) -> Bench:
        backend = backend or ScriptedBackend()
        bench: Bench

        def on_change() -> None:
            for info in bench.worker.snapshot().models if benches else []:
                entry = (Path(info.name).name, info.state)
                if not bench.states or bench.states[-1] != entry:
                    bench.states.append(entry)

        registry = ModelRegistry(DataFolders(tmp_path / "home"))
        worker = ModelWorker(registry, on_change, open_backend=lambda: backend, on_lost=on_lost)
        bench = Bench(worker, backend, {name: model_folder(tmp_path, name) for name in ("one", "two")})
        benches.append(bench)
        return bench

    yield make
    for bench in benches:
        bench.worker.close()


@pytest.fixture
def bench(open_bench: Callable[..., Bench]) -> Bench:
    return open_bench()


def test_job_runs_on_the_model_thread_with_a_loaded_model(bench: Bench) -> None:
    thread = bench.do(run=lambda _, __: threading.current_thread().name)
    assert {thread} == bench.backend.threads == {"models"}
    assert bench.backend.history == ["load one"]
    assert [phase.name for phase in bench.phases] == [PhaseName.LOADING]


def test_model_is_loaded_once(bench: Bench) -> None:
    bench.do()
    times = bench.do(run=lambda _, times: times)
    assert bench.backend.history == ["load one"]
    assert times.swap < 1000


def test_roles_that_name_the_same_model_share_it(bench: Bench) -> None:
    bench.do(role=Role.EXPLAIN)
    bench.do(role=Role.GENERATE)
    assert bench.backend.history == ["load one"]
    assert [(info.role, info.state) for info in bench.worker.snapshot().models] == [
        (Role.EXPLAIN, ModelState.READY),
        (Role.GENERATE, ModelState.READY),
    ]


def test_both_models_stay_when_they_fit(bench: Bench) -> None:
    for model in ("one", "two", "one", "two"):
        bench.do(model)
    assert bench.backend.history == ["load one", "load two"]


def test_model_leaves_before_another_is_loaded_when_both_do_not_fit(open_bench: Callable[..., Bench]) -> None:
    bench = open_bench(ScriptedBackend(free=int(1.5 * GIB)))
    for model in ("one", "two", "one"):
        bench.do(model)
    assert bench.backend.history == ["load one", "evict one", "load two", "evict two", "load one"]
    assert len(bench.backend.alive) == 1


def test_states_are_announced(bench: Bench) -> None:
    bench.do()
    bench.worker.unload().result(TIMEOUT)
    states = [state for name, state in bench.states if name == "one"]
    assert states == [ModelState.ABSENT, ModelState.LOADING, *states[2:]] or states[0] == ModelState.LOADING
    assert states[-4:] == [ModelState.READY, ModelState.RUNNING, ModelState.READY, ModelState.EVICTED]


def test_snapshot_tells_where_the_model_is_and_why(bench: Bench) -> None:
    bench.do()
    [info] = bench.worker.snapshot().models
    assert (info.bytes, info.device, info.dtype) == (GIB, "cuda", "bfloat16")
    assert "on GPU in bfloat16" in str(info.detail)
    memory = bench.worker.snapshot().memory
    assert memory.process > 0
    assert memory.device_total == 100 * GIB


def test_snapshot_tells_what_came_to_light_while_the_model_ran(bench: Bench) -> None:
    def run(*_: object) -> None:
        [loaded] = bench.backend.alive
        loaded.remark = "steps cannot be recorded"

    bench.do(run=run)
    detail = str(bench.worker.snapshot().models[0].detail)
    assert detail.startswith("on GPU in bfloat16")
    assert detail.endswith("; steps cannot be recorded")


def test_speed_of_the_last_reply_is_shown(bench: Bench) -> None:
    bench.backend.runners["one"] = FakeRunner(["a b c d e f g h"])

    def run(runner: ModelRunner, _: JobTimes) -> None:
        for _chunk in runner.generate([1], SamplingParams(max_tokens=50), CancelToken()):
            time.sleep(0.001)

    bench.do(run=run)
    assert 0 < (bench.worker.snapshot().models[0].tokens_per_second or 0) < 1000


def test_queue_is_shown(bench: Bench) -> None:
    blocker = bench.block()
    waiting = bench.worker.submit(bench.job())
    queue = bench.worker.snapshot().queue
    assert (queue.waiting, queue.running) == (1, "explain")
    assert PhaseName.QUEUED in [phase.name for phase in bench.phases]
    blocker.go_on.set()
    waiting.result(TIMEOUT)
    assert bench.worker.snapshot().queue.waiting == 0


def test_jobs_of_the_loaded_model_go_first(bench: Bench) -> None:
    order: list[str] = []
    blocker = bench.block()
    futures = [
        bench.worker.submit(bench.job(model, lambda _, __, label=label: order.append(label)))
        for model, label in (("two", "b1"), ("one", "a1"), ("two", "b2"), ("one", "a2"))
    ]
    blocker.go_on.set()
    for future in futures:
        future.result(TIMEOUT)
    assert order == ["a1", "a2", "b1", "b2"]


def test_error_of_a_job_reaches_its_waiter_and_the_next_job_runs(bench: Bench) -> None:
    def fail(*_: object) -> None:
        raise ModelFailed("broken")

    with pytest.raises(ModelFailed, match="broken"):
        bench.do(run=fail)
    assert bench.do(run=lambda _, __: "fine") == "fine"


@pytest.mark.parametrize("error", [ModelFailed("The model one failed: CUDA error"), RuntimeError("CUDA error")])
def test_device_that_has_stopped_working_is_reported_and_ends_the_process(
    open_bench: Callable[..., Bench], error: Exception
) -> None:
    ended = threading.Event()
    bench = open_bench(on_lost=ended.set)

    def fail(*_: object) -> None:
        bench.backend.lost = "CUDA error: an illegal memory access was encountered"
        raise error

    with pytest.raises(ModelFailed, match=r"GPU has stopped working: CUDA error: an illegal .* Ask again"):
        bench.do(run=fail)
    assert ended.wait(TIMEOUT)


@pytest.mark.parametrize("error", [ModelFailed("broken"), OutOfMemory("full"), Cancelled()])
def test_other_failures_do_not_end_the_process(open_bench: Callable[..., Bench], error: Exception) -> None:
    ended = threading.Event()
    bench = open_bench(on_lost=ended.set)
    token = CancelToken()

    def fail(*_: object) -> None:
        token.cancel()
        raise error

    with pytest.raises(type(error)):
        bench.do(run=fail, token=token)
    assert bench.do(run=lambda _, __: "fine") == "fine"
    assert not ended.is_set()


def test_kept_error_does_not_keep_the_model(bench: Bench) -> None:
    def fail(runner: ModelRunner, _: JobTimes) -> None:
        try:
            {}[runner.name]
        except KeyError as error:
            raise ModelFailed("outer") from error

    future = bench.worker.submit(bench.job(run=fail))
    error = future.exception(TIMEOUT)
    bench.worker.unload().result(TIMEOUT)
    gc.collect()
    assert error is not None
    assert not bench.backend.alive


def test_runner_is_of_no_use_after_its_job(bench: Bench) -> None:
    runner = bench.do(run=lambda runner, _: runner)
    with pytest.raises(RuntimeError, match="only inside the job"):
        runner.count_tokens("x")


def test_cancelled_job_is_answered_at_once_and_loads_nothing(bench: Bench) -> None:
    blocker = bench.block()
    token = CancelToken()
    future = bench.worker.submit(bench.job("two", token=token))
    token.cancel()
    with pytest.raises(Cancelled):
        future.result(TIMEOUT)
    assert not blocker.future.done()
    blocker.go_on.set()
    bench.do()
    assert "load two" not in bench.backend.history


def test_job_cancelled_before_it_was_handed_in(bench: Bench) -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        bench.do(token=token)


def test_cancelled_future_is_dropped(bench: Bench) -> None:
    blocker = bench.block()
    future = bench.worker.submit(bench.job("two"))
    assert future.cancel()
    blocker.go_on.set()
    with pytest.raises(CancelledError):
        future.result(TIMEOUT)
    assert bench.do() is not None
    assert "load two" not in bench.backend.history


def test_load_can_be_cancelled_and_the_next_job_loads(bench: Bench) -> None:
    bench.backend.hold = threading.Event()
    token = CancelToken()
    future = bench.worker.submit(bench.job(token=token))
    assert bench.backend.loading.wait(TIMEOUT)
    token.cancel()
    with pytest.raises(Cancelled):
        future.result(TIMEOUT)
    bench.backend.hold = None
    assert bench.do() is not None
    assert ("one", ModelState.EVICTED) in bench.states


def test_cancelled_load_is_answered_at_once_though_a_stage_of_it_goes_on(bench: Bench) -> None:
    bench.backend.hold, bench.backend.deaf = threading.Event(), True
    token = CancelToken()
    future = bench.worker.submit(bench.job(token=token))
    assert bench.backend.loading.wait(TIMEOUT)
    token.cancel()
    with pytest.raises(Cancelled):
        future.result(TIMEOUT)
    following = bench.worker.submit(bench.job(run=lambda _, __: "next"))
    assert not following.done()
    bench.backend.hold.set()
    assert following.result(TIMEOUT) == "next"


def test_running_answer_stops_when_cancelled_and_the_slot_is_free(bench: Bench) -> None:
    bench.backend.runners["one"] = FakeRunner(["word " * 50], gate=threading.Semaphore(3))
    token = CancelToken()
    received: list[str] = []

    def run(runner: ModelRunner, _: JobTimes) -> None:
        for chunk in runner.generate([1], SamplingParams(max_tokens=100), token):
            received.append(chunk.text)
            if len(received) == 3:
                token.cancel()

    with pytest.raises(Cancelled):
        bench.do(run=run, token=token)
    assert received == ["word", " ", "word"]
    assert bench.do(run=lambda _, __: "next") == "next"


def test_failed_load_shows_and_the_next_job_tries_again(bench: Bench) -> None:
    bench.backend.failures = [ModelDamaged("a file is broken")]
    with pytest.raises(ModelDamaged):
        bench.do()
    [info] = bench.worker.snapshot().models
    assert (info.state, info.detail) == (ModelState.FAILED, "a file is broken")
    bench.do()
    assert bench.worker.snapshot().models[0].state is ModelState.READY


def test_unexpected_failure_of_a_load_is_an_error_for_people(bench: Bench) -> None:
    bench.backend.failures = [ZeroDivisionError("oops")]
    with pytest.raises(ModelFailed, match="could not be loaded: oops"):
        bench.do()


def test_missing_model_is_answered(bench: Bench) -> None:
    with pytest.raises(ModelMissing, match="models pull starter"):
        bench.do("SmolLM2-135M-Instruct")
    assert bench.worker.snapshot().models[0].state is ModelState.FAILED


def test_out_of_memory_evicts_all_and_tries_once_more(bench: Bench) -> None:
    bench.do("one")
    bench.backend.failures = [OutOfMemory("full")]
    bench.do("two")
    assert bench.backend.history == ["load one", "fail two", "evict one", "release", "load two"]


def test_out_of_memory_twice_is_an_error(bench: Bench) -> None:
    bench.do("one")
    bench.backend.failures = [OutOfMemory("full"), OutOfMemory("still full")]
    with pytest.raises(OutOfMemory, match="still full"):
        bench.do("two")
    bench.do("one")


def test_model_that_can_never_fit_says_so(open_bench: Callable[..., Bench]) -> None:
    bench = open_bench(ScriptedBackend(free=GIB // 2))
    with pytest.raises(OutOfMemory, match=r"does not fit in memory: it needs 0\.7 GiB on GPU"):
        bench.do()


def test_unload_of_one_role(bench: Bench) -> None:
    bench.do("one", role=Role.EXPLAIN)
    bench.do("two", role=Role.GENERATE)
    bench.worker.unload(Role.GENERATE).result(TIMEOUT)
    assert bench.backend.history[2:] == ["evict two", "release"]
    states = {info.role: info.state for info in bench.worker.snapshot().models}
    assert states == {Role.EXPLAIN: ModelState.READY, Role.GENERATE: ModelState.EVICTED}
    assert len(bench.backend.alive) == 1


def test_unload_waits_for_the_running_answer(bench: Bench) -> None:
    blocker = bench.block()
    unloaded = bench.worker.unload()
    assert not unloaded.done()
    blocker.go_on.set()
    unloaded.result(TIMEOUT)
    assert blocker.future.result(TIMEOUT) == "done"
    assert not bench.backend.alive


def test_unload_of_a_role_that_was_never_used(bench: Bench) -> None:
    bench.worker.unload(Role.GENERATE).result(TIMEOUT)
    assert bench.backend.history == []


def test_load_ahead_of_need(bench: Bench) -> None:
    bench.worker.load(replace(bench.job(), run=lambda _, __: None)).result(TIMEOUT)
    assert bench.worker.snapshot().models[0].state is ModelState.READY


def test_idle_model_is_unloaded_after_what_the_newest_job_says(bench: Bench) -> None:
    bench.do()
    bench.keep_alive = 0.05
    bench.do()
    deadline = time.monotonic() + TIMEOUT
    while bench.worker.snapshot().models[0].state is not ModelState.EVICTED:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not bench.backend.alive


def test_model_stays_when_the_newest_job_wants_it_kept(bench: Bench) -> None:
    bench.keep_alive = 0.05
    bench.do()
    bench.keep_alive = 0.0
    bench.do("two")
    time.sleep(0.2)
    assert {info.state for info in bench.worker.snapshot().models} == {ModelState.READY}


def test_background_job_gives_way_and_runs_again(bench: Bench) -> None:
    gate = threading.Semaphore(2)
    bench.backend.runners["one"] = FakeRunner(["one two three"], gate=gate)
    order: list[str] = []
    began = threading.Event()

    def summarise(runner: ModelRunner, _: JobTimes) -> str:
        began.set()
        pieces = [chunk.text for chunk in runner.generate([1], SamplingParams(max_tokens=9), CancelToken())]
        order.append("summary")
        return "".join(pieces)

    background = bench.worker.submit(bench.job(run=summarise, background=True))
    assert began.wait(TIMEOUT)
    assert bench.do(run=lambda _, __: order.append("answer")) is None
    gate.release(20)
    assert background.result(TIMEOUT) == "one two three"
    assert order == ["answer", "summary"]


def test_cancelled_background_job_does_not_run_again(bench: Bench) -> None:
    bench.backend.runners["one"] = FakeRunner(["one two three"], gate=threading.Semaphore(1))
    token = CancelToken()
    began = threading.Event()

    def summarise(runner: ModelRunner, _: JobTimes) -> None:
        for _chunk in runner.generate([1], SamplingParams(max_tokens=9), token):
            began.set()

    background = bench.worker.submit(bench.job(run=summarise, token=token, background=True))
    assert began.wait(TIMEOUT)
    token.cancel()
    with pytest.raises(Cancelled):
        background.result(TIMEOUT)


def test_files_of_a_model_that_waits_for_another_are_read_ahead(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Sequence[Path]] = []
    done = threading.Event()

    def page_in(files: Sequence[Path], _: CancelToken) -> int:
        read.append(files)
        done.set()
        return 0

    monkeypatch.setattr(prefetch, "page_in", page_in)
    blocker = bench.block()
    same = bench.worker.submit(bench.job("one"))
    assert not done.is_set()
    other = bench.worker.submit(bench.job("two"))
    assert done.wait(TIMEOUT)
    blocker.go_on.set()
    same.result(TIMEOUT)
    other.result(TIMEOUT)
    assert read == [[bench.folders["two"] / "model.safetensors"]]


def test_files_of_a_model_that_is_still_at_hand_are_not_read_again(
    open_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Sequence[Path]] = []
    monkeypatch.setattr(prefetch, "page_in", lambda files, _: read.append(files))
    bench = open_bench(ScriptedBackend(free=GIB + 512))  # one of them at a time
    bench.do("two")
    for _ in range(2):
        blocker = bench.block()
        other = bench.worker.submit(bench.job("two"))
        blocker.go_on.set()
        other.result(TIMEOUT)
    assert "evict two" in bench.backend.history
    assert read == []


def test_reading_ahead_stops_when_nobody_waits_for_the_model_any_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, stopped = threading.Event(), threading.Event()

    def page_in(_: Sequence[Path], token: CancelToken) -> int:
        token.on_cancel(stopped.set)
        started.set()
        assert stopped.wait(TIMEOUT)
        return 0

    monkeypatch.setattr(prefetch, "page_in", page_in)
    blocker, tokens = bench.block(), [CancelToken(), CancelToken()]
    futures = [bench.worker.submit(bench.job("two", token=token)) for token in tokens]
    assert started.wait(TIMEOUT)
    tokens[0].cancel()
    assert isinstance(futures[0].exception(TIMEOUT), Cancelled)
    assert not stopped.is_set()
    tokens[1].cancel()
    assert stopped.wait(TIMEOUT)
    blocker.go_on.set()


def test_full_queue_refuses_politely(bench: Bench) -> None:
    blocker = bench.block()
    futures = [bench.worker.submit(bench.job()) for _ in range(LONGEST_QUEUE)]
    with pytest.raises(EngineBusy, match=f"{LONGEST_QUEUE} requests are waiting"):
        bench.do()
    blocker.go_on.set()
    for future in futures:
        future.result(TIMEOUT)


def test_close_answers_every_waiter(bench: Bench) -> None:
    bench.backend.runners["one"] = FakeRunner(["word " * 50], gate=threading.Semaphore(1))
    began = threading.Event()

    def run(runner: ModelRunner, _: JobTimes) -> None:
        for _chunk in runner.generate([1], SamplingParams(max_tokens=100), CancelToken()):
            began.set()

    running = bench.worker.submit(bench.job(run=run))
    assert began.wait(TIMEOUT)
    waiting = [bench.worker.submit(bench.job(model)) for model in ("one", "two")]
    unload = bench.worker.unload()
    bench.worker.close()
    for future in [running, *waiting, unload, bench.worker.submit(bench.job()), bench.worker.unload()]:
        with pytest.raises(EngineUnavailable):
            future.result(TIMEOUT)
    assert not bench.backend.alive


def test_listener_that_fails_does_no_harm(tmp_path: Path) -> None:
    def fail() -> None:
        raise ValueError("listener")

    backend = ScriptedBackend()
    worker = ModelWorker(ModelRegistry(DataFolders(tmp_path / "home")), fail, open_backend=lambda: backend)
    bench = Bench(worker, backend, {"one": model_folder(tmp_path, "one")})
    assert bench.do(run=lambda _, __: "fine") == "fine"
    worker.close()


def test_backend_that_cannot_be_opened_answers_every_job(tmp_path: Path) -> None:
    def fail() -> Any:
        raise ImportError("no torch")

    worker = ModelWorker(ModelRegistry(DataFolders(tmp_path / "home")), lambda: None, open_backend=fail)
    bench = Bench(worker, ScriptedBackend(), {"one": model_folder(tmp_path, "one")})
    for _ in range(2):
        with pytest.raises(AssistantError, match="no torch"):
            bench.do()
    worker.close()
