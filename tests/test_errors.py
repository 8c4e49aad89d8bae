from __future__ import annotations

import pytest

from mixnet_core.errors import DatasetError, JobFailed, MixnetError, UnusableImage


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb.png", r"a\nb.png"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\udcff.png", r"\udcff.png"),
        ("a\u2028b", r"a\u2028b"),
        ("caf\u00e9 \u732b.png", "caf\u00e9 \u732b.png"),
    ],
)
def test_a_message_is_one_line_that_can_be_written_whatever_names_are_in_it(
    name: str, shown: str
) -> None:
    errors: list[MixnetError] = [
        DatasetError(f"{name} is gone: put it back"),
        JobFailed(f"{name} is gone: put it back", retryable=False),
        UnusableImage(name, "the file is empty"),
    ]
    for error in errors:
        assert str(error).startswith(f"{shown} ")
        assert len(str(error).splitlines()) == 1
        str(error).encode()
