from __future__ import annotations

from typing import Any

import pytest
from fakes.memory_editor import MemoryEditor

URI = "file:///work.py"
TEXT = "# sort a list\n\ndef f(x):\n    return x\n"
LITERALS = {"textDocument": {"codeAction": {"codeActionLiteralSupport": {"codeActionKind": {"valueSet": []}}}}}

EXPLAIN, GENERATE, TEACH = "Explain selection", "Generate code from this comment", "Teach this as a task"


def params(start: tuple[int, int], end: tuple[int, int], **context: Any) -> dict[str, Any]:
    return {
        "textDocument": {"uri": URI},
        "range": {
            "start": {"line": start[0], "character": start[1]},
            "end": {"line": end[0], "character": end[1]},
        },
        "context": {"diagnostics": [], **context},
    }


@pytest.mark.parametrize(
    ("start", "end", "titles"),
    [
        ((0, 3), (0, 3), [GENERATE]),
        ((1, 0), (1, 0), [GENERATE]),
        ((0, 0), (0, 8), [EXPLAIN, GENERATE]),
        ((0, 0), (4, 0), [EXPLAIN, GENERATE, TEACH]),
        ((2, 0), (4, 0), [EXPLAIN, TEACH]),
        ((3, 0), (3, 4), []),
        ((3, 6), (3, 6), []),
    ],
)
async def test_actions_are_offered_where_they_make_sense(
    editor: MemoryEditor, start: tuple[int, int], end: tuple[int, int], titles: list[str]
) -> None:
    await editor.initialize(LITERALS)
    editor.open(URI, TEXT)
    assert [one["title"] for one in await editor.request("textDocument/codeAction", params(start, end))] == titles


async def test_an_action_holds_all_that_its_command_needs(editor: MemoryEditor) -> None:
    await editor.initialize(LITERALS)
    editor.open(URI, TEXT, version=7)
    chosen = params((0, 0), (4, 0))
    explain, generate, teach = await editor.request("textDocument/codeAction", chosen)
    document = {"uri": URI, "version": 7}
    whole = [{"textDocument": document, "range": chosen["range"]}]
    assert (explain["command"]["command"], explain["command"]["arguments"]) == ("assistant.explainSelection", whole)
    assert (teach["command"]["command"], teach["command"]["arguments"]) == ("assistant.teachSelection", whole)
    assert generate["command"]["arguments"] == [{"textDocument": document, "position": chosen["range"]["start"]}]


@pytest.mark.parametrize(
    ("only", "count"),
    [
        ([], 0),
        ([""], 3),
        (["assistant"], 3),
        (["assistant.explain"], 1),
        (["assistant.explain", "assistant.teach"], 2),
        (["refactor", "quickfix", "source.organizeImports", "assistant.expl"], 0),
    ],
)
async def test_only_the_kinds_asked_for_are_offered(editor: MemoryEditor, only: list[str], count: int) -> None:
    await editor.initialize(LITERALS)
    editor.open(URI, TEXT)
    assert len(await editor.request("textDocument/codeAction", params((0, 0), (4, 0), only=only))) == count


async def test_an_editor_that_knows_only_commands_gets_commands(editor: MemoryEditor) -> None:
    await editor.initialize()
    editor.open(URI, TEXT)
    offered = await editor.request("textDocument/codeAction", params((0, 0), (4, 0)))
    assert [one["command"] for one in offered] == [
        "assistant.explainSelection",
        "assistant.generateFromComment",
        "assistant.teachSelection",
    ]


async def test_a_range_outside_of_the_document_is_refused(editor: MemoryEditor) -> None:
    await editor.initialize(LITERALS)
    editor.open(URI, TEXT)
    error = await editor.refused("textDocument/codeAction", params((0, 0), (99, 0)))
    assert (error["code"], error["data"]["field"]) == (-32602, "range.end.line")


async def test_an_unknown_document_is_refused(editor: MemoryEditor) -> None:
    await editor.initialize(LITERALS)
    error = await editor.refused("textDocument/codeAction", params((0, 0), (0, 0)))
    assert (error["code"], error["data"]["code"]) == (-32803, "notFound")
