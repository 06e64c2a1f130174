"""Where data live on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

HOME_VARIABLE = "AI_CODEGEN_HOME"
APPLICATION = "ai-codegen-assistant"


@dataclass(frozen=True, slots=True)
class DataFolders:
    """The folders below one root; nothing is created until it is needed."""

    root: Path

    @classmethod
    def locate(cls) -> DataFolders:
        """Return the folder named by `AI_CODEGEN_HOME`, else the platform's user data folder."""
        chosen = os.environ.get(HOME_VARIABLE)
        root = Path(chosen) if chosen else platformdirs.user_data_path(APPLICATION, appauthor=False)
        return cls(root.expanduser().absolute())

    @property
    def models(self) -> Path:
        """Installed models, one folder each."""
        return self.root / "models"

    @property
    def knowledge(self) -> Path:
        """The journal of tasks and the index over it."""
        return self.root / "knowledge"

    @property
    def conversations(self) -> Path:
        """Raw turns of conversations."""
        return self.root / "conversations"

    @property
    def evaluation(self) -> Path:
        """Results of evaluations, case by case."""
        return self.root / "evaluation"

    @property
    def run(self) -> Path:
        """The running engine's lock and address; private to the user."""
        return self.root / "run"

    @property
    def cache(self) -> Path:
        """What can be computed again."""
        return self.root / "cache"

    @property
    def logs(self) -> Path:
        """Logs of the engine."""
        return self.root / "logs"
