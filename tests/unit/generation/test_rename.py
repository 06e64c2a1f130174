from __future__ import annotations

from typing import Any

import pytest

from core.generation.rename import RenameRefused, rename_global, rename_parameters


def run(source: str) -> Any:
    """Run the source and return its `result`."""
    names: dict[str, Any] = {}
    exec(source, names)
    return names["result"]


@pytest.mark.parametrize(
    "source",
    [
        "def old(n):\n    return 1 if n < 2 else n * old(n - 1)\nresult = old(5)",
        "def old():\n    old = 3\n    return old\nresult = old()",
        "def old():\n    return [old for old in range(3)]\nresult = old()",
        "class A:\n    def old(self):\n        return 1\ndef old():\n    return A().old() + 1\nresult = old()",
        "def old():\n    def inner():\n        return old.__name__ != ''\n    return inner()\nresult = old()",
        "def old(n):\n    return f'{n} {old(n - 1) if n else 0!r:>{n}}'\nresult = old(3)",
        "def old(é='ö'):\n    return ('ü', old.__defaults__)\nresult = old()",
        "def twice(f):\n    return lambda: f() * 2\n@twice\ndef old():\n    return 1\nresult = old()",
        "def old(a=1, *args, b=2, **kwargs) -> int:\n    return (lambda old: old)(a + b)\nresult = old()",
        "def old():\n    return 1\ndef other():\n    global old\n    return 0\nresult = other()",
        "def old(x):\n    match x:\n        case [old, *rest]:\n            return old, rest\nresult = old([1, 2])",
        "class A:\n    old = 5\n    seen = old\n    def f(self):\n        return old()\ndef old():\n    return 2\nresult = A().f()",
    ],
)
def test_a_renamed_function_does_the_same(source: str) -> None:
    try:
        renamed = rename_global(source, "old", "renamed")
    except RenameRefused:
        assert "global old" in source
    else:
        assert run(renamed) == run(source)
        assert "def renamed(" in renamed


@pytest.mark.parametrize(
    "source",
    [
        "def new():\n    return 1\ndef old():\n    return new()",
        "def old(new):\n    return old(new - 1)",
        "def old():\n    return new",
        "new = 1\ndef old():\n    return 2",
        "import new\ndef old():\n    return 1",
        "def old():\n    return globals()['old']",
        "def old():\n    x = [old(new) for new in y]",
    ],
)
def test_a_name_that_would_be_captured_is_refused(source: str) -> None:
    with pytest.raises(RenameRefused):
        rename_global(source, "old", "new")


def test_a_local_of_the_new_name_that_does_not_meet_the_old_one_is_no_obstacle() -> None:
    source = "def old(s):\n    new = 0\n    for c in s:\n        new += c == 'a'\n    return new\nresult = old('aba')"
    assert run(rename_global(source, "old", "new")) == 2


@pytest.mark.parametrize(
    "source",
    [
        "def f(a, b):\n    return a - b\nresult = f(5, 2)",
        "def f(a, b):\n    return a if not b else f(b=b - 1, a=a + 1)\nresult = f(5, b=2)",
        "def f(a, b):\n    def g(a):\n        return a + b\n    return g(b) + a\nresult = f(5, 2)",
        "def f(a, b):\n    return [a for a in range(b)] + [b for b in [a]]\nresult = f(5, 2)",
        "def f(a, b):\n    a += 1\n    del b\n    return f'{a}'\nresult = f(5, 2)",
        "def f(a, b):\n    def g():\n        return a.bit_length() + b.b if hasattr(b, 'b') else a\n    return g()\nresult = f(5, 2)",
        "a = 7\ndef h():\n    return a\ndef f(a, b):\n    return a + h()\nresult = f(5, 2)",
        "def h(a):\n    return a\ndef f(a, b):\n    return h(a=a) + b\nresult = f(5, 2)",
        "def f(a, b: 'int' = 3):\n    return [(y := a), y + b]\nresult = f(5)",
    ],
)
def test_renamed_parameters_do_the_same(source: str) -> None:
    renamed = rename_parameters(source, "f", {"a": "first", "b": "second"})
    assert run(renamed) == run(source)
    assert "def f(first, second" in renamed


def test_parameters_may_change_places_with_each_other() -> None:
    source = "def f(a, b):\n    return a - b\nresult = f(5, 2)"
    assert rename_parameters(source, "f", {"a": "b", "b": "a"}) == "def f(b, a):\n    return b - a\nresult = f(5, 2)"


@pytest.mark.parametrize(
    "source",
    [
        "def f(a):\n    total = 1\n    return a + total",
        "def f(a):\n    return total(a)",
        "def f(a):\n    return lambda total: a",
        "def f(a):\n    return [a for total in x]",
        "def f(a):\n    nonlocal_ = 1\n    def g():\n        nonlocal a\n        a = 2\n    return g",
        "def f(a):\n    return eval('a')",
        "from functools import partial\ndef f(a):\n    return partial(f, a=1)",
    ],
)
def test_parameters_that_cannot_be_renamed_safely_are_refused(source: str) -> None:
    with pytest.raises(RenameRefused):
        rename_parameters(source, "f", {"a": "total"})


def test_all_but_the_names_stays_byte_for_byte() -> None:
    source = "def  f( a ,b = 2 ):  # about a\n\treturn  a+ b  ; \n\n\nx = 'a'\n"
    assert rename_parameters(source, "f", {"a": "x1"}) == (
        "def  f( x1 ,b = 2 ):  # about a\n\treturn  x1+ b  ; \n\n\nx = 'a'\n"
    )
