"""The look of the report's plots, and Matplotlib's settings while they are drawn.

A plot on a page follows the page: letters and axes have its text colour, series its variables
`--series-1` to `--series-7` where it sets them. The first three are those of Okabe and Ito, which
colour-blind readers tell apart; where colour means something, a shape says it too.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Palette:
    """Holds the colours of a plot: of letters and axes, of its series, and of the ground."""

    ink: str
    first: str
    second: str
    third: str
    ground: str
    others: tuple[str, ...]

    @property
    def series(self) -> tuple[str, ...]:
        """Returns the colours of series that are alike, as those of several runs."""
        return (self.first, self.second, self.third, *self.others)


# Colours that stand for what the page says instead; see `_FOLLOWS`.
_OTHERS = ("#a8468c", "#8a6d00", "#5b636d", "#6a3fc0")
PAGE = Palette(
    "#010203",
    "#010204",
    "#010205",
    "#010206",
    "none",
    ("#010207", "#010208", "#010209", "#01020a"),
)
PAPER = Palette("#444444", "#0072b2", "#d55e00", "#009e73", "white", _OTHERS)
_FOLLOWS = {
    PAGE.ink: "currentColor",
    PAGE.first: "var(--series-1, #2b8cc9)",
    PAGE.second: "var(--series-2, #d55e00)",
    PAGE.third: "var(--series-3, #009e73)",
    **{
        stand_in: f"var(--series-{number}, {colour})"
        for number, (stand_in, colour) in enumerate(zip(PAGE.others, _OTHERS, strict=True), 4)
    },
}


@contextmanager
def drawing() -> Iterator[None]:
    """Sets Matplotlib's own defaults: a user's matplotlibrc must not change a report's bytes."""
    # Takes a third of a second to import, which most commands need not pay.
    import matplotlib

    plain: dict[Any, Any] = dict(matplotlib.rcParamsDefault)
    # Which window system to use; setting it would look for one.
    del plain["backend"]
    plain |= {"axes.axisbelow": True, "date.converter": "concise"}
    # Text stays text, and ids are the same each time.
    plain |= {"svg.fonttype": "none", "svg.hashsalt": "report"}
    # The settings are the process's: of two threads, one would put back what the other had set.
    with _ONE_AT_A_TIME, matplotlib.rc_context(plain):
        yield


def panels(width: float, height: float, ratios: Sequence[float], colours: Palette) -> Any:
    """Makes a figure with panels one above the other.

    Args:
        width, height: inches.
        ratios: the panels' heights, relative to each other.

    Returns:
        (figure, list of axes from the top).
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(h_pad=0.09)
    figure = Figure(figsize=(width, height), layout=layout, facecolor=colours.ground)
    grid = figure.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios)
    for axes in grid[:, 0]:
        axes.set_facecolor("none")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set(color=colours.ink, alpha=0.5)
        axes.tick_params(colors=colours.ink, labelsize=9, length=0, pad=5)
        axes.grid(axis="y", color=colours.ink, alpha=0.16, linewidth=0.8)
        axes.xaxis.label.set(color=colours.ink, fontsize=9.5)
    return figure, list(grid[:, 0])


def titled(axes: Any, text: str, colours: Palette) -> None:
    """Writes a panel's title above it."""
    # Not along the axis: sideways letters are hard to read, and take a phone's width.
    axes.set_title(text, loc="left", color=colours.ink, fontsize=9.5, pad=8)


def ticks(axis: Any, most: int, text: Any, *, integer: bool = False) -> None:
    """Puts at most `most` ticks on an axis, with `text(value)` beside them."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10], integer=integer))
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))


def whole(value: float) -> str:
    """Returns a number without decimals, its thousands apart."""
    return f"{value:,.0f}"


def svg_element(figure: Any, name: str, label: str) -> str:
    """Returns a figure as an SVG element that a page can take in.

    Ids that nothing refers to are left out; the others begin with `name`.

    Args:
        label: for those who cannot see it.
    """
    text = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(text, format="svg", metadata=nothing)
    svg = text.getvalue()
    root = f'<svg role="img" aria-label="{label}" stroke-linejoin="round"'
    svg = svg[svg.index("<svg") :].replace("<svg", root, 1)
    # In a page its rules would hold for every element of it.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    for stand_in, colour in _FOLLOWS.items():
        svg = svg.replace(stand_in, colour)
    # The page's own font, not a list of Matplotlib's at every word.
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in used else "", svg)
    return re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", svg).strip()


def png(figure: Any) -> bytes:
    """Returns a figure as a PNG of 150 dots per inch."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150, metadata={"Software": None})
    return content.getvalue()
