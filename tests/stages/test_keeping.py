"""A training that is kept in a store waits for nothing but its last checkpoint."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.checkpoints.bundle import WEIGHTS
from mixnet_core.errors import InputError, IntegrityError, RunTaken
from mixnet_core.recipe.recipe import Recipe, load_recipe
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.runs.turns import newest_turn
from mixnet_core.stages import keeping
from mixnet_core.stages.check import check_run_store
from mixnet_core.stages.keeping import Keeping, kept_in_store
from mixnet_core.storage.open import open_storage
from tests.checkpoints.test_run_copy import written
from tests.marked import wait_until
from tests.object_store import ObjectStore
from tests.storage.fault_proxy import Answer, FaultProxy, Forward, Request, refusal

INPUTS = {"recipe": "f", "dataset": "d", "weights": None}


class Host:
    """A run's folder of its own, and what was said."""

    def __init__(self, root: Path, recipe: Recipe) -> None:
        self.run, self.recipe = RunDir(root / "r"), recipe
        self.lines: list[str] = []

    @contextmanager
    def keeps(self, **inputs: Any) -> Iterator[Keeping]:
        with kept_in_store(self.run, self.recipe, INPUTS | inputs, self.lines.append) as kept:
            yield kept

    def saves(self, kept: Keeping, step: int) -> None:
        written(self.run, step)
        kept.noticing(lambda row: None)({"event": "checkpoint", "step": step})

    @property
    def stored(self) -> list[str]:
        turn = newest_turn(open_storage(f"{self.recipe.devices.run_store}r"))[1]
        return sorted(path for path in turn.kept if path.endswith(WEIGHTS)) if turn else []


@pytest.fixture
def recipe(s3_environment: ObjectStore) -> Recipe:
    uri = f"s3://{s3_environment.bucket}/{uuid.uuid4().hex}/"
    return load_recipe("digits", {"devices.run_store": uri, "devices.lost_seconds": 3})


def bundle(step: int) -> str:
    return f"checkpoints/step-{step:08d}/{WEIGHTS}"


def test_checkpoints_are_in_the_store_and_the_next_host_has_them(
    tmp_path: Path, recipe: Recipe
) -> None:
    first, second = Host(tmp_path / "a", recipe), Host(tmp_path / "b", recipe)
    with first.keeps() as kept:
        first.saves(kept, 2)
        wait_until(lambda: first.stored == [bundle(2)], "the first one", seconds=20)
        first.saves(kept, 4)
    assert first.stored == [bundle(2), bundle(4)]
    assert first.lines == []
    # The first let go of it: nobody waits.
    began = time.monotonic()
    with second.keeps():
        assert sorted(p.name for p in second.run.checkpoints.iterdir()) == [
            "step-00000002",
            "step-00000004",
        ]
    assert time.monotonic() - began < 3
    assert second.lines == ["fetching run r from its store, up to step 4"]
    # It was the last one there, and goes on from what it has itself.
    with second.keeps() as kept:
        second.saves(kept, 6)
    assert len(second.lines) == 1
    assert second.stored == [bundle(2), bundle(4), bundle(6)]


def test_without_a_store_nothing_is_kept(tmp_path: Path) -> None:
    host = Host(tmp_path, load_recipe("digits"))
    with host.keeps() as kept:
        kept.noticing(lambda row: None)({"event": "checkpoint"})
        kept.looking(lambda attempt: None)(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_a_host_that_wakes_after_another_took_the_run_ends_by_name(
    tmp_path: Path, recipe: Recipe
) -> None:
    first, second = Host(tmp_path / "a", recipe), Host(tmp_path / "b", recipe)

    def replaced() -> None:
        with first.keeps() as kept:
            first.saves(kept, 2)
            wait_until(lambda: first.stored == [bundle(2)], "the first one", seconds=20)
            held = kept._held
            assert held is not None
            # As one that is suspended, which makes no turns.
            with held._lock, second.keeps() as others:
                second.saves(others, 4)
            wait_until(lambda: held.lost is not None, "its next turn", seconds=20)
            first.saves(kept, 6)
            kept.looking(lambda attempt: None)(tmp_path)

    with pytest.raises(RunTaken, match="goes on with run r in s3://"):
        replaced()
    assert second.lines[0].startswith("waiting for host ")
    assert first.stored == [bundle(2), bundle(4)]
    # Its folder is another one's past then.
    with first.keeps():
        pass
    assert first.lines == [
        "fetching run r from its store, up to step 4",
        "not gone on from, as another host did since: left-behind-step-00000006",
    ]


def test_a_store_that_fails_is_said_once_and_tried_again(
    tmp_path: Path, recipe: Recipe, s3_environment: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = False

    def now_and_then(request: Request, forward: Forward) -> Answer | None:
        return refusal(request, 403, "AccessDenied") if fails else forward(request)

    monkeypatch.setattr(keeping, "_SECONDS_BETWEEN_TRIES", 0.1)
    host = Host(tmp_path, recipe)
    look: Callable[[Path], None]
    with FaultProxy(s3_environment.endpoint_url, now_and_then) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        with host.keeps() as kept:
            look = kept.looking(lambda attempt: None)
            fails = True
            host.saves(kept, 2)
            wait_until(lambda: look(tmp_path) or bool(host.lines), "a line", seconds=20)
            time.sleep(0.5)
            fails = False
            wait_until(lambda: look(tmp_path) or len(host.lines) > 1, "a line", seconds=20)
        assert host.stored == [bundle(2)]
        assert len(host.lines) == 2
        assert host.lines[0].startswith("checkpoints are not kept in the store for now, tried ")
        assert "refused access to s3://" in host.lines[0]
        assert host.lines[1] == "kept in the store again, up to step 2"

        # At the end it is waited for, and no longer than was said.
        monkeypatch.setattr(keeping, "_LAST_SECONDS", 1.0)
        with host.keeps() as kept:
            fails = True
            host.saves(kept, 4)
        assert host.lines[-1] == (
            "the run's store does not have all yet, its newest is step 2: the same command, here, "
            "brings the rest there"
        )
        fails = False
        with host.keeps():
            pass
        assert host.stored == [bundle(2), bundle(4)]


def test_another_dataset_is_refused_before_anything_is_fetched(
    tmp_path: Path, recipe: Recipe
) -> None:
    first, second = Host(tmp_path / "a", recipe), Host(tmp_path / "b", recipe)
    with first.keeps() as kept:
        first.saves(kept, 2)
    with pytest.raises(InputError, match="another dataset: choose"), second.keeps(dataset="e"):
        pass
    assert not second.run.checkpoints.exists()


def test_a_host_that_cannot_fetch_lets_go_again(tmp_path: Path, recipe: Recipe) -> None:
    first, second = Host(tmp_path / "a", recipe), Host(tmp_path / "b", recipe)
    with first.keeps() as kept:
        first.saves(kept, 2)
    storage = open_storage(f"{recipe.devices.run_store}r")
    turn = newest_turn(storage)[1]
    assert turn is not None
    key = turn.kept["metrics.jsonl"]
    storage.remove(key)
    storage.create(key, b"other rows\n")
    for _ in range(2):
        with pytest.raises(IntegrityError, match=r"as metrics\.jsonl"), second.keeps():
            pass
    assert second.lines == ["fetching run r from its store, up to step 2"] * 2


def test_the_check_says_whether_the_store_can_be_written(
    recipe: Recipe, s3_environment: ObjectStore
) -> None:
    assert recipe.devices.run_store is not None
    good, bad = check_run_store(recipe.devices.run_store), check_run_store("s3://no-such/runs")
    assert (good.ok, good.name) == (True, "run store")
    assert not bad.ok
    assert "no bucket 'no-such'" in bad.detail
