"""The version of the application, as clients and the engine compare it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("ai-codegen-assistant")
except PackageNotFoundError:  # a plain checkout that was never installed
    VERSION = "0.0.0"
