"""`python -m benchmarks.scaling`: writes docs/scaling.md and its picture; takes a second."""

from __future__ import annotations

from pathlib import Path

from benchmarks.scaling.page import page
from benchmarks.scaling.plot import draw

DOCS = Path(__file__).parents[2] / "docs"


def main() -> int:
    (DOCS / "scaling.md").write_text(page(), encoding="utf-8")
    draw(DOCS / "images" / "scaling.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
