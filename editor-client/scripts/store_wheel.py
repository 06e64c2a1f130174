"""Rewrites a wheel without compression, so that the archive around it compresses all files at once.

Usage: python store_wheel.py WHEEL
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path


def store(wheel: Path) -> None:
    """Replace `wheel` by the same wheel with stored members."""
    with zipfile.ZipFile(wheel) as packed:
        members = [(info, packed.read(info)) for info in packed.infolist()]
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_STORED) as plain:
        for info, content in members:
            info.compress_type = zipfile.ZIP_STORED
            plain.writestr(info, content)


if __name__ == "__main__":
    store(Path(sys.argv[1]))
