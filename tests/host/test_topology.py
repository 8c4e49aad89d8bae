from __future__ import annotations

import os
from pathlib import Path

from mixnet_core.host.topology import as_list, node_of_device, parse_list, read_cores


def machine(folder: Path) -> Path:
    """Four threads of two cores on two nodes, as /sys shows them, and these that are usable."""
    usable = sorted(os.sched_getaffinity(0))
    for core in usable:
        place = folder / "cpu" / f"cpu{core}" / "topology"
        place.mkdir(parents=True)
        (place / "thread_siblings_list").write_text(f"{usable[0]}-{usable[-1]}\n")
    for node, cores in enumerate((as_list(usable), "1000-1003")):
        (folder / "node" / f"node{node}").mkdir(parents=True)
        (folder / "node" / f"node{node}" / "cpulist").write_text(f"{cores}\n")
    return folder


def test_cores_threads_and_nodes_are_those_of_this_process(tmp_path: Path) -> None:
    cores = read_cores(machine(tmp_path))
    assert cores.usable == os.sched_getaffinity(0)
    assert cores.whole == 1
    assert cores.nodes[1] == {1000, 1001, 1002, 1003}
    assert cores.usable_nodes() == (0,)


def test_a_kernel_that_says_nothing_leaves_the_affinity(tmp_path: Path) -> None:
    cores = read_cores(tmp_path)
    assert (cores.whole, cores.nodes, cores.usable_nodes()) == (None, {}, ())
    assert cores.usable == os.sched_getaffinity(0)


def test_a_device_has_a_node_where_the_firmware_knows_it(tmp_path: Path) -> None:
    for bus, text in (("0000:c1:00.0", "1\n"), ("0000:c2:00.0", "-1\n")):
        (tmp_path / bus).mkdir()
        (tmp_path / bus / "numa_node").write_text(text)
    assert node_of_device("0000:c1:00.0", tmp_path) == 1
    assert node_of_device("0000:c2:00.0", tmp_path) is None
    assert node_of_device("0000:c3:00.0", tmp_path) is None


def test_lists_of_cores_are_read_and_written() -> None:
    assert parse_list("0-3,8\n") == {0, 1, 2, 3, 8}
    assert parse_list("") == parse_list("x-y") == frozenset()
    assert as_list({8, 3, 2, 1, 0}) == "0-3,8"
    assert as_list([]) == ""
