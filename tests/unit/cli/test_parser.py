from __future__ import annotations

from pathlib import Path

import pytest

from cli.app import build_parser
from cli.parser import Location, UsageError, read_selection, settings_of


def test_a_location_names_a_file_and_lines() -> None:
    assert Location.parse("a/b.py:3-7") == Location(path=Path("a/b.py"), start=3, end=7)
    assert Location.parse("a/b.py:3") == Location(path=Path("a/b.py"), start=3, end=3)
    assert Location.parse("a/b.py") == Location(path=Path("a/b.py"))
    assert Location.parse(r"C:\code\b.py:3-7") == Location(path=Path(r"C:\code\b.py"), start=3, end=7)


def test_a_file_with_a_colon_in_its_name_is_found(tmp_path: Path) -> None:
    odd = tmp_path / "a:3"
    odd.write_text("x = 1\n", "utf-8")
    assert Location.parse(str(odd)) == Location(path=odd)


def test_a_selection_holds_whole_lines_and_says_where_they_are(tmp_path: Path) -> None:
    file = tmp_path / "ä b.py"
    file.write_text("one = 1\ntwo = 2\nthree = 3\n", "utf-8")
    selection = read_selection(Location(path=file, start=2, end=3))
    assert selection.text == "two = 2\nthree = 3\n"
    assert (selection.start_line, selection.name, selection.language) == (2, "ä b.py", "python")


@pytest.mark.parametrize(("start", "end"), [(0, 1), (2, 1), (1, 4), (4, 9)])
def test_lines_outside_of_the_file_are_named(tmp_path: Path, start: int, end: int) -> None:
    file = tmp_path / "a.py"
    file.write_text("one = 1\ntwo = 2\nthree = 3\n", "utf-8")
    with pytest.raises(UsageError, match=f"has 3 lines; lines {start}-{end}"):
        read_selection(Location(path=file, start=start, end=end))


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    binary = tmp_path / "a.bin"
    binary.write_bytes(b"ok\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8 text: byte 2"):
        read_selection(Location(path=binary))
    with pytest.raises(UsageError, match="No such file"):
        read_selection(Location(path=tmp_path / "absent.py"))


def test_common_options_work_before_and_after_the_command() -> None:
    before = build_parser().parse_args(["--json", "--home", "/h", "--model-set", "full", "status"])
    after = build_parser().parse_args(["status", "--json", "--home", "/h", "--model-set", "full"])
    for options in (before, after):
        assert (options.json, options.home, options.model_set) == (True, Path("/h"), "full")


def test_settings_are_those_of_the_editor() -> None:
    line = [
        "--set",
        "sources=5",
        "ask",
        "x",
        "--set",
        "device=cpu",
        "--set",
        "models.explain=a/b",
        "--model-set",
        "small",
    ]
    assert settings_of(build_parser().parse_args(line)) == {
        "sources": 5,
        "device": "cpu",
        "models": {"explain": "a/b"},
        "modelSet": "small",
    }


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("colour=red", "no setting 'colour'; the settings are modelSet"),
        ("models.judge=x", "no setting 'models.judge'"),
        ("sources.x=1", "no setting 'sources.x'"),
        ("sources=0", "sources: must be between 1 and 10, not 0"),
        ("device=gpu", "device: must be one of 'auto', 'cpu', 'cuda', 'mps', not 'gpu'"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(setting: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        settings_of(build_parser().parse_args(["ask", "x", "--set", setting]))


def test_hidden_commands_are_not_listed() -> None:
    listed = build_parser().format_help()
    assert "engine " not in listed.partition("commands:")[2].partition("exit status")[0].replace("the engine", "")
    assert build_parser().parse_args(["engine", "--home", "/h"]).home == Path("/h")
