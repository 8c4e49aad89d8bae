from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from mixnet_core.errors import MachineError, TransientError
from mixnet_core.storage.mirror.patience import Patience


def failing(times: int, error: Exception) -> Callable[[], str]:
    left = [times]

    def work() -> str:
        if left[0]:
            left[0] -= 1
            raise error
        return "done"

    return work


def test_what_may_pass_is_done_again_and_said_once() -> None:
    said: list[str] = []
    patience = Patience(60, said.append)
    assert patience.through(failing(2, TransientError("no answer"))) == "done"
    assert [line.partition(";")[0] for line in said[:1]] == ["no answer"]
    assert said[1].startswith("the store answers again after ")
    assert len(said) == 2


def test_what_lasts_is_raised_at_once() -> None:
    began = time.monotonic()
    with pytest.raises(MachineError):
        Patience(60, lambda line: None).through(failing(9, MachineError("wrong key")))
    assert time.monotonic() - began < 0.4


def test_it_ends_when_the_time_is_up() -> None:
    with pytest.raises(TransientError):
        Patience(0.5, lambda line: None).through(failing(9, TransientError("no answer")))
    with pytest.raises(TransientError):
        Patience(0, lambda line: None).through(failing(1, TransientError("no answer")))


def test_nobody_is_waited_for_who_has_left() -> None:
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(TransientError):
        Patience(60, lambda line: None, stopped).through(failing(9, TransientError("no answer")))


def test_one_object_that_fails_ends_it_although_others_arrive() -> None:
    patience = Patience(0.6, lambda line: None)

    def damaged() -> None:
        patience.answered()
        raise TransientError("500 for ever")

    with pytest.raises(TransientError):
        patience.through(damaged)
