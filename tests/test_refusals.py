"""Every refusal is one line with its exit code, and docs/how-to/refusals.md has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.refusals import HEAD, PAGE, SECTIONS, Refusal, row, said

ALL = [(title, refusal) for title, refusals in SECTIONS.items() for refusal in refusals]


@pytest.mark.parametrize(
    "refusal", [refusal for _, refusal in ALL], ids=[f"{title}-{r.brought}" for title, r in ALL]
)
def test_what_is_refused_is_told_as_the_page_has_it(refusal: Refusal, tmp_path: Path) -> None:
    code, line = said(refusal, tmp_path)
    assert code == refusal.code
    assert row(refusal, code, line) in PAGE.read_text(encoding="utf-8").splitlines()


def test_the_page_has_no_other_rows() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.startswith(HEAD)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == len(ALL) + len(SECTIONS)
