"""Documents as requests see them: a snapshot that later edits do not touch."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from lsprotocol.types import PositionEncodingKind
from pygls.uris import to_fs_path
from pygls.workspace import TextDocument, Workspace

from core.errors import InvalidParams, NotFound
from core.messages import CodeSelection
from server.params import DocumentReference
from server.positions import LinedText, Range

MAX_SELECTION = 200_000
"""Bytes of UTF-8; several times what any of the models can read."""

MAX_FILE = 20_000_000
"""Bytes of a file that no editor has open."""

_PYTHON_SUFFIXES = frozenset({".py", ".pyi", ".pyw", ".ipynb"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A document at one moment."""

    uri: str
    version: int | None
    """`None` for a file that is not open in the editor."""
    language: str
    text: LinedText
    encoding: PositionEncodingKind

    @property
    def name(self) -> str:
        """The last part of the document's path, for people."""
        return PurePosixPath(unquote(self.uri)).name or self.uri

    def selection(self, chosen: Range) -> CodeSelection:
        """Return the code in a range.

        Raises:
            InvalidParams: The range is empty, reversed, outside of the document or too large.
        """
        start = self.text.offset(chosen.start, self.encoding, "range.start")
        end = self.text.offset(chosen.end, self.encoding, "range.end")
        if (chosen.end.line, chosen.end.character) < (chosen.start.line, chosen.start.character):
            raise InvalidParams("range", "ends before it starts")
        text = self.text.text[self._start_of_indent(start) : end]
        _check_selected(text)
        return CodeSelection(
            text=text, language=self.language, name=self.name, start_line=min(chosen.start.line + 1, self._last_line)
        )

    @property
    def _last_line(self) -> int:
        return len(self.text.starts)

    def _start_of_indent(self, offset: int) -> int:
        """Return where the line starts if only whitespace comes before `offset`, so that lines stay aligned."""
        line = self.text.position(offset, PositionEncodingKind.Utf32).line
        start = self.text.starts[line]
        return offset if self.text.text[start:offset].strip() else start


def take_snapshot(workspace: Workspace, reference: DocumentReference) -> Snapshot:
    """Return the document as the editor shows it, or as it is on disk if it is not open.

    Raises:
        InvalidParams: The editor's version differs from the one the request is about.
        NotFound: There is no such document.
    """
    document = open_document(workspace, reference.uri)
    if document is None and reference.version is not None:
        raise NotFound(f"The document {reference.uri} is not open, so it has no version {reference.version}.")
    if document is not None and reference.version not in {None, document.version}:
        raise InvalidParams(
            "textDocument.version",
            f"is {reference.version}, but the document has version {document.version} by now; send the request again",
        )
    text = _read_file(reference.uri) if document is None else document.source
    return Snapshot(
        uri=reference.uri,
        version=None if document is None else document.version,
        language=_language(reference.uri, document),
        text=LinedText.of(text),
        encoding=PositionEncodingKind(workspace.position_encoding or PositionEncodingKind.Utf16),
    )


def open_document(workspace: Workspace, uri: str) -> TextDocument | None:
    """Return the document if the editor has it open."""
    document: TextDocument | None = workspace.text_documents.get(unquote(uri))
    return document


def _check_selected(text: str) -> None:
    if not text.strip():
        raise InvalidParams("range", "selects nothing but whitespace; select the code you mean")
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_SELECTION:
        raise InvalidParams(
            "range",
            f"selects {size / 1000:,.0f} kB, but at most {MAX_SELECTION / 1000:,.0f} kB can be read; select less",
        )


def _read_file(uri: str) -> str:
    if not uri.startswith("file:"):
        raise NotFound(f"The document {uri} is not open in the editor.")
    path = to_fs_path(uri) or ""
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            raise NotFound(f"The document {path} is not open, and is no ordinary file.")
        if status.st_size > MAX_FILE:
            raise NotFound(f"{path} has {status.st_size / 1e6:.0f} MB; at most {MAX_FILE / 1e6:.0f} MB are read.")
        # Not read_text, which would change the line ends.
        return Path(path).read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotFound(f"{path} is no UTF-8 text (byte {error.start}).") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise NotFound(f"The document {path} is not open, and cannot be read: {reason}.") from error


def _language(uri: str, document: TextDocument | None) -> str:
    if document is not None and document.language_id:
        return document.language_id
    suffix = PurePosixPath(uri).suffix.lower()
    return "python" if suffix in _PYTHON_SUFFIXES else suffix.lstrip(".") or "plaintext"
