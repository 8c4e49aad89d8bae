"""A run that is kept in a store has one owner over hosts, whatever their clocks say."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from mixnet_core.errors import InputError, IntegrityError, MachineError, RunTaken, TransientError
from mixnet_core.runs.turns import Held, newest_turn, take
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.storage import Storage
from tests.object_store import ObjectStore
from tests.storage.fault_proxy import Answer, FaultProxy, Forward, Request, refusal

LOST = 0.6


@pytest.fixture
def store(s3_environment: ObjectStore) -> Storage:
    return open_storage(f"s3://{s3_environment.bucket}/{uuid.uuid4().hex}/r")


def taken(store: Storage, place: str, **options: Any) -> tuple[Held, bool]:
    told = {"recipe": "a", **options.pop("told", {})}
    default: dict[str, Any] = {"say": lambda line: None, "lost_seconds": LOST, "wait_seconds": 1.2}
    return take(store, "r", place=place, told=told, **{**default, **options})


@contextmanager
def alive(held: Held) -> Iterator[None]:
    """Makes turns, as a host that works."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.1):
            held.advance()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_what_nobody_has_is_taken_and_what_was_let_go_of_is_taken_at_once(store: Storage) -> None:
    held, at_home = taken(store, "a")
    assert (held.turn.term, at_home, held.turn.place) == (1, True, "a")
    held.advance(kept={"metrics.jsonl": "files/000001/0"}, attempts=3)
    held.advance(ended=True)
    began = time.monotonic()
    other, at_home = taken(store, "b", lost_seconds=3600)
    assert time.monotonic() - began < 2
    # Its folder does not have yet what is kept.
    assert (other.turn.term, at_home, other.turn.place) == (2, False, "")
    assert (other.turn.kept, other.turn.attempts) == (held.turn.kept, 3)
    assert not other.turn.ended


def test_an_owner_that_lives_is_not_followed_and_one_that_is_silent_is(store: Storage) -> None:
    held, _ = taken(store, "a")
    lines: list[str] = []
    with alive(held), pytest.raises(TransientError, match=r"works on run r in s3://.*: wait until"):
        taken(store, "b", say=lines.append)
    assert len(lines) == 1
    assert lines[0].startswith("waiting for host ")
    assert newest_turn(store)[1] == held.turn
    taken(store, "b")
    assert held.lost is None
    with pytest.raises(RunTaken, match=r"goes on with run r in s3://.*: this host was silent"):
        held.advance(kept={"metrics.jsonl": "files/000001/0"})
    assert held.lost is not None
    turn = newest_turn(store)[1]
    assert turn is not None
    assert (turn.term, turn.kept) == (2, {})


def test_a_host_that_begins_again_in_its_folder_does_not_wait_for_itself(store: Storage) -> None:
    former, _ = taken(store, "a")
    held, at_home = taken(store, "a", lost_seconds=3600)
    assert (at_home, held.turn.place) == (True, "a")
    with pytest.raises(RunTaken):
        former.advance()


@pytest.mark.long
def test_of_hosts_that_come_at_once_one_has_the_run(store: Storage) -> None:
    former, _ = taken(store, "a")
    former.advance()

    def come(place: str) -> Held | None:
        try:
            held, _ = taken(store, place, wait_seconds=1.5)
        except TransientError:
            return None
        with alive(held):
            time.sleep(2.5)
        return held

    with ThreadPoolExecutor() as pool:
        found = [held for held in pool.map(come, "bcd") if held is not None]
    assert len(found) == 1
    assert newest_turn(store)[1] == found[0].turn


def test_a_turn_that_is_made_late_where_others_were_cleared_away_says_nothing(
    store: Storage,
) -> None:
    former, _ = taken(store, "a")
    held, _ = taken(store, "b")
    for _ in range(5):
        held.advance()
    assert len(store.names("turns")) == 2
    with pytest.raises(RunTaken):
        former.advance(kept={"metrics.jsonl": "files/000001/0"})
    assert newest_turn(store)[1] == held.turn
    held.advance()
    assert len(store.names("turns")) == 2


def test_a_turn_whose_answer_was_lost_is_the_owners_own(
    store: Storage, s3_environment: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, _ = taken(store, "a")

    def unsaid(request: Request, forward: Forward) -> Answer | None:
        answer = forward(request)
        # One that is not tried again.
        return refusal(request, 403, "AccessDenied") if request.method == "PUT" else answer

    with FaultProxy(s3_environment.endpoint_url, unsaid) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        unheard = Held(open_storage(store.uri), "r", 1, held.turn)
        with pytest.raises(MachineError):
            unheard.advance(attempts=1)
    held.advance(attempts=2)
    turn = newest_turn(store)[1]
    assert turn is not None
    assert (turn.attempts, held.lost) == (2, None)


def test_a_run_that_was_begun_otherwise_is_refused_by_what_differs(store: Storage) -> None:
    taken(store, "a", told={"dataset": "x", "rules": "2"})
    with pytest.raises(InputError, match="was begun with another dataset and rules: choose"):
        taken(store, "b", told={"dataset": "y", "rules": "3"})


def test_a_damaged_turn_is_named(store: Storage) -> None:
    taken(store, "a")
    store.create("turns/0000000002.json", b'{"format": 7}')
    with pytest.raises(IntegrityError, match=r"turns/0000000002.json is no turn of a run"):
        taken(store, "b")
