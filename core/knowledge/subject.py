"""What a request or a description is about, without the words that ask for it.

"Write a Python function to find the perimeter of a rectangle" is about the perimeter of a
rectangle. The rest makes every two requests alike that are worded so, and hides how alike they
are where only one of them is.
"""

from __future__ import annotations

import re

REVISION = "1"
"""To be changed with what `subject_of` returns: stored vectors describe that."""

_POLITE = r"(?:(?:please|kindly|now)\s+)*(?:(?:can|could|would)\s+you\s+(?:please\s+)?)?"
_VERB = (
    r"(?:write|create|implement|develop|build|define|design|make|produce|generate|code|provide|show(?:\s+me)?|"
    r"give\s+me|i\s+(?:need|want))"
)
_PLAIN = r"(?:(?:simple|small|short|little|new|python\s*3?)\s+)*"
_KINDS = ("function", "method", "program", "script", "routine", "procedure", "snippet", "one-?liner", "helper", "code")
_KIND = rf"(?:{'|'.join(_KINDS)})"
_LINK = r"(?:(?:that|which)\s+(?:can\s+|will\s+|should\s+)?|to\s+|for\s+|of\s+)?"
_OPENING = re.compile(
    rf"[\s#>*\"'/-]*{_POLITE}{_VERB}\s+(?:me\s+)?(?:(?:an?|the|some)\s+)?{_PLAIN}{_KIND}\b"
    rf"(?:\s+in\s+python\s*3?)?[\s,:]*{_LINK}",
    re.IGNORECASE,
)
_SIGNS = tuple(kind.rpartition("?")[2] for kind in _KINDS)
"""One of these is part of every opening, and found, or not, in a tenth of the time."""
_LANGUAGE = re.compile(r"\s*\b(?:in|using|with)\s+python\s*3?\b(?!\w)", re.IGNORECASE)
_FEWEST_WORDS = 2
"""Of what is left; fewer do not describe a task."""


def subject_of(text: str) -> str:
    """Return the text without its opening and without the name of the language."""
    small = text.lower()
    rest = _OPENING.sub("", text, count=1) if any(sign in small for sign in _SIGNS) else text
    subject = (_LANGUAGE.sub("", rest) if "python" in small else rest).strip()
    return subject if len(subject.split()) >= _FEWEST_WORDS else text
