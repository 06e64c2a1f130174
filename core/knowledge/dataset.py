"""Reads a data set and writes its rows to stdout as JSON lines; run as a program by `sources`.

A process of its own, because fetching from the hub needs a network that the engine has sworn
off, and because the libraries that read data sets are large.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


def rows(name: str) -> Iterator[tuple[Mapping[str, Any], float]]:
    """Yield the rows of all splits, each with the share of the data set read with it.

    Args:
        name: A folder, or `OWNER/NAME` or `OWNER/NAME/CONFIGURATION` on the hub.
    """
    splits = _load(name)
    total = max(1, sum(len(split) for split in splits))
    done = 0
    for split in splits:
        for row in split:
            done += 1
            yield row, done / total


def main(arguments: Sequence[str]) -> int:
    """Write the rows of the named data set, or one line that says why that failed."""
    (name,) = arguments
    try:
        for row, fraction in rows(name):
            _write({"row": row, "fraction": fraction})
    except Exception as error:  # noqa: BLE001 - the process's boundary; every library below raises its own
        _write({"error": f"{type(error).__name__}: {error}"})
        return 1
    return 0


def _load(name: str) -> list[Any]:
    import datasets  # noqa: PLC0415 - large

    datasets.disable_progress_bars()
    folder = Path(name)
    if folder.is_dir():
        saved = any((folder / one).exists() for one in ("dataset_dict.json", "state.json"))
        loaded = datasets.load_from_disk(name) if saved else datasets.load_dataset(name)
    else:
        owner, _, rest = name.partition("/")
        title, _, configuration = rest.partition("/")
        loaded = datasets.load_dataset(f"{owner}/{title}", configuration or None)
    return list(loaded.values()) if isinstance(loaded, Mapping) else [loaded]


def _write(line: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(line, default=str) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
