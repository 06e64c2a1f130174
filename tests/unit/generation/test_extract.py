from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.generation.extract import StreamingExtractor, extract_code

ADD = "def add(a, b):\n    return a + b"


def fence(code: str, info: str = "python", marker: str = "```") -> str:
    return f"{marker}{info}\n{code}\n{marker}"


@pytest.mark.parametrize(
    "reply",
    [
        fence(ADD),
        f"Sure! Here is the code:\n\n{fence(ADD)}\n\nIt adds two numbers.",
        f"```python\n{ADD}",
        f"```python\n{ADD}\n",
        f"```\n{ADD}\n```",
        f"```py\n\n\n{ADD}\n\n```",
        f"``` Python3\n{ADD}\n```",
        fence(ADD, marker="~~~"),
        fence(ADD, marker="````"),
        f"```python\n```python\n{ADD}\n```",
        f"1. Use this:\n\n   ```python\n   {ADD.replace(chr(10), chr(10) + '   ')}\n   ```",
        ADD,
        f"\n{ADD}\n\nThis function adds two numbers.",
        f"Here is the function.\n\n{ADD}\n\nNote that it works for strings as well.",
        f"{ADD}\n```\nThe fence was opened by the prompt.",
        fence(ADD).replace("\n", "\r\n"),
        f"{fence(ADD)}\n\nUse it like this:\n\n{fence('print(add(1, 2))')}",
        f"First install it:\n{fence('pip install numbers', 'bash')}\nThen:\n{fence(ADD)}",
        f"Output:\n{fence('3', 'text')}\nCode:\n{fence(ADD)}",
        f"```python\n{ADD}\n>>> add(1, 2)\n3\n```",
        f"{fence('>>> add(1, 2)' + chr(10) + '3')}\n{fence(ADD)}",
        f"{fence(ADD)}\n{fence('def add(a, b):' + chr(10) + '    return b + a')}",
    ],
)
def test_the_code_is_found_in_replies_of_all_shapes(reply: str) -> None:
    assert extract_code(reply) == ADD


def test_of_several_blocks_the_one_that_defines_what_was_asked_is_taken() -> None:
    reply = f"{fence('def helper():' + chr(10) + '    pass')}\n{fence(ADD)}"
    assert extract_code(reply, name="add") == ADD


def test_a_block_of_imports_goes_before_the_block_that_needs_them() -> None:
    assert extract_code(f"{fence('import math')}\nThen\n{fence(ADD)}") == f"import math\n{ADD}"


def test_if_nothing_has_the_name_that_was_asked_the_best_definition_is_taken() -> None:
    assert extract_code(f"{fence('x = 1')}\n{fence(ADD)}", name="total") == ADD


def test_an_interactive_session_gives_what_was_typed() -> None:
    assert extract_code(fence(">>> x = 1\n>>> for i in range(x):\n...     print(i)\n0")) == (
        "x = 1\nfor i in range(x):\n    print(i)"
    )


def test_statements_without_a_definition_or_a_fence_are_found() -> None:
    assert extract_code("You can write:\nwith open('f') as f:\n    print(f.read())\nThat is all.") == (
        "with open('f') as f:\n    print(f.read())"
    )


@pytest.mark.parametrize("reply", ["", "\n\n", "I am sorry, I do not know.", "Sure. Done", "This (really) is prose"])
def test_prose_gives_no_code(reply: str) -> None:
    assert extract_code(reply) == ""


def test_a_fence_inside_a_string_belongs_to_the_code() -> None:
    code = 'TEXT = """\n```\nnot the end\n```\n"""\nprint(TEXT)'
    assert extract_code(f"{fence(code)}\nDone.") == code


def test_code_that_spans_brackets_strings_and_blank_lines_stays_whole_without_a_fence() -> None:
    code = (
        "import re\n\nWORDS = [\n'a',\n'b',\n]\n\n\n"
        'def f():\n    """Text\nat the margin."""\n    return WORDS\n\n\nclass A:\n    x = 1'
    )
    assert extract_code(f"{code}\n\nThe list is short.") == code


def test_another_language_takes_its_own_block() -> None:
    assert extract_code(f"{fence(ADD)}\n{fence('let x = 1', 'js')}", language="js") == "let x = 1"


def test_another_language_without_a_fence_is_taken_whole() -> None:
    assert extract_code("let x = 1\n", language="js") == "let x = 1"


def test_code_is_passed_on_before_the_block_ends() -> None:
    extractor = StreamingExtractor()
    assert extractor.feed("```python\n") == ""
    assert extractor.feed("def add(a, b):\n    ret") == "def add(a, b):\n    ret"
    assert extractor.feed("urn a + b\n") == "urn a + b"
    assert extractor.feed("``") == ""
    assert extractor.feed("`\nDone.") == ""
    assert extractor.finish() == ""


pieces = st.sampled_from(
    [
        "def add(a, b):\n",
        "    return a + b\n",
        "```",
        "```python\n",
        "~~~\n",
        "\n",
        "\r\n",
        "   ",
        "import math\n",
        "Here is text.\n",
        ">>> add(1)\n",
        '"""',
        "x = (\n",
        ")\n",
        "class A:\n",
        "`",
        "~",
        "\r",
        "# comment\n",
        "é",
    ]
)
replies = st.lists(pieces, max_size=30).map("".join)


@given(reply=replies, name=st.sampled_from([None, "add"]), data=st.data())
def test_pieces_of_any_size_add_up_to_what_the_whole_reply_gives(
    reply: str, name: str | None, data: st.DataObject
) -> None:
    extractor = StreamingExtractor(name=name)
    streamed = ""
    position = 0
    while position < len(reply):
        size = data.draw(st.integers(1, 7))
        streamed += extractor.feed(reply[position : position + size])
        position += size
    assert streamed + extractor.finish() == extract_code(reply, name=name)


@given(st.text())
def test_any_text_gives_code_or_nothing(reply: str) -> None:
    assert isinstance(extract_code(reply), str)


@given(replies)
def test_what_was_extracted_stays_the_same_when_it_is_fenced_again(reply: str) -> None:
    code = extract_code(reply, language="other")
    if "`" not in code and "~" not in code and code.strip() and not code[0].isspace() and "\r" not in code:
        assert extract_code(fence(code, "other"), language="other") == code
