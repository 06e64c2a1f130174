"""What counts as text that can be stored, embedded and shown to a model.

Standard library only.
"""

from __future__ import annotations

import re

from core.errors import InvalidParams

QUERY_LIMIT = 8_000
"""Characters of a question or a description: a few sentences, a page at most."""
CODE_LIMIT = 200_000
"""Characters of selected code, an implementation or tests."""

_UNUSABLE = re.compile("[\x00-\x08\x0b\x0e-\x1f]|[\ud800-\udfff]")


def check_text(field: str, text: str, limit: int) -> None:
    """Accept a text or say what is wrong with it.

    Raises:
        InvalidParams: It is empty, longer than `limit` characters, or holds what is no text.
    """
    if not text.strip():
        raise InvalidParams(field, "is empty")
    if len(text) > limit:
        raise InvalidParams(field, f"has {len(text):,} characters; at most {limit:,} are allowed")
    found = _UNUSABLE.search(text)
    if found is None:
        return
    character, position = found.group(), found.start()
    if character < " ":
        raise InvalidParams(field, f"holds the control character {character!r} at position {position}: not a text")
    raise InvalidParams(field, f"holds half a character ({character!r}) at position {position}: not valid Unicode")
