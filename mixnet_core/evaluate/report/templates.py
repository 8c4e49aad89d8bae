"""The templates of the pages, and how they write figures."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from mixnet_core.evaluate.report.plots import utc
from mixnet_core.runs.markup import visible, with_code

if TYPE_CHECKING:
    from jinja2 import Template


@cache
def template(name: str) -> Template:
    """Returns a page's template: what is put into it is text, never markup of its own.

    Args:
        name: of its file, in this folder.
    """
    # Most commands write no page and need not wait for it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        # Names of classes and files are whatever somebody chose.
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[[Any], str]] = {
        "percent": lambda share: f"{100 * share:.2f} %",
        "loss": lambda loss: f"{loss:.4f}",
        "whole": lambda count: f"{count:,}",
        "speed": lambda speed: f"{speed:,.1f}",
        "utc": lambda time: f"{utc(time):%Y-%m-%d %H:%M} UTC",
        "text": _text,
    }
    environment.filters.update(filters)
    return environment.get_template(name)


def _shown(value: object) -> object:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _text(text: str) -> Markup:
    """Turns `backticks` into code."""
    return Markup().join(
        Markup("<code>{}</code>").format(visible(part)) if is_code else visible(part)
        for part, is_code in with_code(text)
    )
