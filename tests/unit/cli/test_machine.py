from __future__ import annotations

from pathlib import Path

from cli.machine import find_write_problem, look_at_machine, needed_packages


def test_a_folder_that_can_be_made_is_no_problem(tmp_path: Path) -> None:
    assert find_write_problem(tmp_path / "not" / "yet") is None
    assert not (tmp_path / "not").exists()


def test_a_file_in_place_of_the_folder_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("", "utf-8")
    assert find_write_problem(tmp_path / "home") == f"{tmp_path / 'home'} is a file"


def test_every_needed_package_is_named_with_its_version() -> None:
    packages = needed_packages()
    assert {"torch", "chromadb", "pygls", "rich"} <= packages.keys()
    assert "ruff" not in packages
    assert all(packages.values())


def test_the_machine_has_memory_and_a_disk(tmp_path: Path) -> None:
    machine = look_at_machine(tmp_path / "not" / "yet", [])
    assert 0 < machine.memory_available <= machine.memory_total
    assert machine.disk_free > 0
