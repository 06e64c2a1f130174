"""Whether a machine has what `bench/gpu.sh` needs: `python -m bench.gpu_versions`; says what is missing.

Standard library only.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version

NEEDED = {"torch": (2, 6), "transformers": (4, 57), "accelerate": (1, 0), "safetensors": (0, 4)}


def main() -> int:
    """Return 0 if all is there."""
    problems = [problem for name, least in NEEDED.items() if (problem := _problem(name, least))]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _problem(name: str, least: tuple[int, int]) -> str:
    wanted = ".".join(map(str, least))
    try:
        found = version(name)
    except PackageNotFoundError:
        return f"{name} is missing; {wanted} or newer is needed."
    numbers = tuple(int(part) for part in found.split(".")[:2])
    return "" if numbers >= least else f"{name} {found} is too old; {wanted} or newer is needed."


if __name__ == "__main__":
    sys.exit(main())
