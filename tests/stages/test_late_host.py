"""A host that comes while the others train already."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixnet_core.errors import InputError
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.runs.lease import lease, said_in, say_in
from mixnet_core.runs.pulse import Pulse
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.stages.following import follow
from mixnet_core.stages.joint_work import Work, told_to


def test_one_that_was_told_otherwise_is_refused_before_the_leader_hears_of_it(
    tmp_path: Path,
) -> None:
    run, two = RunDir(tmp_path / "r"), {"devices.hosts": 2, "devices.min_hosts": 1}
    leads, joins = (
        load_recipe("digits", two | {"devices.ranks": ranks, "training.global_batch": 24})
        for ranks in (1, 3)
    )
    led = lease(run.hosts, 1)
    led.folder.mkdir(parents=True)
    told = told_to(leads, run, HostRanks(1, 2, 0, "10.0.0.1"), Work.training(leads))
    say_in(led.owner, told | {"attempt": 1, "plan": {"hosts": [0]}, "over": False})
    with (
        Pulse(led.pulse(0), seconds=0.05),
        pytest.raises(InputError, match=r"host 1 of 2 has ranks 3, host 0 has 1: start all"),
    ):
        follow(joins, run, HostRanks(3, 2, 1), print, lambda: False, Work.training(joins))
    assert said_in(led.host(1))["left"] == "InputError"
