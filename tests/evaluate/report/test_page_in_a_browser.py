"""The page in Chromium: wide and narrow, light and dark, on a screen and on paper."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright

from mixnet_core.evaluate.report.page import report_page
from tests.evaluate.report.views import full_data, pictures

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason="no Chromium here: `apt-get install -y --no-install-recommends chromium`",
)

DESKTOP = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2}
# A4 at 96 dpi, less the page's margins of 16 mm.
PAPER = {"viewport": {"width": 673, "height": 1001}}
SIZES = pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
Scheme = Literal["light", "dark"]
SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])

# Boxes that hold more than they show, but for those that scroll, and elements beyond the window's
# edge, but for those inside one that scrolls.
CUT_OFF = """() => [...document.querySelectorAll('body *')].filter(element => {
    const style = getComputedStyle(element), box = element.getBoundingClientRect();
    if (element.closest('svg') || !box.width) return false;
    const scroller = element.closest('.scroll');
    if (scroller && ['auto', 'scroll'].includes(getComputedStyle(scroller).overflowX)) {
        return scroller.getBoundingClientRect().right > innerWidth + 0.5;
    }
    return box.right > innerWidth + 0.5 || box.left < -0.5
        || style.display !== 'inline' && element.scrollWidth > element.clientWidth + 1;
}).map(element => element.outerHTML.slice(0, 120))"""

# Of a plot's words that lie outside of its own frame.
WORDS_OUTSIDE = """() => [...document.querySelectorAll('.plot svg text')].filter(text => {
    const word = text.getBoundingClientRect();
    const frame = text.ownerSVGElement.getBoundingClientRect();
    return word.left < frame.left - 4 || word.right > frame.right + 4
        || word.top < frame.top - 4 || word.bottom > frame.bottom + 4;
}).map(text => text.textContent)"""

# The contrast of WCAG 2.2 between an element's colour and the ground that it stands on.
CONTRAST = """element => {
    const light = colour => {
        const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = node => {
        const colour = getComputedStyle(node).backgroundColor;
        return colour === 'rgba(0, 0, 0, 0)' ? ground(node.parentElement) : colour;
    };
    const style = getComputedStyle(element);
    const ink = !(element instanceof SVGElement) ? style.color
        : element.style.stroke.includes('--series') ? style.stroke : style.fill;
    const [a, b] = [light(ink), light(ground(element))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
}"""


@dataclass
class Opened:
    """A page, what it asked for while it loaded, and what went wrong."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = full_data()
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(report_page(data, pictures(data)), encoding="utf-8")
    return path


@contextmanager
def opened(browser: Browser, file: Path, **options: Any) -> Iterator[Opened]:
    page = browser.new_page(**options)
    found = Opened(page)
    page.on("request", lambda request: found.requests.append(request.url))
    page.on(
        "console",
        lambda message: (
            found.complaints.append(message.text) if message.type in ("error", "warning") else None
        ),
    )
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    page.goto(file.as_uri())
    page.wait_for_function("[...document.images].every(image => image.complete)")
    yield found
    page.close()


def take_picture(page: Page, path: Path) -> None:
    """For people to look at; no test is decided by it."""
    try:
        page.screenshot(path=path, full_page=True)
    except Error as error:
        # On a busy machine Chromium refuses one capture in hundreds, and takes the next one.
        if "Unable to capture screenshot" not in str(error):
            raise
        page.wait_for_timeout(250)
        page.screenshot(path=path, full_page=True)


@SIZES
@SCHEMES
def test_it_loads_without_a_complaint_and_asks_nobody(
    browser: Browser, file: Path, size: dict[str, Any], scheme: Scheme, tmp_path: Path
) -> None:
    with opened(browser, file, color_scheme=scheme, **size) as found:
        take_picture(found.page, tmp_path / "page.png")
    assert found.complaints == []
    assert [url for url in found.requests if not url.startswith("data:")] == [file.as_uri()]


@SIZES
def test_the_page_does_not_scroll_sideways_and_nothing_is_cut_off(
    browser: Browser, file: Path, size: dict[str, Any]
) -> None:
    with opened(browser, file, **size) as found:
        page = found.page
        page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert page.evaluate(CUT_OFF) == []
        assert page.evaluate(WORDS_OUTSIDE) == []


@SIZES
def test_names_without_a_place_to_break_do_not_widen_it(
    browser: Browser, size: dict[str, Any], tmp_path: Path
) -> None:
    data, name = full_data(), "n" * 200
    data |= {"title": name, "subtitle": name, "release": name, "batch_sentence": name}
    data["facts"][0] = ["x", f"`{name}`"]
    data["acceptance"] |= {"lines": [name], "override": name}
    data["classes"][0]["name"] = data["confusions"][0]["answer"] = name
    data["candidates"] |= {"rule": name}
    data["images"]["worst"][0] |= {"image": name, "label": name}
    file = tmp_path / "long.html"
    file.write_text(report_page(data, {}), encoding="utf-8")
    with opened(browser, file, **size) as found:
        assert found.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert found.page.evaluate(CUT_OFF) == []


@SIZES
def test_every_picture_and_the_key_figures_are_there_to_see(
    browser: Browser, file: Path, size: dict[str, Any]
) -> None:
    with opened(browser, file, **size) as found:
        page = found.page
        assert page.evaluate("[...document.images].filter(i => !(i.naturalWidth > 0)).length") == 0
        assert page.evaluate("document.images.length") == 23
        for text in ("97.56 %", "97.42 % to 97.70 %", "99.80 %", "0.0801", "2.13 %", "1,098.8"):
            place = page.locator(".hero").get_by_text(text, exact=True)
            assert place.is_visible(), text
            box = place.bounding_box()
            assert box is not None
            # Without scrolling, on a phone too.
            assert box["y"] + box["height"] < size["viewport"]["height"], text
        for plot in page.locator(".plot svg").all():
            box = plot.bounding_box()
            assert box is not None
            assert box["width"] >= 330


def test_a_wide_table_scrolls_inside_its_own_box_on_a_phone(browser: Browser, file: Path) -> None:
    with opened(browser, file, **PHONE) as found:
        box = found.page.get_by_role("region", name="Candidates on the select split")
        chosen = box.get_by_text("✓ chosen")
        hidden = "(element) => element.getBoundingClientRect().left > innerWidth"
        assert chosen.evaluate(hidden)
        box.evaluate("element => element.scrollLeft = element.scrollWidth")
        assert not chosen.evaluate(hidden)


def test_all_classes_unfold_without_a_script(browser: Browser, file: Path) -> None:
    with opened(browser, file, **DESKTOP) as found:
        last = found.page.get_by_role("region", name="All classes").get_by_text("newt 59")
        assert not last.is_visible()
        found.page.get_by_text("All 60 classes").click()
        assert last.is_visible()


@SCHEMES
def test_words_and_series_stand_out_from_their_ground(
    browser: Browser, file: Path, scheme: Scheme
) -> None:
    with opened(browser, file, color_scheme=scheme, **DESKTOP) as found:
        dark = found.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (dark == "rgb(255, 255, 255)") is (scheme == "light")
        for selector in ("h1", ".soft", ".top1", ".label", "code", "th", "td", ".good", ".bad"):
            contrasts = found.page.eval_on_selector_all(selector, f"all => all.map({CONTRAST})")
            assert contrasts, selector
            assert min(contrasts) >= 4.5, (selector, min(contrasts))
        words = found.page.eval_on_selector_all(".plot text", f"all => all.map({CONTRAST})")
        assert min(words) >= 4.5
        # Graphics need less than words.
        series = found.page.eval_on_selector_all(
            ".plot [style*='--series']", f"all => all.map({CONTRAST})"
        )
        assert min(series) >= 3


@SCHEMES
def test_on_paper_it_is_black_on_white_and_nothing_is_cut_off(
    browser: Browser, file: Path, scheme: Scheme, tmp_path: Path
) -> None:
    with opened(browser, file, color_scheme=scheme, **PAPER) as found:
        page = found.page
        page.emulate_media(media="print", color_scheme=scheme)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(255, 255, 255)"
        )
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert page.evaluate(CUT_OFF) == []
        assert page.evaluate(WORDS_OUTSIDE) == []
        page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


def test_what_is_folded_away_leaves_no_gap_on_paper(browser: Browser, file: Path) -> None:
    with opened(browser, file, **PAPER) as found:
        found.page.emulate_media(media="print")
        assert not any(part.is_visible() for part in found.page.locator("details").all())
