from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from mixnet_core.evaluate.figures import curves_png, trend_png
from mixnet_core.evaluate.report_page import report_page
from tests.evaluate.views import CLASSES, full_view, pictures


@pytest.fixture(scope="module")
def page() -> str:
    view = full_view()
    return report_page(view, pictures(view))


def text_of(page: str) -> str:
    class Text(HTMLParser):
        words: list[str]

        def handle_data(self, data: str) -> None:
            self.words.append(data)

    parser = Text()
    parser.words = []
    parser.feed(page)
    return " ".join(" ".join(parser.words).split())


def test_equal_data_give_equal_bytes(page: str) -> None:
    view = full_view()
    assert report_page(view, pictures(view)) == page


def test_the_page_shows_every_part(page: str) -> None:
    text = text_of(page)
    for part in (
        "95 %:",
        "Measured against claimed",
        "✗ not supported",
        "Over time",
        "✗ not accepted",
        "Global batch 32",
        "Evaluated with 277.0 img/s",
        "Rule: highest top-1",
        "Expected calibration error",
        "All 30 classes",
        "Most confused",
        "Highest loss",
        "Lowest loss",
    ):
        assert part in text, part
    assert all(name in text for name in CLASSES)
    assert page.count("<svg") == 3
    assert page.count('<img src="data:') == 24


def test_nothing_on_it_leads_to_another_host(page: str) -> None:
    # Names of XML vocabularies are no addresses that anything fetches.
    outside = re.sub(
        r'xmlns(:\w+)?="[^"]*"|<!DOCTYPE[^>]*>|<metadata>.*?</metadata>', "", page, flags=re.S
    )
    assert "http" not in outside.replace("http-equiv", "")
    assert "<script" not in page
    assert "default-src 'none'" in page


def test_ids_are_unique_over_all_plots(page: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for used in re.findall(r"url\(#([^)]+)\)", page):
        assert used in ids
    for used in re.findall(r'href="#([^"]+)"', page):
        assert used in ids


def test_names_are_text_whatever_they_hold() -> None:
    evil = "<script>alert(1)</script>"
    view = full_view(title=evil, facts=[["file", f"`{evil}`"]])
    view["classes"][0]["name"] = view["confusions"][0]["label"] = evil
    view["images"]["best"][0] |= {"label": evil, "image": f'x" onerror="{evil}'}
    assert "<script" not in report_page(view, {f'x" onerror="{evil}': "data:,"})


def test_what_is_not_there_is_left_out() -> None:
    view = full_view()
    for key in (
        "acceptance",
        "batch_sentence",
        "candidates",
        "claims",
        "curves",
        "trend",
        "release",
    ):
        del view[key]
    view |= {"images": {}, "confusions": [], "throughput": {"training": None, "evaluation": None}}
    text = text_of(report_page(view, {}))
    for part in ("Acceptance", "Candidates", "claimed", "Over time", "loss,", "Most confused"):
        assert part not in text
    assert "Classes, the worst first" in text


def test_an_image_without_a_picture_keeps_its_words() -> None:
    view = full_view()
    page = report_page(view, {})
    assert "<img" not in page
    assert "taken for" in page


def test_plots_for_the_dashboard_are_pngs() -> None:
    view = full_view()
    nothing = {"top1": None, "low": None, "high": None}
    lost = [{"time": "2026-11-02T03:00:00Z", "state": "unreachable", **nothing}]
    empty = {"steps": [], "epochs": [], "scores": []}
    for png in (
        curves_png(view["curves"]),
        curves_png(empty),
        trend_png(view["trend"]),
        trend_png(lost),
    ):
        assert png.startswith(b"\x89PNG\r\n")
