"""Which ranks a host starts, where all hosts take part and where some do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.processes.msrun import msrun_command

LAST = HostRanks(each=2, hosts=3, host=2, address="10.0.0.1", port=4000)


def test_ranks_are_counted_over_all_hosts() -> None:
    assert (LAST.at_work, LAST.count, list(LAST.here)) == ((0, 1, 2), 6, [4, 5])
    assert "--node_rank=2" in msrun_command("m", Path("a"), LAST)


def test_where_some_do_not_take_part_ranks_are_numbered_without_gaps_and_hosts_keep_theirs() -> (
    None
):
    without = replace(LAST, among=(0, 2))
    assert (without.count, list(without.here), without.named) == (4, [2, 3], "host 2 of 3")
    command = msrun_command("m", Path("a"), without)
    assert {"--worker_num=4", "--local_worker_num=2", "--node_rank=1"} <= set(command)
    assert without.log(Path("a")) == LAST.log(Path("a"))


def test_the_one_that_is_left_starts_its_ranks_as_one_host_does() -> None:
    alone = replace(LAST, host=0, among=(0,))
    assert (alone.leads, alone.count, list(alone.here)) == (True, 2, [0, 1])
    assert not any(word.startswith("--node_rank") for word in msrun_command("m", Path("a"), alone))
