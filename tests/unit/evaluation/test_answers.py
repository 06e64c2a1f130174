from __future__ import annotations

from core.evaluation.answers import preamble, under_name

PROMPT = '''import math


def helper(x: float) -> float:
    return math.sqrt(x)


def wanted(n: int) -> float:
    """Half of the root."""
'''


def test_what_stands_before_the_function_is_kept() -> None:
    assert preamble(PROMPT, "wanted").strip().endswith("return math.sqrt(x)")
    assert "wanted" not in preamble(PROMPT, "wanted")
    assert preamble('def wanted():\n    """Nothing before."""\n', "wanted") == ""


def run(code: str) -> dict[str, object]:
    names: dict[str, object] = {}
    exec(code, names)
    return names


def test_the_only_function_can_be_called_by_the_name_of_the_tests() -> None:
    names = run(under_name("import math\ndef half(x):\n    return x / 2", "f"))
    assert names["f"] is names["half"]


def test_a_function_that_has_the_name_is_left_alone() -> None:
    for code in ("def f(x):\n    return x", "def g(x):\n    return x\nf = g", "class f: ..."):
        assert under_name(code, "f") == code


def test_nothing_is_guessed_among_several_functions_or_without_any() -> None:
    for code in ("def a(): ...\ndef b(): ...", "x = 1", "def broken(:"):
        assert under_name(code, "f") == code
