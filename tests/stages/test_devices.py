"""What computes on accelerators takes them from the host first, whoever called it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mixnet_core.errors import MixnetError
from mixnet_core.evaluate.job import measure
from mixnet_core.processes.held_devices import devices_held
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.recipe.recipe import Recipe, load_recipe
from mixnet_core.runs.ticks import Tick
from mixnet_core.runs.values import PreparedDataset
from mixnet_core.stages.context import open_context
from mixnet_core.stages.measuring import measuring
from mixnet_core.stages.train import train


class Told(Exception):
    pass


def until_told(beginning: str) -> Callable[[Tick], None]:
    """A watch that ends the work at a detail that begins so."""

    def watch(tick: Tick) -> None:
        if tick.detail.startswith(beginning):
            raise Told(tick.detail)

    return watch


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """Of two ranks, on a host of two Ascend devices."""
    monkeypatch.setenv("MIXNET_DEVICE_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setenv("MIXNET_DEVICES", "0,1")
    monkeypatch.delenv("ASCEND_RT_VISIBLE_DEVICES", raising=False)
    return load_recipe(
        "digits",
        {"devices.target": "Ascend", "devices.ranks": 2, "devices.engine": "mindspore"},
    )


@pytest.fixture
def dataset(tmp_path: Path) -> PreparedDataset:
    return PreparedDataset(
        root=str(tmp_path),
        fingerprint="f",
        classes=("a", "b"),
        counts={"val": 4},
        val_fingerprint="v",
    )


def test_training_waits_for_devices_that_another_process_holds(
    recipe: Recipe, dataset: PreparedDataset, tmp_path: Path
) -> None:
    context = open_context(recipe, tmp_path / "workspace", run="r")
    with devices_held("Ascend", 1, "another", str), pytest.raises(Told, match="held by another"):
        train(context.watched_by(until_told("waiting for 2 of Ascend")), dataset, None)
    assert not context.run.attempts("train").exists()


def test_training_holds_one_device_a_rank_over_all_its_attempts(
    recipe: Recipe, dataset: PreparedDataset, tmp_path: Path
) -> None:
    one = recipe.model_copy(update={"devices": recipe.devices.model_copy(update={"ranks": 1})})
    context = open_context(one, tmp_path / "workspace", run="r")
    said = []

    def watch(tick: Tick) -> None:
        said.append(tick.detail)

    # There are no such devices, which its job finds out.
    with pytest.raises(MixnetError):
        train(context.watched_by(watch), dataset, None)
    assert said == ["on Ascend device 0"]
    with devices_held("Ascend", 2, "another", until_free):
        pass


def until_free(text: str) -> None:
    assert not text.startswith("waiting")


def test_measuring_waits_for_devices_that_another_process_holds(
    recipe: Recipe, dataset: PreparedDataset, tmp_path: Path
) -> None:
    with (
        devices_held("Ascend", 1, "train of r", str),
        pytest.raises(Told, match=r"0 held by train of r"),
    ):
        measure(
            recipe,
            dataset,
            [tmp_path / "weights.ckpt"],
            split="val",
            stage="validate",
            attempts=tmp_path / "attempts",
            watch=until_told("waiting for 2 of Ascend"),
        )


def test_who_leads_others_in_measuring_holds_its_devices_once_for_all_that_it_computes(
    recipe: Recipe, dataset: PreparedDataset, tmp_path: Path
) -> None:
    hosts = {"hosts": 2, "join_seconds": 0.1}
    recipe = recipe.model_copy(update={"devices": recipe.devices.model_copy(update=hosts)})
    context = open_context(recipe, tmp_path / "workspace", run="r")
    context.run.root.mkdir(parents=True, exist_ok=True)
    said: list[str] = []

    def watch(tick: Tick) -> None:
        said.append(tick.detail)
        # For ever: it would wait for what it holds itself.
        if tick.detail.startswith("waiting for 2 of Ascend"):
            raise Told(tick.detail)

    watched = context.watched_by(watch)
    host = HostRanks(2, 2, 0, "192.0.2.1", join_seconds=0.1)
    with measuring(watched, dataset, "select", host, lock=0) as measure_all:
        assert measure_all.held is not None
        assert measure_all.held.numbers == (0, 1)
        # There are no such devices, which its job finds out: with the other host, then alone.
        with pytest.raises(MixnetError):
            measure_all([tmp_path / "weights.ckpt"], "val")
    assert len([line for line in said if line.startswith("on Ascend device")]) == 1
    assert len(list(context.run.attempts("select").iterdir())) == 2
