"""The page in Chromium, wide and narrow, light and dark, on a screen and in print."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from mixnet_core.evaluate.report_page import report_page
from tests.evaluate.views import full_view, pictures

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here: `apt install chromium` for these tests"
)

DESKTOP = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True}
SIZES = pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])


@dataclass
class Opened:
    """A page and what went on while it loaded."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    view = full_view()
    path.write_text(report_page(view, pictures(view)), encoding="utf-8")
    return path


def opened(browser: Browser, file: Path, **options: Any) -> Opened:
    page = browser.new_page(**options)
    found = Opened(page)
    page.on("request", lambda request: found.requests.append(request.url))
    page.on("console", lambda message: found.complaints.append(message.text))
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    page.goto(file.as_uri())
    page.wait_for_load_state("networkidle")
    return found


@SIZES
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_loads_without_a_complaint_and_without_asking_anybody(
    browser: Browser, file: Path, size: dict[str, Any], scheme: str, tmp_path: Path
) -> None:
    found = opened(browser, file, color_scheme=scheme, **size)
    assert found.complaints == []
    assert [url for url in found.requests if not url.startswith(("file:", "data:"))] == []
    found.page.screenshot(path=tmp_path / "page.png", full_page=True)
    found.page.close()


@SIZES
def test_nothing_sticks_out_and_every_picture_is_there(
    browser: Browser, file: Path, size: dict[str, Any]
) -> None:
    page = opened(browser, file, **size).page
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) <= 0
    page.wait_for_function("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert page.evaluate("document.images.length") == 24
    assert page.locator("text=95 %:").first.is_visible()
    for plot in page.locator(".plot svg").all():
        box = plot.bounding_box()
        assert box is not None
        assert 200 < box["width"] <= size["viewport"]["width"]
    page.close()


def test_text_stands_out_from_its_ground_in_light_and_in_dark(browser: Browser, file: Path) -> None:
    brightness = """element => {
        const [ink, ground] = [getComputedStyle(element).color,
                               getComputedStyle(document.body).backgroundColor];
        const light = colour => {
            const [r, g, b] = colour.match(/\\d+/g).map(Number);
            return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
        };
        return Math.abs(light(ink) - light(ground));
    }"""
    for scheme in ("light", "dark"):
        page = opened(browser, file, color_scheme=scheme, **DESKTOP).page
        for selector in ("h1", "dt", "td", ".plot svg text"):
            assert page.locator(selector).first.evaluate(brightness) > 0.35, (scheme, selector)
        page.close()


def test_it_prints_on_paper_with_nothing_cut_off(
    browser: Browser, file: Path, tmp_path: Path
) -> None:
    page = opened(browser, file, viewport={"width": 794, "height": 1123}).page
    page.emulate_media(media="print")
    cut = """[...document.querySelectorAll('.scroll, .plot, dd')]
        .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.className)"""
    assert page.evaluate(cut) == []
    page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    page.close()
