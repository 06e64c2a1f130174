"""How the knowledge base behaves as it grows: `python -m bench.knowledge [--sizes 1000,10000] [--json]`.

Tasks are made from templates. Some thousands of their descriptions are embedded by the real
model, which is what takes time; the rest are pairs of these ("..., then ..."), and their vectors
are the mean of both with a little noise, which is near what the model says of such a sentence.
Queries and taught tasks are always embedded for real.

Every size is measured in a process of its own, on a copy of its store. `--stores FOLDER` keeps
the stores for the next run, and `--build` makes those that are missing and measures nothing, so
that a machine has to be quiet for the measurement only. What is measured:

- a query as the assistant asks it: embedded, routed and searched for, filtered by language; and the search alone;
- a query without a filter, which the index may answer, and the first one of these by itself;
- recall@5 of such queries: the tasks that an exhaustive search by numpy would have led to;
- teaching, from the request until the next search has found the task;
- opening a store that has an index, until the first answer, and until its index is in use;
- memory of the process (the embedding model included) and size on disk.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from core.codec import camel_case
from core.engine.launch import engine_environment
from core.knowledge.base import KnowledgeBase, fingerprint_of
from core.knowledge.embedder import Embedder, SentenceEmbedder, Vectors
from core.knowledge.journal import Journal, read_rows
from core.knowledge.retriever import rank
from core.knowledge.task import Task
from core.messages import Origin, Role, TeachRequest
from core.models.registry import ModelRegistry
from core.paths import DataFolders
from core.routing.classifier import load_classifier
from core.routing.router import Router
from core.routing.routes import load_routes
from core.settings import Settings

EMBEDDED = 3000
QUERIES = 200
TAUGHT = 50
CANDIDATES = 25
"""Nearest tasks that are looked at more closely, as the knowledge base does."""
TOP = 5
NOISE = 0.15
BATCH = 2000
BUILT_IN = "built-in-seconds"
"""File that says how long the index took."""
INDEX_TIMEOUT = 3600.0

ACTIONS = (
    ("Compute", "work out"), ("Find", "look for"), ("Count", "tell the number of"), ("Remove", "get rid of"),
    ("Sort", "bring into order"), ("Validate", "make sure about"), ("Convert", "change"), ("Merge", "join"),
    ("Parse", "read"), ("Print", "show"),
)  # fmt: skip
THINGS = (
    "the prime numbers", "the duplicate words", "the negative balances", "the longest lines", "the invoice totals",
    "the e-mail addresses", "the open orders", "the sensor readings", "the student grades", "the nested brackets",
    "the file sizes", "the missing dates", "the chess moves", "the colour values", "the train departures",
    "the temperature peaks", "the shopping items", "the DNA triplets", "the stock prices", "the HTML tags",
)  # fmt: skip
PLACES = (
    "of a list", "in a dictionary of lists", "of a CSV file", "of a binary tree", "in a matrix", "of a log file",
    "between two indices", "of every customer", "in a JSON document", "of a linked list", "per month", "in a string",
    "of a graph", "in a text with several paragraphs", "of two merged tables", "within a time window",
)  # fmt: skip
NOTES = ("", " and return them sorted", " without using a library", " and ignore empty ones", " in one pass")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The figures of one size; times in milliseconds unless they say seconds, sizes in MiB."""

    n: int
    query_p50_ms: float
    query_p95_ms: float
    query_without_embedding_p50_ms: float
    query_without_embedding_p95_ms: float
    first_index_query_ms: float
    """The first after the index has come into use."""
    index_query_p50_ms: float
    index_query_p95_ms: float
    recall_at5: float
    teach_p50_ms: float
    teach_p95_ms: float
    open_s: float
    index_ready_s: float
    index_built_s: float
    rss_mb: float
    store_rss_mb: float
    """What opening the store has added to the process."""
    disk_mb: float


@dataclass(frozen=True, slots=True)
class Material:
    """Descriptions with their vectors, and other words for them."""

    texts: list[str]
    vectors: Vectors
    queries: list[str]


def main() -> None:
    """Measure every size and print the figures; the last line is one JSON object."""
    options = _options()
    if options.worker:
        print(json.dumps(asdict(measure(options.sizes[0], options.stores))))
        return
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-knowledge-") as scratch:
        stores = options.stores or Path(scratch)
        for size in options.sizes:
            prepare(stores, size)
            if not options.build:
                rows.append(_in_child(size, stores))
            if rows and not options.json:
                _show(rows[-1])
    print(json.dumps({"sizes": [{camel_case(name): value for name, value in row.items()} for row in rows]}))


def measure(size: int, stores: Path) -> Measured:
    """Open a copy of the prepared store of `size` tasks as the engine does, and use it."""
    embedder = _embedder()
    router = Router(load_classifier(embedder, load_routes(), stores / "routes.npz"))
    material = load_material(stores)
    folder = stores / f"copy-{size}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(_store(stores, size), folder)
    rows = read_rows(folder / "journal.sqlite", fingerprint_of(embedder))
    vectors = rows.vectors[np.argsort([int(one.removeprefix("bench-")) for one in rows.ids])]
    built = float((_store(stores, size) / BUILT_IN).read_text())
    before = _rss()
    started = time.perf_counter()
    knowledge = KnowledgeBase.open(folder, embedder, _nothing)
    knowledge.search(material.texts[0], material.vectors[0], limit=TOP, language="python")
    opened = time.perf_counter() - started
    _wait_until_ready(knowledge)
    ready = time.perf_counter() - started
    queries = embedder.embed(material.queries)
    first = _timed(material.queries[:1], lambda i, text: knowledge.search(text, queries[i], limit=TOP))
    asked = _timed(material.queries, lambda _, text: _ask(knowledge, router, embedder, text))
    searched = _timed(
        material.queries, lambda i, text: knowledge.search(text, queries[i], limit=TOP, language="python")
    )
    indexed = _timed(material.queries, lambda i, text: knowledge.search(text, queries[i], limit=TOP))
    recall = _recall(knowledge, material, queries, vectors, size)
    new = embedder.embed(_new_tasks())
    taught = _timed(_new_tasks(), lambda i, text: _teach(knowledge, text, new[i]))
    rss = _rss()
    knowledge.close()
    disk = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    shutil.rmtree(folder)
    return Measured(
        n=size,
        query_p50_ms=_percentile(asked, 50),
        query_p95_ms=_percentile(asked, 95),
        query_without_embedding_p50_ms=_percentile(searched, 50),
        query_without_embedding_p95_ms=_percentile(searched, 95),
        first_index_query_ms=_percentile(first, 100),
        index_query_p50_ms=_percentile(indexed, 50),
        index_query_p95_ms=_percentile(indexed, 95),
        recall_at5=round(recall, 4),
        teach_p50_ms=_percentile(taught, 50),
        teach_p95_ms=_percentile(taught, 95),
        open_s=round(opened, 3),
        index_ready_s=round(ready, 3),
        index_built_s=round(built, 1),
        rss_mb=round(rss, 1),
        store_rss_mb=round(rss - before, 1),
        disk_mb=round(disk / 2**20, 1),
    )


# --- making the store -----------------------------------------------------------------------


def prepare(stores: Path, size: int) -> None:
    """Make the store of `size` tasks in `stores`, index included, unless it is there."""
    if _store(stores, size).exists():
        return
    embedder = _embedder()
    if not (stores / "texts.json").exists():
        stores.mkdir(parents=True, exist_ok=True)
        save_material(embedder, stores)
    unfinished = stores / f"unfinished-{size}"
    shutil.rmtree(unfinished, ignore_errors=True)
    build(unfinished, size, load_material(stores), embedder)
    seconds = _index(unfinished, embedder)
    (unfinished / BUILT_IN).write_text(f"{seconds:.1f}")
    unfinished.rename(_store(stores, size))


def _store(stores: Path, size: int) -> Path:
    return stores / f"store-{size}"


def save_material(embedder: Embedder, folder: Path) -> None:
    """Write and embed descriptions once for all sizes."""
    choose = random.Random(7)
    parts = choose.sample(list(product(ACTIONS, THINGS, PLACES, NOTES)), EMBEDDED)
    texts = [f"{action[0]} {thing} {place}{note}." for action, thing, place, note in parts]
    queries = [f"{action[1]} {thing} {place}" for action, thing, place, _ in choose.sample(parts, QUERIES)]
    np.save(folder / "vectors.npy", embedder.embed(texts))
    (folder / "texts.json").write_text(json.dumps({"texts": texts, "queries": queries}))


def load_material(folder: Path) -> Material:
    """Read what `save_material` wrote."""
    saved = json.loads((folder / "texts.json").read_text())
    return Material(saved["texts"], np.load(folder / "vectors.npy"), saved["queries"])


def build(folder: Path, size: int, material: Material, embedder: Embedder) -> None:
    """Fill the journal of a new store."""
    choose = np.random.default_rng(size)
    folder.mkdir()
    journal = Journal(folder / "journal.sqlite")
    for start in range(0, size, BATCH):
        numbers = range(start, min(start + BATCH, size))
        journal.put([_task(number, material, choose) for number in numbers], fingerprint_of(embedder))
    journal.close()


def _task(number: int, material: Material, choose: np.random.Generator) -> tuple[Task, Vectors]:
    count = len(material.texts)
    if number < count:
        return _stored(number, material.texts[number]), material.vectors[number]
    first, second = choose.integers(count, size=2)
    noise = choose.normal(size=material.vectors.shape[1]) * NOISE / np.sqrt(material.vectors.shape[1])
    mixed = material.vectors[first] + material.vectors[second] + noise
    text = f"{material.texts[first][:-1]}, then {material.texts[second].lower()}"
    return _stored(number, text), np.asarray(mixed / np.linalg.norm(mixed), np.float32)


def _stored(number: int, text: str) -> Task:
    code = f"def task_{number}(items):\n    return [one for one in items if one is not None and one != {number}]\n"
    return Task(id=f"bench-{number}", description=text, implementation=code, origin=Origin.IMPORTED)


def _index(folder: Path, embedder: Embedder) -> float:
    """Let the store build its index, and return the seconds it took."""
    started = time.perf_counter()
    knowledge = KnowledgeBase.open(folder, embedder, _nothing)
    _wait_until_ready(knowledge)
    knowledge.close()
    return time.perf_counter() - started


def _wait_until_ready(knowledge: KnowledgeBase) -> None:
    deadline = time.monotonic() + INDEX_TIMEOUT
    while (info := knowledge.info()).state != "ready":
        if info.state == "failed" or time.monotonic() > deadline:
            raise SystemExit(f"The index is {info.state}: {info.detail}")
        time.sleep(0.02)


# --- using it -------------------------------------------------------------------------------


def _ask(knowledge: KnowledgeBase, router: Router, embedder: Embedder, text: str) -> None:
    meaning, wording = (one[0] for one in embedder.read([text]))
    router.route(text, meaning, wording, has_selection=False)
    knowledge.search(text, meaning, limit=TOP, language="python")


def _teach(knowledge: KnowledgeBase, text: str, vector: Vectors) -> None:
    """Teach a task, which embeds it, and search, which has to find it at once; `vector` is that of the search."""
    request = TeachRequest(description=text, implementation="def solution():\n    return 42\n")
    task_id = knowledge.teach(request).task_id
    found = knowledge.search(text, vector, limit=TOP, language="python")
    if task_id not in {match.task.id for match in found}:
        raise SystemExit(f"The task {text!r} was taught but not found by the next search.")


def _new_tasks() -> list[str]:
    return [f"Plan the seating of {number} guests around tables of {number % 7 + 2}." for number in range(TAUGHT)]


def _recall(knowledge: KnowledgeBase, material: Material, queries: Vectors, vectors: Vectors, size: int) -> float:
    """Compare with an exhaustive search over the vectors that the store was made of."""
    ids = [f"bench-{number}" for number in range(size)]
    shares = []
    for text, query in zip(material.queries, queries, strict=True):
        cosines = vectors @ query
        nearest = np.argsort(-cosines)[:CANDIDATES]
        tasks = [(knowledge.get(ids[one]), float(cosines[one])) for one in nearest]
        exact = rank(text, [(_as_task(task), cosine) for task, cosine in tasks])[:TOP]
        found = {match.task.id for match in knowledge.search(text, query, limit=TOP)}
        shares.append(len(found & {match.task.id for match in exact}) / len(exact))
    return float(np.mean(shares))


def _as_task(details: Any) -> Task:
    return Task(
        id=details.task_id,
        description=details.description,
        implementation=details.implementation,
        origin=details.origin,
    )


def _timed(texts: Sequence[str], work: Callable[[int, str], object]) -> list[float]:
    """Return the milliseconds that each text takes, after one that does not count."""
    work(0, texts[0])
    times = []
    for number, text in enumerate(texts):
        started = time.perf_counter()
        work(number, text)
        times.append((time.perf_counter() - started) * 1000)
    return times


def _percentile(times: Sequence[float], share: float) -> float:
    return round(float(np.percentile(times, share)), 2)


def _rss() -> float:
    return float(psutil.Process().memory_info().rss / 2**20)


def _nothing() -> None:
    """Take no notice of changes."""


# --- the command ----------------------------------------------------------------------------


def _embedder() -> SentenceEmbedder:
    registry = ModelRegistry(DataFolders.locate())
    return SentenceEmbedder(registry.locate(registry.resolve(Settings(), Role.EMBED)))


def _in_child(size: int, stores: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.knowledge", "--worker", "--stores", str(stores), "--sizes", str(size)]
    environment = engine_environment()  # the engine embeds with as many threads as that gives it
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    row: dict[str, Any] = json.loads(output.splitlines()[-1])
    return row


def _show(row: dict[str, Any]) -> None:
    print(f"{row['n']:,} tasks")
    for name, value in row.items():
        if name != "n":
            print(f"  {name.replace('_', ' '):<34} {value:>10}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.knowledge", description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=_sizes, default=[1_000, 10_000, 100_000], help="for example 1000,10000")
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON object")
    parser.add_argument("--stores", type=Path, metavar="FOLDER", help="keep the stores there, and use those that are")
    parser.add_argument("--build", action="store_true", help="make the stores that are missing and measure nothing")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _sizes(text: str) -> list[int]:
    return [int(one.replace("_", "")) for one in text.split(",")]


if __name__ == "__main__":
    main()
