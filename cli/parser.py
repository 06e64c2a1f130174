"""Reading the command line."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from core import codec
from core.errors import AssistantError
from core.messages import CodeSelection
from core.settings import Settings, parse_settings

Commands = Any
"""What `add_subparsers` returns; argparse keeps its type private."""


class UsageError(AssistantError):
    """The command line, or an input it names, cannot be used."""

    code = "usage"


class Parser(argparse.ArgumentParser):
    """An argument parser that raises instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        """Report a command line that cannot be read."""
        raise UsageError(f"{message}\n{self.format_usage().strip()}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """`FILE`, `FILE:LINE` or `FILE:START-END`; lines count from 1, both ends belong to it."""

    path: Path
    start: int | None = None
    end: int | None = None

    @classmethod
    def parse(cls, text: str) -> Location:
        """Read a location; a file that exists under the whole name is taken as it is."""
        match = re.fullmatch(r"(.+):(\d+)(?:-(\d+))?", text)
        if match is None or Path(text).is_file():
            return cls(path=Path(text))
        path, start, end = match.groups()
        return cls(path=Path(path), start=int(start), end=int(end or start))


def add_common_options(parser: argparse.ArgumentParser, *, nested: bool) -> None:
    """Add the options that stand before or after the command's name.

    Args:
        parser: Gets the options.
        nested: Whether it belongs to a command: then an option that is not given leaves alone
            what was given before the command's name.
    """

    def default(value: Any) -> Any:
        return argparse.SUPPRESS if nested else value

    group = parser.add_argument_group("common options")
    group.add_argument("--json", action="store_true", default=default(value=False), help="print one JSON document")
    group.add_argument("--model-set", metavar="SET", default=default(None), help="starter (default), small or full")
    group.add_argument(
        "--set",
        dest="more_settings" if nested else "settings",
        metavar="NAME=VALUE",
        type=setting,
        action="append",
        default=[],
        help="any setting, for example --set generateMaxTokens=256; may be repeated",
    )
    group.add_argument(
        "--home",
        metavar="FOLDER",
        type=Path,
        default=default(None),
        help="data folder (default: $AI_CODEGEN_HOME, else the user data folder)",
    )


def add_command(
    commands: Commands, name: str, run: Callable[..., Any] | None, summary: str | None, **options: Any
) -> Parser:
    """Add a command; one without a summary is not listed, one without `run` has actions below it."""
    listed = {} if summary is None else {"help": summary}
    parser: Parser = commands.add_parser(name, description=summary, **listed, **options)
    if run is not None:
        add_common_options(parser, nested=True)
        parser.set_defaults(run=run)
    return parser


def setting(text: str) -> tuple[str, Any]:
    """Read `NAME=VALUE`; the value is JSON where it can be, else text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of a command line, as an editor would send them.

    Raises:
        UsageError: A setting is unknown, or its value cannot be used.
    """
    section: dict[str, Any] = {}
    known = codec.encode(Settings())
    for dotted, value in [*options.settings, *getattr(options, "more_settings", [])]:
        name, _, inner = dotted.partition(".")
        if name not in known or (inner and inner not in known["models"]) or (inner and name != "models"):
            names = ", ".join([*known, *(f"models.{role}" for role in known["models"])])
            raise UsageError(f"There is no setting {dotted!r}; the settings are {names}.")
        if inner:
            section.setdefault(name, {})[inner] = value
        else:
            section[name] = value
    if options.model_set is not None:
        section["modelSet"] = options.model_set
    _, problems = parse_settings(section)
    if problems:
        raise UsageError(" ".join(problem.partition("; using")[0] + "." for problem in problems))
    return section


def read_text(path: Path) -> str:
    """Return the text of a file a person named.

    Raises:
        UsageError: It cannot be read, or is no UTF-8 text.
    """
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text: byte {error.start} cannot be read.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None


def read_selection(location: Location) -> CodeSelection:
    """Return the code at a location.

    Raises:
        UsageError: The file cannot be read, or the lines lie outside of it.
    """
    text = read_text(location.path)
    lines = text.splitlines(keepends=True)
    start = 1 if location.start is None else location.start
    end = len(lines) if location.end is None else location.end
    if not 1 <= start <= end <= len(lines):
        raise UsageError(f"{location.path} has {len(lines)} lines; lines {start}-{end} do not lie within them.")
    return CodeSelection(
        text="".join(lines[start - 1 : end]),
        language="python" if location.path.suffix in {"", ".py", ".pyi"} else location.path.suffix[1:],
        name=location.path.name,
        start_line=start,
    )
