"""How long training waits for its images."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from mixnet_core.train.data_wait import DataWait


def test_waiting_for_images_counts_and_working_on_them_does_not() -> None:
    def slow() -> Iterator[int]:
        for number in range(3):
            time.sleep(0.05)
            yield number

    wait = DataWait()
    got = []
    for batch in wait.counted(slow()):
        got.append(batch)
        time.sleep(0.2)
    assert got == [0, 1, 2]
    # A busy machine sleeps longer than it is told to, never shorter.
    assert 0.15 <= wait.taken() < 0.6
    assert wait.taken() == 0.0


def test_a_reader_that_fails_has_waited_too() -> None:
    def broken() -> Iterator[int]:
        time.sleep(0.05)
        raise OSError("the disk is gone")
        yield 0

    wait = DataWait()
    with pytest.raises(OSError, match="the disk is gone"):
        next(wait.counted(broken()))
    assert wait.taken() >= 0.05
