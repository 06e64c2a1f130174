from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.settings import Device, Settings, parse_settings

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(["modelSet", "models", "device", "threshold", "sources", "keepAlive", "nonsense"])


def test_nothing_set_means_the_defaults() -> None:
    assert parse_settings(None) == (Settings(), [])


def test_values_are_read_by_their_names_in_the_editor() -> None:
    settings, problems = parse_settings({"modelSet": "full", "device": "cpu", "threshold": 0.7, "explainMaxTokens": 99})
    assert problems == []
    assert (settings.model_set, settings.device, settings.threshold) == ("full", Device.CPU, 0.7)
    assert settings.explain_max_tokens == 99


def test_one_bad_value_is_reported_and_does_not_disable_the_rest() -> None:
    settings, problems = parse_settings({"threshold": 7, "sources": 5})
    assert settings.sources == 5
    assert settings.threshold == Settings().threshold
    assert len(problems) == 1
    assert "aiCodegenAssistant.threshold" in problems[0]
    assert "7" in problems[0]


@given(st.dictionaries(names, json_values))
def test_whatever_an_editor_sends_there_are_settings(section: dict[str, object]) -> None:
    settings, _ = parse_settings(section)
    assert isinstance(settings, Settings)
    assert 1 <= settings.sources <= 10
