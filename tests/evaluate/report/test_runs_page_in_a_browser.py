"""The page of all runs in Chromium: wide and narrow, light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from mixnet_core.evaluate.report.runs_page import runs_page
from mixnet_core.evaluate.report.runs_plots import MOST_LINES
from tests.evaluate.report.test_page_in_a_browser import (
    CONTRAST,
    CUT_OFF,
    DESKTOP,
    PHONE,
    SCHEMES,
    SIZES,
    WORDS_OUTSIDE,
    Scheme,
    browser,
    opened,
    pytestmark,
    take_picture,
)

__all__ = ["browser", "pytestmark"]

EPOCHS = range(1, 40)


def row(number: int, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "recipe": "digits",
        "variant": "s",
        "state": "training",
        "at_work": True,
        "written": "2026-11-30 01:09",
        "epoch": 39,
        "epochs": 40,
        "loss": 1.25,
        "lr": 0.1,
        "best_top1": 0.875,
        "best_epoch": 12,
        "val_top1": None,
        "images_per_second": 1234.5,
        "data_wait": 0.02,
        "curves": {
            "loss": [(epoch, 2 + number / epoch) for epoch in EPOCHS],
            "top1": [(epoch, 90 - 50 / epoch - number) for epoch in EPOCHS],
            "speed": [(epoch, 100 + number) for epoch in EPOCHS],
        },
    }


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = [row(number, f"run-{number}") for number in range(MOST_LINES + 2)]
    runs[1]["name"] = "n" * 100
    runs[2]["recipe"] = "r" * 200
    names = [run["name"] for run in runs]
    table = [("data.path", ["'/data'", "'/" + "x" * 300 + "'", *["'/data'"] * (len(runs) - 2)])]
    page = runs_page(
        runs, names, [(key, values, "'/data'") for key, values in table], title="Runs", made="now"
    )
    path = tmp_path_factory.mktemp("page") / "runs.html"
    path.write_text(page, encoding="utf-8")
    return path


@SIZES
@SCHEMES
def test_it_asks_nobody_is_whole_and_can_be_read(
    browser: Browser, file: Path, size: dict[str, Any], scheme: Scheme, tmp_path: Path
) -> None:
    with opened(browser, file, color_scheme=scheme, **size) as found:
        page = found.page
        take_picture(page, tmp_path / "runs.png")
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert page.evaluate(CUT_OFF) == []
        assert page.evaluate(WORDS_OUTSIDE) == []
        for selector in ("h1", ".soft", "th", "td", "code", ".good", ".other", ".plot text"):
            contrasts = page.eval_on_selector_all(selector, f"all => all.map({CONTRAST})")
            assert contrasts, selector
            assert min(contrasts) >= 4.5, (selector, min(contrasts))
        lines = page.eval_on_selector_all(
            ".plot [style*='--series'], .line line", f"all => all.map({CONTRAST})"
        )
        assert min(lines) >= 3
    assert found.complaints == []
    assert [url for url in found.requests if not url.startswith("data:")] == [file.as_uri()]


def test_every_drawn_run_has_a_line_of_its_own_and_the_others_are_counted(
    browser: Browser, file: Path
) -> None:
    with opened(browser, file, **DESKTOP) as found:
        looks = found.page.eval_on_selector_all(
            ".runs .line line", "all => all.map(one => one.getAttribute('style'))"
        )
        assert len(looks) == len(set(looks)) == MOST_LINES
        assert found.page.get_by_text("2 more have none here").is_visible()
        strokes = found.page.eval_on_selector_all(
            ".plot:first-child path[style*='--series']",
            "all => all.map(one => getComputedStyle(one).stroke)",
        )
        assert len(strokes) == MOST_LINES
        assert len(set(strokes)) == 7


def test_keys_stay_in_sight_where_the_differences_scroll(browser: Browser, file: Path) -> None:
    with opened(browser, file, **PHONE) as found:
        box = found.page.get_by_role("region", name="Differences")
        box.evaluate("element => element.scrollLeft = element.scrollWidth")
        key = box.get_by_text("data.path").bounding_box()
        assert key is not None
        assert key["x"] >= 0
