"""The installed name: finds the packages of the application and starts its command line.

The application's packages have plain names (`server`, `core`, `cli`). In a wheel they lie in
`_bundle`, in a checkout beside this package; either place is put first on the path, so that a
`core` folder in a person's project is never taken for ours.
"""

from __future__ import annotations

import sys
from pathlib import Path

__version__ = "0.1.0"

_HERE = Path(__file__).resolve().parent
BUNDLE = _HERE / "_bundle" if (_HERE / "_bundle").is_dir() else _HERE.parent


def main() -> int:
    """Run the command line and return its exit status."""
    sys.path.insert(0, str(BUNDLE))
    from cli.app import main as run  # noqa: PLC0415 - the path above must be set first

    return run(sys.argv[1:])
