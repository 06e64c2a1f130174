r"""Places in a text: between offsets and the lines and columns of the protocol.

A line ends with `\n`, `\r\n` or `\r` and with nothing else; a form feed or U+2028, which
`str.splitlines` also splits at, is a character like any other. Columns count UTF-8, UTF-16 or
UTF-32 code units, as agreed with the editor.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

from lsprotocol.types import PositionEncodingKind

from core.errors import InvalidParams

_LINE_END = re.compile(r"\r\n|\n|\r")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")

_BEYOND_BMP = 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Position:
    """A place in a document; both parts count from 0, `character` in code units."""

    line: int
    character: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """From `start` up to but without `end`."""

    start: Position
    end: Position


def split_lines(text: str) -> list[str]:
    """Return the lines of `text` with their ends."""
    return _LINE.findall(text)


@dataclass(frozen=True, slots=True)
class LinedText:
    """A text and where its lines start."""

    text: str
    starts: tuple[int, ...]
    """Offset of each line's first character; a final line end starts one more, empty line."""

    @classmethod
    def of(cls, text: str) -> Self:
        """Find the lines of `text`."""
        return cls(text, (0, *(end.end() for end in _LINE_END.finditer(text))))

    @property
    def newline(self) -> str:
        """The line end that this text uses (that of its first line)."""
        first = _LINE_END.search(self.text)
        return first.group() if first else "\n"

    @property
    def lines(self) -> list[str]:
        """All lines, without their ends."""
        return [self.line(number) for number in range(len(self.starts))]

    def line(self, number: int) -> str:
        """Return line `number` (from 0) without its end."""
        start = self.starts[number]
        stop = self.starts[number + 1] if number + 1 < len(self.starts) else len(self.text)
        return self.text[start:stop].rstrip("\r\n")

    def offset(self, position: Position, encoding: PositionEncodingKind, field: str = "position") -> int:
        """Return the offset of `position` in characters.

        A column past the end of its line means that end, as the protocol says; one inside a
        character means the character's start. The line after the last one means the end of
        the text: some editors end a selection of whole lines there.

        Raises:
            InvalidParams: The line does not exist, or a part is negative; names `field`.
        """
        count = len(self.starts)
        if position.line == count and position.character == 0:
            return len(self.text)
        if not 0 <= position.line < count:
            raise InvalidParams(f"{field}.line", f"is {position.line}, but the document has {count} lines (from 0)")
        if position.character < 0:
            raise InvalidParams(f"{field}.character", f"must not be negative, but is {position.character}")
        return self.starts[position.line] + _index(self.line(position.line), position.character, encoding)

    def position(self, offset: int, encoding: PositionEncodingKind) -> Position:
        """Return the place of the character at `offset`."""
        line = bisect.bisect_right(self.starts, offset) - 1
        before = self.text[self.starts[line] : offset]
        return Position(line=line, character=length(before, encoding))

    def end_of_line(self, number: int, encoding: PositionEncodingKind) -> Position:
        """Return the place behind the last character of line `number`."""
        return Position(line=number, character=length(self.line(number), encoding))


def length(text: str, encoding: PositionEncodingKind) -> int:
    """Return the length of `text` in code units."""
    return sum(_units(text, encoding))


def _index(line: str, column: int, encoding: PositionEncodingKind) -> int:
    """Return the index of the character that holds the code unit `column`."""
    if line.isascii():
        return min(column, len(line))
    reached = 0
    for index, units in enumerate(_units(line, encoding)):
        reached += units
        if reached > column:
            return index
    return len(line)


def _units(text: str, encoding: PositionEncodingKind) -> Iterable[int]:
    return map(_UNITS[encoding], text)


def _utf8_units(char: str) -> int:
    code = ord(char)
    return 1 + (code > 0x7F) + (code > 0x7FF) + (code > _BEYOND_BMP)  # noqa: PLR2004 - the limits of UTF-8's lengths


def _utf16_units(char: str) -> int:
    return 2 if ord(char) > _BEYOND_BMP else 1


def _utf32_units(_: str) -> int:
    return 1


_UNITS: dict[PositionEncodingKind, Callable[[str], int]] = {
    PositionEncodingKind.Utf8: _utf8_units,
    PositionEncodingKind.Utf16: _utf16_units,
    PositionEncodingKind.Utf32: _utf32_units,
}
