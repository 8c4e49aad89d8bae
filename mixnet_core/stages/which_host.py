"""Which of how many hosts this one is, and where they meet: as told, or from the environment.

    of              option        environment
    how many        --hosts       MIXNET_HOSTS, SLURM_STEP_NUM_NODES
    which one       --node-rank   MIXNET_NODE_RANK, SLURM_NODEID, JOB_COMPLETION_INDEX
    host 0's place  --master      MIXNET_MASTER, else the first of Slurm's nodes

The first that is there counts. Slurm's count is the step's, which `srun` sets: a batch script of
four nodes runs on one of them by itself, and must not wait for three others. JOB_COMPLETION_INDEX
is what Kubernetes gives the pods of an indexed Job, as JobSet's are; how many they are it does not
say.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
import subprocess
import time
from collections.abc import Mapping

import psutil

from mixnet_core.errors import InputError, MachineError, TransientError
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.recipe.sections import Devices
from mixnet_core.storage.uris import shown

_COUNTS = ("MIXNET_HOSTS", "SLURM_STEP_NUM_NODES")
_NUMBERS = ("MIXNET_NODE_RANK", "SLURM_NODEID", "JOB_COMPLETION_INDEX")
_MASTER = "MIXNET_MASTER"
_NODES = ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST")
_SCONTROL_SECONDS = 30.0
# What answers for names keeps an old answer for half a minute at most.
_SECONDS_FOR_A_NAME = 60.0
_SECONDS_BETWEEN_LOOKS = 1.0

log = logging.getLogger(__name__)


def hosts_told(hosts: int | None, environment: Mapping[str, str]) -> int | None:
    """Returns how many hosts are to train together; None where nobody says.

    Args:
        hosts: as --hosts.
        environment: of the command.

    Raises:
        InputError: a variable holds no number, or this is not the one task of its host.
    """
    if hosts is not None:
        return hosts
    found = _number(_COUNTS, environment)
    if found is None or found[1] < 1:
        return None
    if found[0].startswith("SLURM") and found[1] > 1:
        local = environment.get("SLURM_LOCALID", "0").strip()
        if local not in ("", "0"):
            raise InputError(
                f"this is task {shown(local)} of its host: have Slurm start one on each, with "
                "--ntasks-per-node=1; `mixnet train` starts that host's ranks"
            )
    return found[1]


def says_which(node_rank: int | None, environment: Mapping[str, str]) -> bool:
    """Tells whether it is said which of several hosts this is.

    Args:
        node_rank, environment: as `which_host`.

    Raises:
        InputError: a variable holds no number.
    """
    return node_rank is not None or _number(_NUMBERS, environment) is not None


def which_host(
    devices: Devices,
    *,
    node_rank: int | None = None,
    master: str | None = None,
    environment: Mapping[str, str],
) -> HostRanks:
    """Returns which ranks this host starts.

    Args:
        devices: how many hosts there are, and ranks on each.
        node_rank: as --node-rank.
        master: as --master, ADDRESS or ADDRESS:PORT. Host 0 needs it: the others read it in the
            run's folder.
        environment: of the command.

    Raises:
        InputError: it is not said which host this is or where they meet; or it cannot be.
        TransientError: the address cannot be found by its name, for a minute at most.
        MachineError: `scontrol` fails.
    """
    hosts, each = devices.hosts, devices.ranks
    if hosts == 1:
        if node_rank or master is not None:
            given = "--master" if not node_rank else f"--node-rank {node_rank}"
            raise InputError(f"{given} is of several hosts: say how many with --hosts")
        return HostRanks(each=each)
    number = node_rank
    if number is None and (found := _number(_NUMBERS, environment)) is not None:
        number = found[1]
    if number is None:
        raise InputError(
            f"devices.hosts is {hosts}, and nothing says which of them this is: run `mixnet train "
            f"--hosts {hosts} --node-rank I --master ADDRESS` on each, with I from 0 to {hosts - 1}"
        )
    if not 0 <= number < hosts:
        raise InputError(f"--node-rank {number}: expected 0 to {hosts - 1}, of {hosts} hosts")
    here = HostRanks(each, hosts, number, join_seconds=devices.join_seconds)
    if not here.leads:
        return here
    place = master_told(master, environment)
    if place is None:
        raise InputError(
            f"{here.named} leads, and does not know its address: give --master ADDRESS[:PORT], one "
            "of this host's that the others reach"
        )
    name, port = place
    address = _own_address(name, min(devices.join_seconds, _SECONDS_FOR_A_NAME))
    return HostRanks(each, hosts, 0, address, port, devices.join_seconds)


def master_told(
    master: str | None, environment: Mapping[str, str]
) -> tuple[str, int | None] | None:
    """Returns host 0's name or address, and its port if one is named; None where nobody says it.

    Args:
        master, environment: as `which_host`.

    Raises:
        InputError: it is no such place.
        MachineError: `scontrol` fails.
    """
    named = master or environment.get(_MASTER, "").strip() or _first_of_slurm(environment)
    return _place(named) if named else None


def _number(variables: tuple[str, ...], environment: Mapping[str, str]) -> tuple[str, int] | None:
    """Returns the first variable that is set, and what it says."""
    for name in variables:
        # Set but empty is what a script leaves that meant to unset it.
        if text := environment.get(name, "").strip():
            if not re.fullmatch(r"[0-9]{1,6}", text):
                raise InputError(f"{name} is {shown(text)!r}: expected a number")
            return name, int(text)
    return None


def _first_of_slurm(environment: Mapping[str, str]) -> str:
    """Returns the name of the first of a Slurm step's nodes; "" outside of Slurm."""
    nodes = next((said for name in _NODES if (said := environment.get(name, "").strip())), "")
    if not nodes:
        return ""
    try:
        listed = subprocess.run(
            ["scontrol", "show", "hostnames", nodes],
            capture_output=True,
            text=True,
            timeout=_SCONTROL_SECONDS,
            check=True,
            env=dict(environment),
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise MachineError(
            f"`scontrol show hostnames {shown(nodes)}` fails ({type(error).__name__}): give "
            f"--master, or set {_MASTER}, to the first host's address"
        ) from error
    return next(iter(listed.stdout.split()), "")


def _place(named: str) -> tuple[str, int | None]:
    """Takes ADDRESS, ADDRESS:PORT, [IPv6] or [IPv6]:PORT apart."""
    match = re.fullmatch(r"\[([^\]]+)\](?::([0-9]+))?", named) or re.fullmatch(
        r"([^:\s/]+)(?::([0-9]+))?", named
    )
    if match is None and re.fullmatch(r"[0-9a-fA-F:.]+", named):
        return named, None
    port = int(match[2]) if match and match[2] else None
    if match is None or (port is not None and not 0 < port < 65536):
        raise InputError(
            f"--master {shown(named)!r}: expected ADDRESS or ADDRESS:PORT, as in 10.0.0.1:29500"
        )
    return match[1], port


def _own_address(name: str, seconds: float) -> str:
    """Returns the address of host 0, which this host is, in numbers.

    MindSpore's scheduler is started by whoever has the address: a wrong one leaves all waiting.

    Args:
        seconds: that a name is looked up again: a pod's is not known, or is that of the pod before
            it, for some seconds after it began.
    """
    until = time.monotonic() + (0.0 if _is_address(name) else seconds)
    said = False
    while True:
        addresses, why = _addresses(name)
        own = [each for each in addresses if each in local_addresses() or _is_loopback(each)]
        if own or time.monotonic() >= until:
            break
        if not said:
            what = f"is {addresses[0]}, which is not here" if addresses else "is not known here"
            log.warning("--master %s %s: looking it up for %g s", shown(name), what, seconds)
            said = True
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    if not addresses:
        raise TransientError(
            f"--master {shown(name)} is not known here ({why}): give an address, or a name that "
            "this host resolves"
        )
    if not own:
        raise InputError(
            f"--master {shown(name)} is {addresses[0]}, no address of this host, which leads as "
            "host 0: give one of its own, or start --node-rank 0 where it belongs"
        )
    numbers = [ipaddress.ip_address(address) for address in own]
    reached = [each for each in numbers if not _is_near(each)]
    if not reached:
        return _only_address(name, own[0])
    # Older versions of MindSpore know IPv4 only; a resolver names IPv6 first.
    return str(min(reached, key=lambda each: each.version))


def _only_address(name: str, own: str) -> str:
    """Returns this host's address where its name leads to itself only, as Debian's installer does.

    Raises:
        InputError: it has none that others reach, or more than one, or an address was given.
    """
    rows = (row for rows in psutil.net_if_addrs().values() for row in rows)
    found = sorted(
        ipaddress.IPv4Address(row.address) for row in rows if row.family == socket.AF_INET
    )
    others = [str(each) for each in found if not _is_near(each)]
    if _is_address(name) or len(others) != 1:
        here = f", {' or '.join(others)}" if others else ""
        raise InputError(
            f"--master {shown(name)} is {own} here, which other hosts cannot reach: give the "
            f"address of this host in their network{here}"
        )
    log.warning("--master %s is %s here: taking %s", shown(name), own, others[0])
    return others[0]


def _is_near(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    # A link-local one names a network with its number only, which is another one on each host.
    return address.is_loopback or address.is_link_local


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(address: str) -> bool:
    # The whole of 127.0.0.0/8 is this host, of which only the first address is listed.
    return ipaddress.ip_address(address).is_loopback


def _addresses(name: str) -> tuple[list[str], str]:
    """Returns the addresses of a name, and why there are none."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        return [], str(error.strerror or error)
    return [str(row[4][0]).partition("%")[0] for row in found], ""


def local_addresses() -> set[str]:
    """Returns the addresses of this host's interfaces, in numbers."""
    return {
        row.address.partition("%")[0] for rows in psutil.net_if_addrs().values() for row in rows
    }
