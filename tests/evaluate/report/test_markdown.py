"""A report whose names somebody else chose, read by a Markdown renderer and a page's parser."""

from __future__ import annotations

import pytest

from mixnet_core.evaluate.report.data import with_decision
from mixnet_core.evaluate.report.markdown import report_markdown
from mixnet_core.evaluate.report.page import report_page
from mixnet_core.evaluate.report.view import report_view
from mixnet_core.runs.values import Check, Decision, PreparedDataset
from tests.evaluate.report.test_data import RECIPE, data
from tests.runs.test_markup import NAMES, Shown, plain, shown

HOSTILE = [name for name in NAMES if plain(name) and len(name) < 100]
HOSTILE += ["cat\u202egnp", "red\x1b[31m", "שלום | <b>", "latin\udce9"]


def report(names: list[str], recipe: str, reason: str) -> dict[str, object]:
    dataset = PreparedDataset(
        root="/data",
        fingerprint="f" * 64,
        classes=tuple(names),
        counts={"train": 1210, "select": 136, "val": 451},
    )
    found = data(dataset=dataset, recipe=RECIPE.model_copy(update={"name": recipe}))
    checks = (Check(ok=False, line=f"top-1 of class {names[4]} is below"),)
    return with_decision(found, Decision(checks=checks, override=reason))


TAME = report(list("abcdefghij"), "digits", "reason")


@pytest.mark.parametrize("first", range(0, len(HOSTILE), 5))
def test_names_of_others_change_neither_the_reports_tags_nor_its_tables(first: int) -> None:
    some = (HOSTILE * 2)[first : first + 10]
    written = report_markdown(report(some, some[0], some[1]))
    found, tame = shown(written), shown(report_markdown(TAME))
    assert found.tags == tame.tags
    assert len(found.cells) == len(tame.cells)
    for name in some:
        assert name.isprintable() == (plain(name) in map(str.strip, found.cells))
    written.encode("utf-8")


@pytest.mark.parametrize("first", range(0, len(HOSTILE), 5))
def test_names_of_others_change_no_tag_of_the_page(first: int) -> None:
    some = (HOSTILE * 2)[first : first + 10]
    page = report_page(report_view(report(some, some[0], some[1])), {})
    found, tame = Shown(page), Shown(report_page(report_view(TAME), {}))
    assert found.tags == tame.tags
    for name in filter(str.isprintable, some):
        assert plain(name) in plain(found.text)
    page.encode("utf-8")
    assert not {"\u202e", "\x1b"} & set(page)
