"""Which host this is of how many comes from options, or from Slurm's and Kubernetes' variables."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from mixnet_core.errors import InputError, MachineError, TransientError
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.recipe.sections import Devices
from mixnet_core.stages.which_host import hosts_told, which_host

STEP = {"SLURM_STEP_NUM_NODES": "2", "SLURM_NODEID": "1", "SLURM_LOCALID": "0"}


def devices(hosts: int = 2, join: float = 120.0) -> Devices:
    settings = {"devices.hosts": hosts, "devices.ranks": 2, "training.global_batch": 24}
    return load_recipe("digits", settings | {"devices.join_seconds": join}).devices


def own_address() -> str:
    for rows in psutil.net_if_addrs().values():
        for row in rows:
            if row.family == socket.AF_INET and not row.address.startswith("127."):
                return row.address
    pytest.skip("this machine has no address but its own loopback")


@pytest.mark.parametrize(
    ("hosts", "environment", "told"),
    [
        (None, {}, None),
        (3, STEP, 3),
        (None, STEP, 2),
        (None, STEP | {"MIXNET_HOSTS": "4"}, 4),
        (None, STEP | {"MIXNET_HOSTS": " "}, 2),
        # A batch script, which runs on one of its job's nodes.
        (None, {"SLURM_NNODES": "4", "SLURM_NODEID": "0"}, None),
        (None, {"JOB_COMPLETION_INDEX": "3"}, None),
        (None, {"SLURM_STEP_NUM_NODES": "1", "SLURM_LOCALID": "3"}, 1),
    ],
)
def test_the_first_that_says_how_many_counts(
    hosts: int | None, environment: dict[str, str], told: int | None
) -> None:
    assert hosts_told(hosts, environment) == told


def test_a_host_has_one_task() -> None:
    with pytest.raises(InputError, match=r"task 3 of its host: .*--ntasks-per-node=1"):
        hosts_told(None, STEP | {"SLURM_LOCALID": "3"})


@pytest.mark.parametrize(
    ("node_rank", "environment", "host"),
    [
        (1, {"SLURM_NODEID": "0"}, 1),
        (None, {"SLURM_NODEID": "1"}, 1),
        (None, {"JOB_COMPLETION_INDEX": "1"}, 1),
        (None, {"MIXNET_NODE_RANK": "1", "JOB_COMPLETION_INDEX": "0"}, 1),
    ],
)
def test_a_host_that_does_not_lead_needs_its_number_alone(
    node_rank: int | None, environment: dict[str, str], host: int
) -> None:
    found = which_host(devices(), node_rank=node_rank, environment=environment)
    assert (found.host, found.hosts, found.each, found.count) == (host, 2, 2, 4)
    assert list(found.here) == [2, 3]
    assert not found.leads
    assert found.named == "host 1 of 2"


def test_the_leader_takes_an_address_of_its_own() -> None:
    address = own_address()
    told: dict[str, Any] = {"node_rank": 0, "environment": {}}
    assert which_host(devices(), master=address, **told).port is None
    found = which_host(devices(), master=f"{address}:29500", **told)
    assert (found.address, found.port, found.leads) == (address, 29500, True)
    by_variable = which_host(devices(), node_rank=0, environment={"MIXNET_MASTER": address})
    assert by_variable.address == address


def test_the_first_of_slurms_nodes_leads(tmp_path: Path) -> None:
    address = own_address()
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "{address} $*" | tr " " "\\n"\n')
    (tmp_path / "scontrol").chmod(0o755)
    slurm = {
        "SLURM_NODEID": "0",
        "SLURM_JOB_NODELIST": "n[1-2]",
        "PATH": f"{tmp_path}:/usr/bin:/bin",
    }
    assert which_host(devices(), environment=slurm).address == address
    (tmp_path / "scontrol").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(MachineError, match=r"`scontrol show hostnames n\[1-2\]` fails .*--master"):
        which_host(devices(), environment=slurm)


@pytest.mark.parametrize(
    ("told", "error", "message"),
    [
        ({}, InputError, "nothing says which of them this is: run `mixnet train --hosts 2"),
        ({"node_rank": 2}, InputError, "--node-rank 2: expected 0 to 1, of 2 hosts"),
        ({"node_rank": 0}, InputError, "host 0 of 2 leads, and does not know its address"),
        ({"node_rank": 0, "master": "127.0.0.1"}, InputError, "which other hosts cannot reach"),
        ({"node_rank": 0, "master": "192.0.2.1"}, InputError, "no address of this host"),
        ({"node_rank": 0, "master": "[::1]:x"}, InputError, "expected ADDRESS or ADDRESS:PORT"),
        ({"node_rank": 0, "master": "192.0.2.1:0"}, InputError, "expected ADDRESS or ADDRESS:PORT"),
        ({"node_rank": 0, "master": "no.invalid"}, TransientError, "is not known here"),
        ({"environment": {"SLURM_NODEID": "x"}}, InputError, "SLURM_NODEID is 'x': expected a num"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(
    told: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message.replace("[", r"\[")):
        which_host(devices(join=0.1), **{"environment": {}, **told})


# In namespaces of their own, with two addresses of a network: files of hosts as they are at first
# and after a while. Says for each the address of host 0, or why there is none.
POD = """
import json, logging, pathlib, subprocess, sys, threading
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.stages.which_host import which_host
logging.basicConfig(format="%(message)s")
hosts = pathlib.Path("/etc/hosts")
settings = {"devices.hosts": 2, "devices.ranks": 2, "training.global_batch": 24}
devices = load_recipe("digits", settings).devices
for before, after, more in json.loads(sys.argv[1]):
    subprocess.run(more.split(), check=True)
    hosts.write_text(before)
    if after:
        threading.Timer(0.5, hosts.write_text, [after]).start()
    try:
        print(which_host(devices, node_rank=0, master="pod-0.set:29500", environment={}).address)
    except Exception as error:
        print(error)
"""
NETWORK = """
ip link add up0 type veth peer name up1 && ip link set up0 up && ip link set up1 up
ip addr add 10.83.0.1/24 dev up0 && ip addr add fd00::1/64 dev up0 nodad
ip addr add fe80::83/64 dev up0 nodad && mount --bind "$0" /etc/hosts && exec "$@"
"""
OWN = "10.83.0.1 pod-0.set\n"
DEBIAN = "127.0.1.1 pod-0.set\n"


def test_a_name_is_this_hosts_once_it_says_so(tmp_path: Path) -> None:
    cases = [
        # A pod's name, which is not known at first, or is that of the pod before it.
        ("", OWN, "true"),
        ("192.0.2.7 pod-0.set\n", OWN, "true"),
        # Of two addresses the one that every version of MindSpore knows.
        (f"fd00::1 pod-0.set\n{OWN}", "", "true"),
        ("fe80::83 pod-0.set\n", "", "true"),
        (DEBIAN, "", "true"),
        (DEBIAN, "", "ip addr add 10.84.0.1/24 dev up1"),
    ]
    hosts = tmp_path / "hosts"
    hosts.touch()
    words = ["sh", "-ec", NETWORK, hosts, sys.executable, "-c", POD, json.dumps(cases)]
    done = subprocess.run(["unshare", "-mn", *words], capture_output=True, text=True, check=False)
    if not done.stdout:
        pytest.skip(f"namespaces need root and ip: {done.stderr}")
    *answers, last = done.stdout.splitlines()
    assert answers == ["10.83.0.1"] * 5, done.stderr
    assert last.endswith("of this host in their network, 10.83.0.1 or 10.84.0.1")
    said = done.stderr.splitlines()
    assert said == [
        "--master pod-0.set is not known here: looking it up for 60 s",
        "--master pod-0.set is 192.0.2.7, which is not here: looking it up for 60 s",
        "--master pod-0.set is fe80::83 here: taking 10.83.0.1",
        "--master pod-0.set is 127.0.1.1 here: taking 10.83.0.1",
    ]


def test_one_host_asks_nothing_and_takes_nothing_of_several() -> None:
    found = which_host(devices(1), environment=STEP | {"MIXNET_MASTER": "x"})
    assert found == HostRanks(each=2)
    with pytest.raises(InputError, match="--node-rank 1 is of several hosts"):
        which_host(devices(1), node_rank=1, environment={})
    with pytest.raises(InputError, match="--master is of several hosts"):
        which_host(devices(1), master="h", environment={})
