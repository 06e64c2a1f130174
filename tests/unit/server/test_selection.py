from __future__ import annotations

import pytest

from server.selection import dedent, derive_description

DOCSTRING = 'def f(x):\n    """Reverse a\n    text.\n\n    Details.\n    """\n    return x[::-1]'


@pytest.mark.parametrize(
    ("code", "above", "description"),
    [
        (DOCSTRING, ["# other"], "Reverse a text."),
        ('def f(x):\n    """Double.\n    >>> f(1)\n    2\n    """\n    return 2 * x', [], "Double."),
        ("# Double a number.\ndef f(x):\n    return 2 * x", ["# other"], "Double a number."),
        ("def f(x):\n    return 2 * x", ["x = 1", "# Double a", "# number. TODO"], "Double a number."),
        ("def f(x):\n    return 2 * x", ["# far away", ""], "F"),
        ("def reverse_words(x):\n    return x", [], "Reverse words"),
        ("class HTTPServerPool:\n    pass", [], "Http server pool"),
        ("class ServerPool:\n    pass", [], "Server pool"),
        ("import re\n\nasync def readAll():\n    pass", [], "Read all"),
        ("# Sum them.\ntotal = sum(x)", [], "Sum them."),
        ("total = sum(x)", [], None),
        ("def broken(:", [], None),
        ("def broken(:", ["# Mend it."], "Mend it."),
        ("\x00", [], None),
    ],
)
def test_the_description_comes_from_the_first_thing_that_tells(
    code: str, above: list[str], description: str | None
) -> None:
    assert derive_description(code, above) == description


def test_a_selection_is_dedented_as_a_whole() -> None:
    assert dedent("\n    def f():\n        pass\n\n") == "def f():\n    pass"


def test_tabs_and_spaces_that_are_mixed_are_aligned() -> None:
    assert dedent("\tdef f():\n\t    pass\n    x = 1") == "def f():\n    pass\nx = 1"
