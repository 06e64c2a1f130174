from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from core.evaluation import plots
from core.evaluation.page import render
from core.evaluation.plots import Bar, Mark, Series
from core.evaluation.report import Plot, Report, Table

HOSTILE = '<script>alert("x")</script> & more'


def svg_texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter() if element.tag.endswith("text")]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in {"meta", "line", "rect", "polyline"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def page() -> str:
    report = Report(
        name="unknown",
        title=f"Unknown {HOSTILE}",
        figures={"auroc": 0.99, "nothing": None},
        facts=(("data", HOSTILE),),
        tables=(Table(title=HOSTILE, columns=("query", "closest"), rows=((HOSTILE, "b"),)),),
        plots=(
            Plot(title="Curve", svg=plots.curves([Series(HOSTILE, [0, 1], [0, 1])], "x", "y", HOSTILE), caption="c"),
        ),
    )
    return render(report)


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(page: str) -> None:
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in tags.seen}
    assert not re.search(r"(src|href|url\()", page)
    assert "prefers-color-scheme: dark" in page


def test_text_of_people_stays_text(page: str) -> None:
    assert HOSTILE not in page
    assert page.count("&lt;script&gt;") >= 4


def test_people_who_cannot_see_a_plot_are_told_what_it_shows(page: str) -> None:
    tags = Tags()
    tags.feed(page)
    pictures = [attributes for tag, attributes in tags.seen if tag == "svg"]
    assert [one["role"] for one in pictures] == ["img"]
    assert "<title>&lt;script" in page
    assert ("th", {"scope": "col"}) in tags.seen
    assert ("html", {"lang": "en"}) in tags.seen


def test_a_curve_goes_from_corner_to_corner() -> None:
    svg = plots.curves([Series("one", [0.0, 1.0], [0.0, 1.0])], "x", "y", "A line.")
    (line,) = (one for one in ET.fromstring(svg).iter() if one.tag.endswith("polyline"))
    first, last = ([float(n) for n in point.split(",")] for point in line.get("points", "").split())
    assert first[0] < last[0]
    assert first[1] > last[1]


def test_long_curves_keep_their_ends() -> None:
    many = [n / 9999 for n in range(10_000)]
    svg = plots.curves([Series("one", many, many)], "x", "y", "A line.")
    assert svg.count(",") < 1000
    assert plots.curves([Series("one", [0.0, 1.0], [0.0, 1.0])], "x", "y", "").split('points="')[1].split(" ")[0] in svg


def test_a_histogram_shows_shares_and_the_threshold() -> None:
    svg = plots.histogram([Series("known", [0.9, 0.9]), Series("unknown", [])], [Mark("threshold 0.60", 0.6)], "s", "d")
    boxes = [one for one in ET.fromstring(svg).iter() if one.tag.endswith("rect")]
    assert len(boxes) == 1
    assert {"known", "unknown", "threshold 0.60"} <= set(svg_texts(svg))


def test_bars_say_their_value() -> None:
    svg = plots.bars([Bar("with retrieval", 0.625, 0.4, 0.8), Bar("without", 0.0, 0.0, 0.1)], "d")
    assert {"with retrieval", "62.5%", "0.0%"} <= set(svg_texts(svg))


def test_undefined_values_do_not_break_a_plot() -> None:
    svg = plots.curves([Series("one", [float("nan"), 0.5], [0.1, 0.2]), Series("none", [], [])], "x", "y", "d")
    assert "nan" not in svg
    assert "rect" not in plots.histogram([Series("none", [])], [], "x", "d")
