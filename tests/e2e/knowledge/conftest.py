"""The real embedder of the starter set."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.knowledge.embedder import SentenceEmbedder
from core.messages import Role
from core.models.registry import ModelRegistry
from core.paths import DataFolders
from core.settings import Settings


@pytest.fixture(scope="session")
def embedder(starter_home: Path) -> SentenceEmbedder:
    registry = ModelRegistry(DataFolders(starter_home))
    return SentenceEmbedder(registry.locate(registry.resolve(Settings(), Role.EMBED)))


@pytest.fixture(scope="session")
def human_eval(starter_home: Path) -> Path:
    path = ModelRegistry(DataFolders(starter_home)).knowledge_file(Settings())
    assert path is not None
    return path
