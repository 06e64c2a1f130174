from __future__ import annotations

from typing import Any

import pytest

from core.generation.method import as_function, as_method, call_on
from core.generation.postprocess import indent


def instance(method: str) -> Any:
    """Return an object of a class that has the method."""
    scope: dict[str, Any] = {}
    exec("class It:\n" + indent(method, "    "), scope)
    return scope["It"]()


def test_a_function_is_given_the_object_and_keeps_its_parameters() -> None:
    assert as_method("def f(a, *, b=2):\n    return a + b") == "def f(self, a, *, b=2):\n    return a + b"
    assert as_method("def f():\n    return 1") == "def f(self):\n    return 1"
    assert as_method("def f(\n    a,\n):\n    return a") == "def f(self,\n    a,\n):\n    return a"
    assert as_method("async def f(a): return a") == "async def f(self, a): return a"


def test_a_function_that_calls_itself_does_so_on_the_object() -> None:
    method = as_method(
        'def fib(n):\n    """fib(3) is 2."""\n    return n if n < 2 else fib(n - 1) + sum(map(fib, [n - 2]))'
    )
    assert instance(method).fib(10) == 55
    assert '"""fib(3) is 2."""' in method


def test_what_a_function_needs_goes_into_it_behind_its_docstring() -> None:
    method = as_method(
        "import math\nfrom typing import List\n\nLIMIT = 3\n\n"
        "def is_small(x):\n    return x < LIMIT\n\n"
        'def roots(xs: List[int]) -> List[float]:\n    """Roots."""\n'
        "    return [math.sqrt(x) for x in xs if is_small(x)]\n"
    )
    one = instance(method)
    assert one.roots([1, 4, 0]) == [1.0, 0.0]
    assert one.roots.__doc__ == "Roots."
    assert [name for name in vars(type(one)) if not name.startswith("__")] == ["List", "roots"]


def test_comments_above_what_is_moved_go_with_it() -> None:
    method = as_method("# of a week\nDAYS = 7\n\n# Weeks are whole.\ndef f(n):\n    return n // DAYS")
    assert method == "# Weeks are whole.\ndef f(self, n):\n    # of a week\n    DAYS = 7\n    return n // DAYS"


def test_what_a_decorator_or_default_needs_stays_before_the_function() -> None:
    method = as_method(
        "from functools import lru_cache\n\nSTART = 1\n\n@lru_cache\ndef f(n, a=START):\n"
        "    return a if n == 0 else f(n - 1) * n + START - 1"
    )
    assert instance(method).f(5) == 120


def test_strings_over_several_lines_keep_their_value() -> None:
    method = as_method('TEXT = """a\n  b"""\ndef f():\n    return TEXT')
    assert instance(method).f() == "a\n  b"


@pytest.mark.parametrize(
    "code",
    [
        "def f(self, a):\n    return a",
        "def f(a):\n    self = a\n    return self",
        "x = 1",
        "print('hello')\ndef f(a):\n    return a",
        "def f(a):\n    return a\nf(1)",
        "class A:\n    def f(self): ...",
        "from os import *\ndef f(a):\n    return a",
        "from __future__ import annotations\ndef f(a):\n    return a",
        "import os\ndef f(a): return a",
        "memo = {}\ndef f(a):\n    memo[a] = len(memo)\n    return memo[a]",
        "count = 0\ndef f():\n    global count\n    count += 1\n    return count",
        "class A: ...\ndef f():\n    return A()",
        "@cache\ndef g(a):\n    return a\ndef f(a):\n    return g(a)",
        "def f(a:\n",
    ],
)
def test_code_that_is_no_single_function_is_left_alone(code: str) -> None:
    assert as_method(code) == code


def test_a_name_that_means_something_else_within_is_left_alone() -> None:
    method = as_method("def f(a):\n    def g(f):\n        return f(a)\n    return g(abs)")
    assert instance(method).f(-3) == 3


def test_a_function_calls_itself_on_whatever_the_object_is_called() -> None:
    code = "def f(n):\n    return 1 if n == 0 else n * f(n - 1)"
    assert call_on(code, "f", "this") == "def f(n):\n    return 1 if n == 0 else n * this.f(n - 1)"
    assert call_on("def f(n):\n    return self.f(n)", "f", "self") == "def f(n):\n    return self.f(n)"
    assert call_on("def f(:", "f", "self") == "def f(:"


@pytest.mark.parametrize(
    "code",
    [
        "def f(n):\n    return 1 if n == 0 else n * f(n - 1)",
        "def f():\n    return 1",
        "def f(n, *, m=1):\n    def g():\n        return f(m)\n    return g() if n else m",
    ],
)
def test_a_method_becomes_the_function_again_that_it_was(code: str) -> None:
    assert as_function(as_method(code)) == code


@pytest.mark.parametrize(
    "code",
    [
        "def f(self):\n    return self.x",
        "def f(self, g):\n    return g(self)",
        "def f(self):\n    class A:\n        def g(self): ...\n    return A()",
        "def f(self, a):\n    f = a\n    return self.f(f)",
        "def f(self: int, a):\n    return a",
        "def f(a, self):\n    return a",
        "class A:\n    def f(self): ...",
        "def f[T](self, a: T):\n    return a",
    ],
)
def test_a_method_that_needs_its_object_stays_one(code: str) -> None:
    assert as_function(code) == code
