"""Fixtures for all tests: data folders of their own, with or without the starter set."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import platformdirs
import pytest

if not any(Path("/dev").glob("nvidia*")):
    # Read when Triton is imported, as transformers does: without a GPU its kernels are interpreted.
    os.environ.setdefault("TRITON_INTERPRET", "1")

from core.cancellation import CancelToken
from core.models.installer import Installer
from core.models.registry import ModelRegistry
from core.paths import HOME_VARIABLE, DataFolders

CACHE_VARIABLE = "AI_CODEGEN_TEST_HOME"
"""Names the folder where the starter set is kept between test runs."""


def pytest_configure() -> None:
    """Let Ctrl-C reach the processes under test, also where the test run itself was started in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def starter_models() -> Path:
    """The folder of models with the starter set, installed once and kept between test runs."""
    chosen = os.environ.get(CACHE_VARIABLE)
    root = Path(chosen) if chosen else platformdirs.user_cache_path("ai-codegen-assistant-tests", appauthor=False)
    folders = DataFolders(root.absolute())
    Installer(ModelRegistry(folders)).pull("starter", lambda _: None, CancelToken())
    return folders.models


@pytest.fixture(scope="session")
def make_home(starter_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Makes data folders that hold the starter set and nothing else."""

    def make() -> Path:
        home = tmp_path_factory.mktemp("home")
        link_tree(starter_models, home / "models")
        return home

    return make


@pytest.fixture(scope="session")
def starter_home(make_home: Callable[[], Path]) -> Iterator[Path]:
    """A data folder with the starter set, shared by all tests of the session.

    It is also what `AI_CODEGEN_HOME` names meanwhile, so processes that tests start find it.
    """
    home = make_home()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(home))
        yield home


@pytest.fixture
def fresh_home(make_home: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with the starter set for one test only."""
    home = make_home()
    monkeypatch.setenv(HOME_VARIABLE, str(home))
    return home


def link_tree(source: Path, target: Path) -> None:
    """Copy a folder by hard links, or by symbolic links across file systems."""
    for file in sorted(source.rglob("*")):
        if not file.is_file() or file.name == ".lock":
            continue
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            copy.hardlink_to(file)
        except OSError:
            copy.symlink_to(file)
