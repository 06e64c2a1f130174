from __future__ import annotations

import json

from core.errors import AssistantError, ContextTooLong, InvalidParams


def test_an_error_keeps_its_kind_its_words_and_its_numbers_across_the_wire() -> None:
    sent = ContextTooLong("7,000 tokens do not fit into 4,096.", prompt=7000, limit=4096)
    received = AssistantError.from_wire(json.loads(json.dumps(sent.to_wire())))
    assert type(received) is ContextTooLong
    assert (received.message, received.data) == (sent.message, sent.data)


def test_an_error_of_a_newer_engine_is_still_an_error_with_words() -> None:
    received = AssistantError.from_wire({"code": "fromTheFuture", "message": "something new"})
    assert type(received) is AssistantError
    assert str(received) == "something new"


def test_a_nested_field_is_named_by_its_whole_path() -> None:
    error = InvalidParams("text", "is empty").inside("selection")
    assert error.data == {"field": "selection.text"}
    assert error.message == "selection.text: is empty"


def test_invalid_params_survive_the_wire() -> None:
    received = AssistantError.from_wire(InvalidParams("range", "is required").to_wire())
    assert type(received) is InvalidParams
    assert received.data["field"] == "range"
