from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.evaluation.progress import Progress
from core.evaluation.results import fingerprint
from core.evaluation.setup import Setup
from core.paths import DataFolders


@dataclass(frozen=True)
class Square:
    value: int


class Squares:
    """An evaluation that squares numbers, remembers which, and fails where told to."""

    def __init__(self, home: Path, settings: dict[str, object]) -> None:
        self.worked: list[int] = []
        self.reports: list[Progress] = []
        self._setup = Setup(
            folders=DataFolders(home), settings=settings, data=None, limit=None, on_progress=self.reports.append
        )

    async def evaluate(self, numbers: list[int], stop_at: int | None = None) -> list[int]:
        with self._setup.run("squares", "digest", len(numbers)) as run:
            return [
                (await run.case("squares", str(n), Square, lambda n=n: self._square(n, stop_at))).value for n in numbers
            ]

    async def _square(self, number: int, stop_at: int | None) -> Square:
        if number == stop_at:
            raise asyncio.CancelledError
        self.worked.append(number)
        return Square(number * number)


async def interrupt(home: Path, settings: dict[str, object]) -> None:
    with pytest.raises(asyncio.CancelledError):
        await Squares(home, settings).evaluate([1, 2, 3, 4], stop_at=3)


async def test_an_interrupted_evaluation_goes_on_where_it_was(tmp_path: Path) -> None:
    await interrupt(tmp_path, {})
    again = Squares(tmp_path, {})
    assert await again.evaluate([1, 2, 3, 4]) == [1, 4, 9, 16]
    assert again.worked == [3, 4]
    assert [one.done for one in again.reports] == [1, 2, 3, 4]


async def test_a_complete_evaluation_begins_anew(tmp_path: Path) -> None:
    await Squares(tmp_path, {}).evaluate([1, 2])
    again = Squares(tmp_path, {})
    await again.evaluate([1, 2])
    assert again.worked == [1, 2]


async def test_other_settings_share_no_results(tmp_path: Path) -> None:
    await interrupt(tmp_path, {"modelSet": "starter"})
    other = Squares(tmp_path, {"modelSet": "small"})
    await other.evaluate([1, 2, 3])
    assert other.worked == [1, 2, 3]


async def test_a_line_cut_off_by_a_crash_is_done_again(tmp_path: Path) -> None:
    await interrupt(tmp_path, {})
    (file,) = (tmp_path / "evaluation").glob("*.jsonl")
    file.write_bytes(file.read_bytes()[:-5])
    again = Squares(tmp_path, {})
    assert await again.evaluate([1, 2, 3, 4]) == [1, 4, 9, 16]
    assert again.worked == [2, 3, 4]


def test_the_fingerprint_tells_configurations_apart() -> None:
    same = fingerprint("learning", "data", {"threshold": 0.5})
    assert same == fingerprint("learning", "data", {"threshold": 0.5})
    assert same != fingerprint("learning", "data", {"threshold": 0.6})
    assert same != fingerprint("learning", "other", {"threshold": 0.5})
    assert same != fingerprint("generation", "data", {"threshold": 0.5})
