"""A backend for the real `ModelWorker` whose every model is one scripted runner."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.cancellation import CancelToken
from core.models.placement import DeviceMemory, Placement
from core.models.worker import OnProgress
from core.settings import Device, ModelChoice, Settings
from fakes.runner import FakeRunner

_GIB = 1 << 30


@dataclass(frozen=True)
class _Loaded:
    runner: FakeRunner
    evict: Callable[[], None] = lambda: None
    bytes: int = 8
    remark: str = ""


@dataclass(frozen=True)
class OneModelBackend:
    """Loads `runner`, whatever is asked for."""

    runner: FakeRunner

    def measure(self) -> Sequence[DeviceMemory]:
        return [DeviceMemory(device=Device.CPU, name="CPU", free=8 * _GIB, total=8 * _GIB, fast_bfloat16=False)]

    def load(
        self, name: str, folder: Path, placement: Placement, token: CancelToken, on_progress: OnProgress
    ) -> _Loaded:
        return _Loaded(self.runner)

    def release(self) -> None:
        """Nothing is held."""

    def find_lost(self) -> str:
        return ""


def settings_for_model(folder: Path, **more: object) -> Settings:
    """Make a folder that looks like a tiny model, and settings that name it for both roles."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"num_hidden_layers": 1, "hidden_size": 8}))
    (folder / "tokenizer.json").write_text("{}")
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    return Settings(models=ModelChoice(explain=str(folder), generate=str(folder)), **more)  # type: ignore[arg-type]
