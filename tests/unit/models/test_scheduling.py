from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from core.scheduling import Residency, Waiting, choose

MAX_WAIT = 5.0


def job(ticket: int, model: str, since: float = 0.0, *, background: bool = False) -> Waiting:
    return Waiting(ticket=ticket, model=model, since=since, background=background)


def test_nothing_to_do() -> None:
    assert choose([], Residency(models={"a"}), 1.0, max_wait=MAX_WAIT) is None


def test_jobs_of_the_resident_model_go_first() -> None:
    queue = [job(1, "b"), job(2, "a"), job(3, "a")]
    assert choose(queue, Residency(models={"a"}), 1.0, max_wait=MAX_WAIT) == queue[1]


def test_order_of_arrival_when_both_are_resident() -> None:
    queue = [job(3, "a"), job(1, "b"), job(2, "a")]
    assert choose(queue, Residency(models={"a", "b"}), 1.0, max_wait=MAX_WAIT) == queue[1]


def test_other_model_waits_no_longer_than_the_bound() -> None:
    queue = [job(1, "b"), job(2, "a")]
    assert choose(queue, Residency(models={"a"}), MAX_WAIT, max_wait=MAX_WAIT) == queue[0]


def test_bound_starts_anew_after_a_load() -> None:
    """Otherwise two overdue models would evict each other for every job."""
    queue = [job(1, "b", since=0.0), job(2, "a", since=1.0)]
    residency = Residency(models={"a"}, since=98.0)
    assert choose(queue, residency, 100.0, max_wait=MAX_WAIT) == queue[1]
    assert choose(queue, residency, 103.0, max_wait=MAX_WAIT) == queue[0]


def test_background_jobs_are_last_even_if_overdue() -> None:
    queue = [job(1, "a", background=True), job(2, "b", since=99.0)]
    assert choose(queue, Residency(models={"a"}), 100.0, max_wait=MAX_WAIT) == queue[1]
    assert choose(queue[:1], Residency(models={"b"}), 100.0, max_wait=MAX_WAIT) == queue[0]


@dataclass
class Run:
    """What happened in a simulated engine that keeps one model in memory."""

    order: list[Waiting] = field(default_factory=list)
    started: dict[int, float] = field(default_factory=dict)
    loads: list[float] = field(default_factory=list)


def simulate(jobs: list[Waiting], *, work: float, load: float) -> Run:
    """Run all jobs one after the other; each arrives at its time."""
    run, now = Run(), 0.0
    residency, left = Residency(), list(jobs)
    while left:
        queue = [one for one in left if one.since <= now]
        chosen = choose(queue, residency, now, max_wait=MAX_WAIT)
        if chosen is None:
            now = min(one.since for one in left)
            continue
        if chosen.model not in residency.models:
            now += load
            run.loads.append(now)
            residency = Residency(models={chosen.model}, since=now)
        left.remove(chosen)
        run.order.append(chosen)
        run.started[chosen.ticket] = now
        now += work
    return run


JOBS = st.lists(
    st.tuples(st.sampled_from("abc"), st.floats(0, 60, allow_nan=False), st.booleans()), min_size=1, max_size=40
).map(
    lambda rows: [
        job(ticket, model, since, background=background)
        for ticket, (model, since, background) in enumerate(sorted(rows, key=lambda row: row[1]))
    ]
)
WORK = st.floats(0.05, 4.0)


@given(JOBS, WORK, WORK)
def test_every_job_runs_exactly_once(jobs: list[Waiting], work: float, load: float) -> None:
    run = simulate(jobs, work=work, load=load)
    assert sorted(one.ticket for one in run.order) == [one.ticket for one in jobs]


@given(JOBS, WORK, WORK)
def test_jobs_of_one_model_run_in_order_of_arrival(jobs: list[Waiting], work: float, load: float) -> None:
    run = simulate(jobs, work=work, load=load)
    for model in "abc":
        tickets = [one.ticket for one in run.order if one.model == model and not one.background]
        assert tickets == sorted(tickets)


@given(JOBS, WORK, WORK)
def test_loads_are_bounded(jobs: list[Waiting], work: float, load: float) -> None:
    """While jobs of the loaded model wait, another model is loaded at most once in `MAX_WAIT` seconds."""
    run = simulate([one for one in jobs if not one.background], work=work, load=load)
    for ended, following in zip(run.loads, run.loads[1:], strict=False):
        started = following - load
        waited = any(
            one.since <= started < run.started[one.ticket] and one.model == loaded_at(run, ended) for one in run.order
        )
        assert not waited or started - ended >= MAX_WAIT - 1e-6


def loaded_at(run: Run, time: float) -> object:
    return next(one.model for one in run.order if run.started[one.ticket] >= time)


@given(st.lists(st.sampled_from("ab"), min_size=2, max_size=30), st.floats(0.05, 2.0))
def test_no_model_starves_under_constant_load(models: list[str], work: float) -> None:
    """A stream of jobs that never ends for one model cannot keep the other waiting for ever."""
    endless = [job(1000 + i, "a", since=i * work / 2) for i in range(200)]
    others = [job(ticket, "b", since=float(ticket)) for ticket in range(len(models))]
    run = simulate([*endless, *others], work=work, load=0.5)
    first = min(run.started[one.ticket] for one in others)
    assert first <= MAX_WAIT + 0.5 + 2 * work + 1.0


@given(st.floats(0.5, 2.0), st.floats(0.05, 2.0))
def test_two_streams_that_never_end_are_served_in_turn(work: float, load: float) -> None:
    """Explaining and generating under more load than there is time for: neither waits long for its turn."""
    streams = [job(2 * i + n, model, since=i * work) for i in range(60) for n, model in enumerate("ab")]
    run = simulate(streams, work=work, load=load)
    last_arrival = max(one.since for one in streams)
    for model in "ab":
        served = sorted(run.started[one.ticket] for one in run.order if one.model == model)
        gaps = [later - earlier for earlier, later in itertools.pairwise(served) if earlier < last_arrival]
        assert max([served[0], *gaps]) <= MAX_WAIT + 2 * (work + load) + 1e-6


@given(JOBS, WORK)
def test_background_runs_only_when_nothing_else_waits(jobs: list[Waiting], work: float) -> None:
    run = simulate(jobs, work=work, load=0.5)
    for one in run.order:
        if one.background:
            begun = run.started[one.ticket]
            waiting = [w for w in jobs if not w.background and w.since < begun - 0.5 and run.started[w.ticket] > begun]
            assert not waiting
