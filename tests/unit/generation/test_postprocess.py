from __future__ import annotations

import ast
import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.generation.postprocess import check_syntax, indent

NESTED = '''def f(x):
    """Summary.

    More, with an example:

        >>> f(1)
    """
    text = """first
  second
"""
    def g():
        return (x,
   text)

    return f"""{x}
{text}""", 'a\\
b'
'''


def test_correct_code_passes() -> None:
    checks = check_syntax("def f():\n    return 1\n")
    assert checks is not None
    assert checks.syntax
    assert checks.problem is None


@pytest.mark.parametrize(
    ("code", "words"), [("x = 1\ndef f(:\n", "line 2"), ("x = '\0'", "null"), ("(" * 5000 + ")" * 5000, "")]
)
def test_a_problem_names_the_line_or_the_reason(code: str, words: str) -> None:
    checks = check_syntax(code)
    assert checks is not None
    assert not checks.syntax
    assert words in str(checks.problem)


def test_a_language_that_cannot_be_checked_is_not_judged() -> None:
    assert check_syntax("let x = 1", "javascript") is None


def test_every_line_of_code_is_indented_but_empty_ones() -> None:
    assert indent("def f():\n\n    return 1\n", "\t") == "\tdef f():\n\n\t    return 1\n"


def test_line_ends_become_plain_newlines() -> None:
    assert indent("if x:\r\n    y()\r\n", "  ") == "  if x:\n      y()\n"


def test_docstrings_move_with_the_code() -> None:
    code = 'def f():\n    """One.\n\n    Two.\n    """\n'
    assert indent(code, "    ") == '    def f():\n        """One.\n\n        Two.\n        """\n'


def test_other_strings_keep_their_value() -> None:
    assert indent('x = """a\n  b"""\ny = 1', "    ") == '    x = """a\n  b"""\n    y = 1'


def test_text_of_another_language_is_indented_line_by_line() -> None:
    assert indent("a '''\nb", "  ", language="text") == "  a '''\n  b"


def test_code_that_is_no_python_is_indented_all_the_same() -> None:
    assert indent('def f(:\n  x = """\nend', "  ").startswith("  def f(:\n    x = ")


def meaning(tree: ast.Module) -> str:
    """Dump a syntax tree, with strings that are statements as `inspect.getdoc` shows them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            node.value.value = inspect.cleandoc(node.value.value)
    return ast.dump(tree)


def below_an_if(code: str) -> ast.Module:
    tree = ast.parse("if 1:\n pass")
    branch = tree.body[0]
    assert isinstance(branch, ast.If)
    branch.body = ast.parse(code).body
    return tree


statements = st.sampled_from(
    [
        "x = 1",
        "x = '''a\n b\n\tc\n'''",
        'y = f"""{x}\n  {x}\n"""',
        '"""Doc.\n\n    More.\n  Less.\n   \n"""',
        '"""Doc \\\n   more."""',
        '"""Tabs\n\tand\n        spaces."""',
        "z = [\n1,\n      2,\n]",
        "t = 'a\\\n b'",
        "w = (1 +\\\n2)",
        "def f():\n    '''Inner.\n\n    Text.\n    '''\n    return '''\n'''",
        "class A:\n\t'''Doc\n\tin tabs.\n\t'''\n\tx = '''\n\t'''",
        "# comment\n",
        "b'''bytes\n  here'''",
        "g = '''a'''  '''b\n c'''",
        "\n",
        "if x:\n  pass\n",
    ]
)


@given(st.lists(statements, max_size=8), st.sampled_from([" ", "    ", "\t", "\t\t", "  \t"]))
def test_indented_code_means_the_same(parts: list[str], prefix: str) -> None:
    code = "\n".join(["pass", *parts, "pass"])
    assert meaning(ast.parse(f"if 1:\n{indent(code, prefix)}")) == meaning(below_an_if(code))


def test_a_realistic_function_means_the_same() -> None:
    assert meaning(ast.parse(f"if 1:\n{indent(NESTED, '    ')}")) == meaning(below_an_if(NESTED))
