from __future__ import annotations

import pytest
from fakes.word_embedder import WordEmbedder

from core.knowledge.calibration import REFERENCE, Calibration, calibrate


def test_the_reference_model_is_left_as_it_is() -> None:
    assert REFERENCE.rescale(0.42) == pytest.approx(0.42)


def test_cosines_of_a_model_that_finds_everything_alike_are_spread() -> None:
    narrow = Calibration(unrelated=0.7, related=0.9)
    assert narrow.rescale(0.7) == pytest.approx(REFERENCE.unrelated)
    assert narrow.rescale(0.9) == pytest.approx(REFERENCE.related)
    assert narrow.rescale(1.0) == 1


def test_a_model_that_tells_nothing_apart_is_left_as_it_is() -> None:
    assert Calibration(unrelated=0.5, related=0.51).rescale(0.8) == 0.8


def test_rewordings_are_more_alike_than_unrelated_requests() -> None:
    measured = calibrate(WordEmbedder())
    assert measured.related > measured.unrelated
