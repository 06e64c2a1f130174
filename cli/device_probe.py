"""Prints this machine's devices as JSON; run in a process of its own, because it loads torch."""

from __future__ import annotations

import json
import sys

import torch


def devices() -> list[dict[str, object]]:
    """Return kind, name, total and free memory (bytes) of each device that can run models."""
    found: list[dict[str, object]] = []
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(number)
        found.append({"kind": "cuda", "name": torch.cuda.get_device_name(number), "total": total, "free": free})
    if torch.backends.mps.is_available():
        found.append({"kind": "mps", "name": "Apple GPU", "total": torch.mps.recommended_max_memory()})
    return found


if __name__ == "__main__":
    json.dump(devices(), sys.stdout)
