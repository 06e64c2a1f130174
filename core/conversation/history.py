"""Conversations on disk: raw turns in one JSON-lines file each, the summary beside it.

A turn is on the disk before `append` returns. The summary is derived from the turns and
replaced as a whole, so a crash leaves the old one or the new one; a damaged one is made again.
Files are the user's alone, since they hold source code.
"""

from __future__ import annotations

import json
import logging
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core import codec
from core.conversation.memory import Summary
from core.errors import AssistantError, InvalidParams, NotFound, StorageFailed
from core.messages import Conversation, ConversationList, ConversationSummary, Turn

log = logging.getLogger(__name__)

TITLE_LENGTH = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredConversation:
    """A conversation as it is on disk."""

    conversation_id: str
    turns: tuple[Turn, ...]
    summary: Summary | None


class History:
    """The conversations below one folder; one thread at a time may write to a conversation."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self) -> str:
        """Begin a conversation and return its id.

        Raises:
            StorageFailed: The folder cannot be written.
        """
        conversation_id = uuid.uuid4().hex
        with _storage_errors(self._folder):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._turns_file(conversation_id), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.close(descriptor)
            _sync_folder(self._folder)
        return conversation_id

    def load(self, conversation_id: str) -> StoredConversation:
        """Read a conversation.

        Raises:
            InvalidParams: The id is none that `create` could have returned.
            NotFound: There is no such conversation.
            StorageFailed: The file cannot be read, or a line of it is damaged.
        """
        file = self._existing(conversation_id)
        with _storage_errors(file):
            content = file.read_bytes()
        turns = tuple(_parse_turns(content, file))
        return StoredConversation(
            conversation_id=conversation_id, turns=turns, summary=self._load_summary(conversation_id, len(turns))
        )

    def append(self, conversation_id: str, turn: Turn) -> None:
        """Store a turn; it is on the disk when this returns.

        Raises:
            InvalidParams, NotFound: As for `load`.
            StorageFailed: The turn could not be written; the conversation is as it was.
        """
        file = self._existing(conversation_id)
        line = json.dumps(codec.encode(turn)).encode() + b"\n"
        with _storage_errors(file), file.open("r+b") as stream:
            end = _end_of_last_line(stream.read())
            try:
                stream.seek(end)
                stream.truncate()
                stream.write(line)
                stream.flush()
                os.fsync(stream.fileno())
            except OSError:
                stream.truncate(end)
                raise

    def commit_summary(self, conversation_id: str, summary: Summary) -> None:
        """Replace the summary, as a whole.

        Raises:
            InvalidParams, NotFound: As for `load`.
            StorageFailed: It could not be written; the old summary is still there.
        """
        self._existing(conversation_id)
        file = self._summary_file(conversation_id)
        new = file.with_suffix(".new")
        with _storage_errors(file):
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(json.dumps(codec.encode(summary)).encode())
                stream.flush()
                os.fsync(stream.fileno())
            new.replace(file)
            _sync_folder(self._folder)

    def list(self, limit: int) -> ConversationList:
        """Return the conversations that have turns, the one used last first."""
        with _storage_errors(self._folder):
            files = [file for file in self._folder.glob("*.jsonl") if file.stat().st_size]
            files.sort(key=lambda file: file.stat().st_mtime_ns, reverse=True)
        return ConversationList(conversations=[self._summarise(file.stem) for file in files[: max(0, limit)]])

    def show(self, conversation_id: str) -> Conversation:
        """Return a conversation for people.

        Raises:
            InvalidParams, NotFound, StorageFailed: As for `load`.
        """
        stored = self.load(conversation_id)
        return Conversation(
            conversation_id=conversation_id,
            title=_title(stored.turns),
            turns=list(stored.turns),
            summary=stored.summary.render() if stored.summary else None,
        )

    def forget(self, conversation_id: str) -> None:
        """Delete a conversation for good.

        Raises:
            InvalidParams, NotFound: As for `load`.
            StorageFailed: The files could not be deleted.
        """
        file = self._existing(conversation_id)
        with _storage_errors(file):
            for one in self._folder.glob(f"{conversation_id}.*"):
                one.unlink()
            _sync_folder(self._folder)

    def _turns_file(self, conversation_id: str) -> Path:
        return self._folder / f"{conversation_id}.jsonl"

    def _summary_file(self, conversation_id: str) -> Path:
        return self._folder / f"{conversation_id}.summary.json"

    def _existing(self, conversation_id: str) -> Path:
        """Return the file of a known conversation; an id is never taken for a path."""
        if not re.fullmatch(r"[0-9a-f]{32}", conversation_id):
            raise InvalidParams("conversationId", "must be an id that an earlier answer gave (32 hexadecimal digits)")
        file = self._turns_file(conversation_id)
        if not file.is_file():
            raise NotFound(
                f"There is no conversation {conversation_id}. Leave the id out to begin a new one.",
                conversation_id=conversation_id,
            )
        return file

    def _load_summary(self, conversation_id: str, turns: int) -> Summary | None:
        file = self._summary_file(conversation_id)
        try:
            summary = codec.decode(Summary, json.loads(file.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, AssistantError) as error:
            log.warning("The summary %s cannot be read (%s); it will be made again.", file, error)
            return None
        return summary if 0 < summary.covers <= turns else None

    def _summarise(self, conversation_id: str) -> ConversationSummary:
        """Describe one conversation; a damaged one is shown as such, and hides no other."""
        try:
            turns = self.load(conversation_id).turns
        except StorageFailed as error:
            return ConversationSummary(conversation_id=conversation_id, title=str(error), turns=0, updated_at="")
        return ConversationSummary(
            conversation_id=conversation_id,
            title=_title(turns),
            turns=len(turns),
            updated_at=turns[-1].created_at if turns else "",
        )


def _parse_turns(content: bytes, file: Path) -> Iterator[Turn]:
    """Read the complete lines; what follows the last one was never acknowledged."""
    for number, line in enumerate(content[: _end_of_last_line(content)].splitlines(), start=1):
        try:
            yield codec.decode(Turn, json.loads(line))
        except (ValueError, AssistantError) as error:
            raise StorageFailed(
                f"Line {number} of the conversation {file} is damaged ({error}). "
                "Mend or delete that line, or forget the conversation.",
                path=str(file),
            ) from error


def _end_of_last_line(content: bytes) -> int:
    return content.rfind(b"\n") + 1


def _title(turns: tuple[Turn, ...]) -> str:
    if not turns:
        return ""
    words = " ".join(turns[0].question.split())
    return words if len(words) <= TITLE_LENGTH else words[: TITLE_LENGTH - 1] + "…"


def _sync_folder(folder: Path) -> None:
    """Make created, renamed and deleted names durable, where the system lets folders be synced."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFailed(
            f"{path} cannot be used: {error.strerror or error}. Check the free space and the permissions.",
            path=str(path),
        ) from error
