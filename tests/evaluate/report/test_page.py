"""The page as text; `test_report_page_in_a_browser` looks at it."""

from __future__ import annotations

import io
import math
import re
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from typing import Any

import pytest
from jinja2 import UndefinedError
from PIL import Image

from mixnet_core.evaluate.report.page import report_page
from mixnet_core.evaluate.report.plots import (
    curves_png,
    reliability_plot,
    training_curves,
    trend_plot,
    trend_png,
)
from tests.evaluate.report.views import full_data, pictures

OPTIONAL = (
    "acceptance",
    "batch_sentence",
    "calibration",
    "candidates",
    "claims",
    "classes",
    "confusions",
    "curves",
    "images",
    "throughput",
    "trend",
)


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def text_of(page: str) -> str:
    """What a reader sees, and what is folded away."""
    parser = _Text()
    parser.feed(page[page.index("<body>") :])
    return " ".join(" ".join(parser.words).split())


@pytest.fixture(scope="module")
def page() -> str:
    data = full_data()
    return report_page(data, pictures(data))


def figures(data: Any, key: str = "") -> list[str]:
    """Every figure and word of the data as the page writes it."""
    if isinstance(data, dict):
        return [text for name, value in data.items() for text in figures(value, name)]
    if isinstance(data, list):
        return [text for value in data for text in figures(value, key)]
    if data is None or isinstance(data, bool):
        return []
    if isinstance(data, int):
        return [f"{data:,}"]
    if isinstance(data, float):
        if key == "loss":
            return [f"{data:.4f}"]
        return [f"{data:,.1f} img/s" if data > 1 else f"{100 * data:.2f} %"]
    if key == "time":
        return [data.replace("T", " ").replace(":00Z", " UTC")]
    return [part for part in data.split("`") if part]


def test_every_figure_and_word_of_the_data_is_on_the_page(page: str) -> None:
    data = full_data()
    # A long training's steps are in the plot only; bins without images say nothing.
    del data["curves"]["steps"]
    bins = data["calibration"]["bins"]
    data["calibration"]["bins"] = [item for item in bins if item["count"]]
    text = text_of(page)
    expected = {" ".join(part.split()) for part in figures(data)}
    assert {part for part in expected if part not in text} == set()
    assert len(expected) > 400
    assert page.count("<svg") == 3


def test_the_headline_is_top_1_with_its_interval(page: str) -> None:
    text = text_of(page)
    assert "Top-1 on val 97.56 %" in text
    assert "95 % interval 97.42 % to 97.70 %" in text
    assert "44,000 of 45,100 images right" in text


@pytest.mark.parametrize(
    ("accepted", "override", "state"),
    [
        (True, None, "✓ accepted"),
        (False, None, "✗ not accepted"),
        (True, "a <demonstration>", "! accepted by override"),
    ],
)
def test_it_says_first_whether_it_is_accepted(
    accepted: bool, override: str | None, state: str
) -> None:
    data = full_data()
    data["acceptance"] |= {"accepted": accepted, "override": override}
    text = text_of(report_page(data, {}))
    assert text.startswith(state)
    assert ("Published anyway: a <demonstration>" in text) is (override is not None)


def test_the_20_worst_classes_are_in_the_open_and_all_are_folded_away(page: str) -> None:
    section = page[page.index("<h2>Classes, the worst first") : page.index("<h2>Most frequent")]
    in_the_open, folded = section.split("<details>")
    assert in_the_open.count("<tr><td>") == 20
    assert folded.count("<tr><td>") == 60
    assert "All 60 classes" in folded


def test_equal_data_give_equal_bytes(page: str) -> None:
    data = full_data()
    assert report_page(data, pictures(data)).encode() == page.encode()


EVIL = '<script>alert("1")</script>"\'><img src=x onerror=alert(1)>'


def test_names_are_text_whatever_they_hold() -> None:
    data = full_data() | {"title": EVIL, "subtitle": EVIL, "release": EVIL, "sentence": EVIL}
    data["facts"].append([EVIL, f"`{EVIL}`"])
    data["candidates"] |= {"rule": EVIL}
    data["candidates"]["rows"][0] |= {"name": EVIL, "weights": EVIL}
    data["acceptance"] |= {"lines": [EVIL], "override": EVIL}
    data["classes"][0]["name"] = data["classes"][-1]["name"] = EVIL
    data["confusions"][0] |= {"label": EVIL, "answer": EVIL}
    data["images"]["best"][0] |= {"label": EVIL, "answer": EVIL, "image": EVIL}
    data["trend"][0]["state"] = data["claims"][0]["figure"] = data["batch_sentence"] = EVIL
    page = report_page(data, {EVIL: 'data:,"><script>'})
    assert "<script" not in page
    assert re.findall(r"<img(?! src=\"data:,)[^>]*", page) == []
    assert text_of(page).count(" ".join(EVIL.split())) >= 20


def test_backticks_become_code(page: str) -> None:
    assert "<code>weights.ckpt</code>" in page
    assert "<code>digits-0</code>" in page


@pytest.mark.parametrize("missing", OPTIONAL)
@pytest.mark.parametrize("how", ["absent", "none", "empty"])
def test_a_part_that_is_not_there_is_left_out(missing: str, how: str) -> None:
    data = full_data()
    # Plots take the time of this test; it is about one part at a time.
    for plot in {"calibration", "curves", "trend"} - {missing}:
        del data[plot]
    whole = text_of(report_page(data, {}))
    if how == "absent":
        del data[missing]
    else:
        data[missing] = None if how == "none" else type(data[missing])()
    left = text_of(report_page(data, {}))
    assert len(left) < len(whole)
    assert "None" not in left
    assert "97.42 % to 97.70 %" in left


def test_parts_without_rows_are_left_out_with_their_headings() -> None:
    data = full_data()
    data["candidates"]["rows"] = []
    data["calibration"]["bins"] = [item | {"count": 0} for item in data["calibration"]["bins"]]
    data["curves"] = {"steps": [], "epochs": [], "scores": []}
    data["images"] = {"best": [], "worst": None}
    data["throughput"] = {"training": None, "evaluation": 277.0}
    del data["batch_sentence"], data["trend"]
    page = report_page(data, {})
    text = text_of(page)
    for word in (
        "Candidates",
        "Calibration",
        "Training",
        "highest loss",
        "lowest loss",
        "Over time",
    ):
        assert word not in text
    assert "Evaluation speed 277.0 img/s" in text
    assert "<svg" not in page


def test_a_page_of_nothing_but_the_score_is_a_page() -> None:
    data = {key: value for key, value in full_data().items() if key not in OPTIONAL}
    assert text_of(report_page(data | {"release": None, "facts": []}, {})).endswith(
        "selection saw."
    )


@pytest.mark.parametrize(("part", "key"), [("val", "top5_low"), (None, "subtitle")])
def test_a_value_that_must_be_there_is_an_error_not_a_gap(part: str | None, key: str) -> None:
    data = full_data()
    del (data[part] if part else data)[key]
    with pytest.raises(UndefinedError, match=key):
        report_page(data, {})


def test_no_other_host_is_named_and_nothing_runs(page: str) -> None:
    outside = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert re.findall(r"\w+://[^ ]*", outside) == []
    assert not re.search(r"<script|\son\w+=|javascript:|@import|url\((?!#)", page)
    assert (
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'; img-src data:\">"
    ) in page
    sources = re.findall(r'(?:\bsrc|[^:]\bhref)="([^"]*)"', page)
    assert all(source.startswith("data:") for source in sources)
    assert len(sources) == 1 + 23


def test_a_thumbnail_that_is_another_file_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a data: URI"):
        report_page(full_data(), {"val/cat/1.png": "https://example.org/1.png"})


def test_an_image_without_a_picture_keeps_its_words(page: str) -> None:
    assert text_of(page).count("no picture") == 1
    assert "worst-0003.png" in text_of(page)


def test_ids_are_unique_over_all_plots_and_every_reference_has_one(page: str) -> None:
    ids = re.findall(r'\sid="([^"]+)"', page)
    used = re.findall(r'(?:href="|url\()#([^")]+)', page)
    assert len(ids) == len(set(ids)) > 3
    assert set(used) == set(ids)


def test_plots_keep_their_styles_to_themselves_and_follow_the_page() -> None:
    data = full_data()
    for name, svg in (
        ("reliability", reliability_plot(data["calibration"]["bins"])),
        ("curves", training_curves(data["curves"])),
        ("trend", trend_plot(data["trend"])),
    ):
        assert all(used.startswith(f"{name}-") for used in re.findall(r' id="([^"]+)"', svg))
        assert svg.startswith("<svg role=")
        assert svg.endswith("</svg>")
        assert "<style" not in svg
        assert "<text" in svg
        assert "currentColor" in svg
        assert "font-family" not in svg
        # No colour but those that a page may replace.
        assert set(re.findall(r"(?<!, )#[0-9a-f]{6}\b", svg)) == set()


def test_a_spike_of_the_loss_survives_a_long_training() -> None:
    steps = [{"step": step, "loss": 1.0, "lr": 0.1} for step in range(200_000)]
    calm = training_curves({"steps": steps, "epochs": [], "scores": []})
    steps[123_456]["loss"] = 50.0
    spiked = training_curves({"steps": steps, "epochs": [], "scores": []})
    assert ">50<" in spiked
    assert ">50<" not in calm
    assert len(spiked) < 100_000


def test_a_loss_that_is_no_number_leaves_the_others_in_the_plot() -> None:
    steps = [
        {"step": step, "loss": loss, "lr": 0.1}
        for step, loss in enumerate([2.0, math.nan, math.inf, None, 1.0])
    ]
    rows = [row for row in steps if row["loss"] in (1.0, 2.0)]
    rates = [{**row, "loss": None} for row in steps]
    assert training_curves({"steps": steps}) == training_curves(
        {"steps": sorted(rows + rates[1:4], key=lambda row: row["step"])}
    )


def test_plots_of_a_dashboard_are_pngs_even_of_nothing() -> None:
    data = full_data()
    lost = [point for point in data["trend"] if point["top1"] is None]
    for png in (
        curves_png(data["curves"]),
        curves_png({"steps": [], "epochs": [], "scores": None}),
        trend_png(data["trend"]),
        trend_png(data["trend"][:1]),
        trend_png(lost),
        trend_png([]),
    ):
        image = Image.open(io.BytesIO(png))
        assert image.format == "PNG"
        assert image.width > 600
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert curves_png(data["curves"]) == curves_png(data["curves"])


def test_threads_that_draw_at_once_draw_the_same() -> None:
    import matplotlib

    before, trend = dict(matplotlib.rcParams), full_data()["trend"]
    with ThreadPoolExecutor(4) as threads:
        drawn = list(threads.map(trend_plot, [trend] * 8))
    assert set(drawn) == {trend_plot(trend)}
    assert dict(matplotlib.rcParams) == before


def test_drawing_leaves_the_settings_of_others_alone() -> None:
    import matplotlib

    with matplotlib.rc_context({"axes.grid": True, "font.size": 31.0, "svg.hashsalt": "mine"}):
        before = dict(matplotlib.rcParams)
        svg = trend_plot(full_data()["trend"])
        assert dict(matplotlib.rcParams) == before
    assert svg == trend_plot(full_data()["trend"])
