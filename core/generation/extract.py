"""Finding the code in a model's reply, while the reply is still coming.

A reply is read line by line as one of three things: prose, a fenced block, or bare code. Once
a block is certain to be the one that was asked for, its lines are passed on as they come, so
what has been passed on is always the beginning of the final result.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from dataclasses import dataclass, field
from enum import Enum, auto

from core.generation.syntax import parse

_OPENING = re.compile(r"(?P<indent> *)(?P<marker>`{3,}|~{3,})[ \t]*(?P<language>[\w+#.-]*)[^`]*")
_DEFINITION = re.compile(r"(?:async\s+def|def|class)\s+(\w+)")
_PREAMBLE = re.compile(r"\s*(?:#.*|import\s.*|from\s+\S+\s+import\s.*)?")
_BARE_START = re.compile(
    r"(?:async\s+def|def)\s+\w+\s*\(|class\s+\w+\s*[:(]|from\s+[\w.]+\s+import\s|import\s+[\w.]+\s*(?:$|,|as\s)|@\w"
)
_SESSION = re.compile(r"(?:>>>|\.\.\.)(?: |$)")


def extract_code(reply: str, language: str = "python", name: str | None = None) -> str:
    """Return the code of a reply, without prose and fences; empty if there is none.

    Of several blocks it is the first that defines `name`; without a name, the first that does
    more than import something (with the imports before it). If no block is certain, it is the
    most likely one: of the right language, defining something, and correct in syntax.

    Args:
        reply: What the model said.
        language: Of the code that was asked for, as in a fence's info string.
        name: Function or class that was asked for, if known.
    """
    extractor = StreamingExtractor(language, name)
    return extractor.feed(reply) + extractor.finish()


class _State(Enum):
    PROSE = auto()
    FENCED = auto()
    BARE = auto()
    DONE = auto()


@dataclass(slots=True)
class _Block:
    """Lines between fences."""

    marker: str
    fitting: bool
    """Whether the fence names the language that was asked for, or none."""
    lines: list[str] = field(default_factory=list)
    margin: str | None = None
    """Whitespace before the first line of code, which is taken off every line."""

    def trimmed(self, line: str) -> str:
        """Return a line without the block's margin."""
        if self.margin is None and line.strip():
            self.margin = line[: len(line) - len(line.lstrip(" \t"))]
        margin = self.margin or ""
        return line[len(margin) :] if line.startswith(margin) else line.lstrip(" \t")

    def ends_with(self, line: str) -> bool:
        """Whether this line is the closing fence (or the opening one of another block)."""
        return line.lstrip(" ").startswith(self.marker) and _OPENING.fullmatch(line) is not None


class StreamingExtractor:
    """Turns the text of a reply into the text of its code, piece by piece.

    All pieces together are what `extract_code` returns for the whole reply.
    """

    def __init__(self, language: str = "python", name: str | None = None) -> None:
        self._language = _canonical(language)
        self._name = name
        self._state = _State.PROSE
        self._block = _Block(marker="", fitting=True)
        self._chosen: list[str] = []
        self._preamble: list[str] = []
        self._candidates: list[_Block] = []
        self._prose: list[str] = []
        self._rest = ""
        self._sent = 0
        self._gap = ""

    def feed(self, text: str) -> str:
        """Take a piece of the reply and return the code that has become certain."""
        *lines, self._rest = (self._rest + text).replace("\r\n", "\n").split("\n")
        return "".join([*(self._take(line) for line in lines), self._begin_line()])

    def finish(self) -> str:
        """Return the rest of the code, now that the reply is complete."""
        code = self._take(self._rest.rstrip("\r"))
        if self._chosen:
            return code
        if self._state is _State.FENCED:
            self._candidates.append(self._block)
        return self._likeliest()

    def _take(self, line: str) -> str:
        """Read one complete line."""
        match self._state:
            case _State.PROSE:
                return self._take_prose(line)
            case _State.FENCED:
                return self._take_fenced(line)
            case _State.BARE:
                return self._take_bare(line)
            case _State.DONE:
                return ""

    def _take_prose(self, line: str) -> str:
        if opening := _OPENING.fullmatch(line):
            self._state = _State.FENCED
            language = _canonical(opening["language"])
            self._block = _Block(marker=opening["marker"], fitting=language in {"", self._language})
            return ""
        if self._language == "python" and _BARE_START.match(line):
            self._state = _State.BARE
            return self._emit(line)
        self._prose.append(line)
        return ""

    def _take_fenced(self, line: str) -> str:
        block = self._block
        if block.ends_with(line) and not self._in_string():
            return self._close()
        line = block.trimmed(line)
        if self._chosen:
            if self._language == "python" and _SESSION.match(line) and not self._in_string():
                self._state = _State.DONE
                return ""
            return self._emit(line)
        block.lines.append(line)
        if not self._decides(line):
            return ""
        return "".join(self._emit(one) for one in [*self._preamble, *block.lines])

    def _take_bare(self, line: str) -> str:
        if line[:1].isspace() or not line or _unfinished(self._chosen) or _is_statement(line):
            return self._emit(line)
        self._state = _State.DONE
        return ""

    def _close(self) -> str:
        if self._chosen:
            self._state = _State.DONE
        elif any(line.strip() for line in self._block.lines):
            self._state = _State.PROSE
            if self._block.fitting and all(_PREAMBLE.fullmatch(line) for line in self._block.lines):
                self._preamble += self._block.lines
            self._candidates.append(self._block)
        return ""

    def _decides(self, line: str) -> bool:
        """Whether this line makes the block the one that was asked for."""
        block = self._block
        if not block.fitting or not line.strip():
            return False
        if self._language != "python":
            return True
        if self._name is not None:
            definition = _DEFINITION.match(line)
            return definition is not None and definition[1] == self._name
        return not _PREAMBLE.fullmatch(line) and not _is_session(block.lines)

    def _begin_line(self) -> str:
        """Return what of an unfinished line can only be code."""
        if not self._chosen or self._state is _State.DONE:
            return ""
        line = self._rest.rstrip("\r")
        if self._state is _State.BARE and not line[:1].isspace():
            return ""
        line = self._block.trimmed(line) if self._state is _State.FENCED else line
        if not line.strip() or line.lstrip()[0] in "`~>.":
            return ""
        code = self._gap + line[self._sent :]
        self._gap, self._sent = "", len(line)
        return code

    def _emit(self, line: str) -> str:
        """Add a line to the result; blank ones wait until something follows."""
        self._chosen.append(line)
        code, self._sent = self._gap + line[self._sent :], 0
        if not line.strip():
            self._gap = code + "\n" if self._gap else ""
            return ""
        self._gap = "\n"
        return code

    def _in_string(self) -> bool:
        return self._language == "python" and _unfinished(self._chosen or self._block.lines) == "string"

    def _likeliest(self) -> str:
        """Choose when no block has proved itself."""
        if not self._candidates:
            return _bare(self._prose) if self._language == "python" else _joined(self._prose)
        best = max(self._candidates, key=self._likelihood)
        return _joined(self._text(best).split("\n"))

    def _likelihood(self, block: _Block) -> tuple[bool, ...]:
        if self._language != "python":
            return (block.fitting,)
        defined = [found[1] for line in block.lines if (found := _DEFINITION.match(line))]
        return block.fitting, self._name in defined, bool(defined), parse(self._text(block)) is not None

    def _text(self, block: _Block) -> str:
        """Return a block as code: of an interactive session, what was typed."""
        if self._language != "python" or not _is_session(block.lines):
            return "\n".join(block.lines)
        return "\n".join(line[4:] for line in block.lines if _SESSION.match(line))


def _canonical(language: str) -> str:
    lowered = language.lower()
    return "python" if lowered in {"py", "python3", "py3"} else lowered


def _unfinished(lines: list[str]) -> str | None:
    """Say whether the next line belongs to a `string` or a `bracket` that is still open."""
    try:
        for _ in tokenize.generate_tokens(io.StringIO("\n".join(lines) + "\n").readline):
            pass
    except tokenize.TokenError as error:
        problem = str(error)
        if "triple" in problem or "multi-line string" in problem:
            return "string"
        return "bracket" if "multi-line statement" in problem else None
    except SyntaxError:
        return None
    return None


def _is_statement(line: str) -> bool:
    """Whether a line that is not indented is Python rather than prose."""
    if re.match(r"(?:else|elif|except|finally|try|case)\b.*:|@\w|#|[)\]}]", line):
        return True
    for text in (line, f"{line}\n    pass"):
        tree = parse(text)
        if tree and tree.body:
            first = tree.body[0]
            return not isinstance(first, ast.Expr) or isinstance(first.value, (ast.Call, ast.Constant, ast.Await))
    opens = re.match(r"[A-Za-z_][\w.]*(?:\[.*\])?\s*(?:[-+*/|&%^@]?=|\()", line)
    return opens is not None and _unfinished([line]) is not None


def _bare(lines: list[str]) -> str:
    """Return the statements among prose, if they are correct in syntax."""
    kept: list[str] = []
    for line in lines:
        if _is_statement(line) or (kept and (line[:1].isspace() or not line or _unfinished(kept))):
            kept.append(line)
        elif kept:
            break
    text = _joined(kept)
    return text if parse(text) else ""


def _joined(lines: list[str]) -> str:
    """Return lines as text, without blank ones at either end."""
    filled = [number for number, line in enumerate(lines) if line.strip()]
    return "\n".join(lines[filled[0] : filled[-1] + 1]) if filled else ""


def _is_session(lines: list[str]) -> bool:
    first = next((line for line in lines if line.strip()), "")
    return _SESSION.match(first) is not None
