"""From a model's reply to code that fits into a document."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Iterator

from core.messages import Checks


def extract_code(reply: str, language: str = "python", name: str | None = None) -> str:
    """Return the code of a reply, without prose and fences; empty if there is none.

    Args:
        reply: What the model said.
        language: Of the code that was asked for.
        name: Function or class that was asked for, if known.
    """
    extractor = StreamingExtractor(language, name)
    return extractor.feed(reply) + extractor.finish()


class StreamingExtractor:
    """Turns the text of a reply into the text of its code, piece by piece.

    All pieces together are what `extract_code` returns for the whole reply.
    """

    def __init__(self, language: str = "python", name: str | None = None) -> None:
        self._language = language
        self._name = name
        self._text = ""

    def feed(self, text: str) -> str:
        """Take a piece of the reply and return the code that has become certain."""
        self._text += text
        return ""

    def finish(self) -> str:
        """Return the rest of the code, now that the reply is complete."""
        text = self._text.replace("\r\n", "\n")
        blocks = re.findall(r"^ *```[^\n`]*\n(.*?)(?:^ *```|\Z)", text, re.DOTALL | re.MULTILINE)
        wanted = [block for block in blocks if self._name and re.search(rf"\b{self._name}\b", block)]
        return (wanted or blocks or [text])[0].strip("\n")


def check_syntax(code: str, language: str = "python") -> Checks | None:
    """Say whether the code parses; None if nothing here can tell for this language."""
    if language != "python":
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(code)
    except SyntaxError as error:
        where = f"line {error.lineno}: " if error.lineno else ""
        return Checks(syntax=False, problem=f"{where}{error.msg}")
    except (ValueError, RecursionError, MemoryError) as error:
        return Checks(syntax=False, problem=str(error) or type(error).__name__)
    return Checks(syntax=True)


def indent(code: str, prefix: str) -> str:
    """Put `prefix` before every line of code, except inside strings that span lines."""
    inside = set(_lines_inside_strings(code))
    lines = code.replace("\r\n", "\n").split("\n")
    return "\n".join(
        line if number in inside or not line.strip() else prefix + line for number, line in enumerate(lines, start=1)
    )


def _lines_inside_strings(code: str) -> Iterator[int]:
    """Yield the numbers of lines that begin inside a string."""
    try:
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            if token.type == tokenize.STRING:
                yield from range(token.start[0] + 1, token.end[0] + 1)
    except (tokenize.TokenError, SyntaxError):
        return
