from __future__ import annotations

from typing import Any

import pytest
from fakes.memory_editor import MemoryEditor
from fakes.scripted_engine import ScriptedEngine

PULL = {"workspace": {"configuration": True}}


async def settings_after_start(editor: MemoryEditor, engine: ScriptedEngine, **params: Any) -> dict[str, Any]:
    await editor.initialize(**params)
    await engine.connecting.wait()
    return engine.settings[-1]


@pytest.mark.parametrize("options", [{"modelSet": "full"}, {"aiCodegenAssistant": {"modelSet": "full"}}])
async def test_settings_come_with_initialize(editor: MemoryEditor, engine: ScriptedEngine, options: Any) -> None:
    settings = await settings_after_start(editor, engine, initializationOptions=options)
    assert settings["modelSet"] == "full"
    assert editor.sent("workspace/configuration") == []


async def test_settings_are_asked_for_before_the_engine_starts(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    editor.replies["workspace/configuration"] = lambda _: [{"modelSet": "small", "device": "cpu"}]
    settings = await settings_after_start(editor, engine, capabilities=PULL, initializationOptions={"modelSet": "full"})
    assert (settings["modelSet"], settings["device"]) == ("small", "cpu")
    assert editor.sent("workspace/configuration") == [{"items": [{"section": "aiCodegenAssistant"}]}]


@pytest.mark.parametrize("reply", [[None], [], [5], {"error": {"code": -32601, "message": "no"}}])
async def test_an_editor_without_settings_for_us_keeps_those_of_initialize(
    editor: MemoryEditor, engine: ScriptedEngine, reply: Any
) -> None:
    editor.replies["workspace/configuration"] = lambda _: reply
    settings = await settings_after_start(editor, engine, capabilities=PULL, initializationOptions={"modelSet": "full"})
    assert settings["modelSet"] == "full"


@pytest.mark.parametrize("options", [None, 5, [], "full", {"aiCodegenAssistant": 5}])
async def test_options_of_another_shape_leave_the_defaults(
    editor: MemoryEditor, engine: ScriptedEngine, options: Any
) -> None:
    settings = await settings_after_start(editor, engine, initializationOptions=options)
    assert settings["modelSet"] == "starter"


async def test_a_setting_that_cannot_be_used_is_shown_once(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    settings = await settings_after_start(editor, engine, initializationOptions={"device": "toaster", "sources": 5})
    assert (settings["device"], settings["sources"]) == ("auto", 5)
    engine.answer("forget", {"taskId": "t"})
    editor.notify("workspace/didChangeConfiguration", {"settings": {"device": "toaster", "sources": 6}})
    await editor.request("assistant/forget", {"taskId": "t"})
    assert engine.settings[-1]["sources"] == 6
    (shown,) = editor.sent("window/showMessage")
    assert shown["type"] == 2
    assert "toaster" in shown["message"]


async def test_changed_settings_hold_for_the_next_request(editor: MemoryEditor, engine: ScriptedEngine) -> None:
    sets = iter(["starter", "full"])
    editor.replies["workspace/configuration"] = lambda _: [{"modelSet": next(sets)}]
    await settings_after_start(editor, engine, capabilities=PULL)
    seen = []

    async def script(*_: object) -> dict[str, Any]:
        seen.append(engine.settings[-1]["modelSet"])
        return {"taskId": "t"}

    engine.scripts["forget"] = script
    editor.notify("workspace/didChangeConfiguration", {"settings": None})
    await editor.request("assistant/forget", {"taskId": "t"})
    assert seen == ["full"]


async def test_an_editor_that_can_be_asked_is_asked_to_tell_of_changes(editor: MemoryEditor) -> None:
    editor.replies["client/registerCapability"] = lambda _: None
    await editor.initialize({"workspace": {"didChangeConfiguration": {"dynamicRegistration": True}}})
    sent = await editor.until_sent("client/registerCapability")
    (registration,) = sent["registrations"]
    assert registration["method"] == "workspace/didChangeConfiguration"
    assert registration["registerOptions"] == {"section": "aiCodegenAssistant"}
