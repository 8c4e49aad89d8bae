from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mixnet_core.host.installed import Installed
from mixnet_core.host.known_sets import (
    CANN_AND_DRIVERS,
    KNOWN_SETS,
    KnownSet,
    driver_fits_cann,
    find_set,
    same_version,
    sets_of,
    table,
)

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "host.md"


@pytest.mark.parametrize("row", KNOWN_SETS, ids=lambda row: row.mindspore)
def test_every_row_is_found_by_its_own_versions(row: KnownSet) -> None:
    installed = Installed(
        driver=row.driver.lower(),
        firmware=row.firmware,
        cann=row.cann,
        mindspore=row.mindspore.replace("-rc", "rc"),
    )
    assert find_set(installed) is row
    assert sets_of(installed.mindspore) == (row,)
    assert row.source


def test_the_hub_cards_set_is_known_and_one_version_beside_it_is_not() -> None:
    card = Installed(driver="24.1.0", firmware="7.5.0.3.220", cann="8.0.0.beta1", mindspore="2.5.0")
    assert find_set(card) is not None
    # The commercial edition's files say no beta1, and a container sees no firmware.
    assert find_set(replace(card, cann="8.0.0", firmware=None)) is not None
    for other in (
        replace(card, driver="24.1.rc3"),
        replace(card, firmware="7.5.0.1.129"),
        replace(card, cann="8.1.RC1"),
        replace(card, mindspore="2.5.1"),
        replace(card, driver=None),
    ):
        assert find_set(other) is None


def test_spellings_of_one_release_are_the_same_and_of_two_are_not() -> None:
    assert same_version("24.1.RC1", "24.1.rc1")
    assert same_version("8.0.0.beta1", "8.0.0")
    assert same_version("2.6.0-rc1", "2.6.0rc1")
    assert not same_version("2.6.0-rc1", "2.6.0")
    assert not same_version("8.0.0.beta1", "8.0.0.beta2")
    assert not same_version("8.0.0", None)


def test_the_release_notes_say_yes_or_no_or_nothing() -> None:
    assert driver_fits_cann("9.1.0", "26.0.rc1") is True
    assert driver_fits_cann("9.1.0", "25.0.rc1.1") is False
    assert driver_fits_cann("9.1.0", "24.1.0") is None
    assert driver_fits_cann("8.5.0", "25.5.0") is None
    assert driver_fits_cann("9.10.0", "25.0.1") is None
    for fits, fits_not in CANN_AND_DRIVERS.values():
        assert not set(fits) & set(fits_not)


def test_the_page_shows_the_table_as_it_is() -> None:
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(r"<!-- known sets -->\n\n(.*?)\n\n<!-- end -->", text, re.DOTALL)
    assert found
    assert found[1] == table()
