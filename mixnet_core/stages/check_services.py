"""Checks of what a host talks to: ports, the Prefect server and its workers, the time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from mixnet_core.errors import InputError, TransientError
from mixnet_core.host.clock import Skew, kernel_synchronised, skew_of
from mixnet_core.host.ports import BASE_VARIABLE, RANGE_VARIABLE, handed_out, hccl_ports
from mixnet_core.host.ports import reserved as reserved_ports
from mixnet_core.host.ports import taken as taken_ports
from mixnet_core.host.prefect_server import Address, Server
from mixnet_core.host.topology import parse_list
from mixnet_core.processes.launch import held_port
from mixnet_core.stages.check_ascend import Chips
from mixnet_core.stages.check_result import (
    CheckResult,
    absent,
    failed,
    from_error,
    good,
    unknown,
    warning,
)
from mixnet_core.storage.uris import shown

# S3 refuses requests whose time differs by more (RequestTimeTooSkewed).
_STORE_SECONDS = 900.0
# Times of records, ticks and schedules would not fit together.
_TOLERATED_SECONDS = 5.0
_FEW_PORTS = 1000
_TIME = (
    "let it keep the time: `timedatectl set-ntp true`, chronyd or ntpd; a container has the host's"
)


def check_ports(chips: Chips, environment: Mapping[str, str]) -> CheckResult:
    """Takes a port as msrun does, and looks at those that HCCL takes with several devices."""
    try:
        with held_port() as port:
            detail = f"msrun gets one of the kernel's ({port} now)"
    except TransientError as error:
        return failed("ports", str(error), "see `ss -tan`")
    given = handed_out()
    if given is not None:
        detail += f", {given.start}-{given.stop - 1}"
        if len(given) < _FEW_PORTS:
            fix = "sysctl -w net.ipv4.ip_local_port_range='32768 60999'"
            return warning("ports", detail, fix)
    if len(chips.all) < 2:
        return good("ports", detail)
    try:
        ports = hccl_ports(environment)
    except InputError as error:
        return from_error("ports", error)
    if ports is None:
        return good("ports", f"{detail}; HCCL's by {RANGE_VARIABLE}")
    span = f"{ports.start}-{ports.stop - 1}"
    detail += f"; HCCL takes {span}"
    if busy := taken_ports(ports):
        said = f"{detail}, of which are in use: {', '.join(map(str, busy))}"
        fix = f"`ss -tlnp` says by whom; if by no run, set {BASE_VARIABLE} to others"
        return warning("ports", said, fix)
    if given is not None and set(ports) & set(given) - parse_list(reserved_ports()):
        fix = f"sysctl -w net.ipv4.ip_local_reserved_ports={span}"
        return warning("ports", f"{detail}, which the kernel gives to others too", fix)
    return good("ports", detail)


def check_prefect(address: Address | None, server: Server | None) -> CheckResult:
    """Says whether the Prefect server that is configured answers, and which workers are online."""
    if address is None or server is None:
        return absent("prefect", "no PREFECT_API_URL: runs start here without Prefect")
    where = f"{shown(address.api)} ({address.source})"
    if server.error:
        fix = "start the server, or correct PREFECT_API_URL and PREFECT_API_AUTH_STRING"
        return failed("prefect", f"{where}: {server.error}", fix, TransientError)
    detail = f"{where}: Prefect {server.version}"
    if server.workers is None:
        return unknown("prefect", f"{detail}; it does not say who works for it")
    online = [f"{name} in {pool}" for pool, names in server.workers.items() for name in names]
    if not online:
        pools = ", ".join(server.workers) or "none"
        fix = "prefect worker start --pool mixnet"
        return warning("prefect", f"{detail}, no worker is online (pools: {pools})", fix)
    return good("prefect", f"{detail}; online: {', '.join(online)}")


def check_clock(
    address: Address | None, server: Server | None, registry: str | None
) -> CheckResult:
    """Compares this clock with the store's and the Prefect server's, else asks the kernel."""
    skews: dict[str, Skew] = {}
    if address and server and server.skew and not _is_here(address.api):
        skews["the Prefect server's"] = server.skew
    if registry and registry.startswith("s3://") and (skew := _skew_of_store(registry)):
        skews["the store's"] = skew
    if not skews:
        return _by_kernel()
    whose, skew = max(skews.items(), key=lambda item: abs(item[1].seconds))
    detail = f"{_apart(skew)} {whose}"
    if "the store's" in skews and abs(skews["the store's"].seconds) > _STORE_SECONDS:
        return failed("clock", f"{detail}: S3 refuses what is 15 minutes off", _TIME)
    if abs(skew.seconds) - skew.within > _TOLERATED_SECONDS:
        return warning("clock", detail, _TIME)
    return good("clock", detail)


def _by_kernel() -> CheckResult:
    synchronised = kernel_synchronised()
    if synchronised is None:
        return unknown("clock", "nothing here says whether it is right")
    if not synchronised:
        said = "the kernel says that nothing keeps it right; how far it is off is unknown"
        return unknown("clock", said, _TIME)
    return good("clock", "the kernel says that it is kept right")


def _apart(skew: Skew) -> str:
    if abs(skew.seconds) <= skew.within:
        return f"within {skew.within:.1f} s of"
    side = "ahead of" if skew.seconds > 0 else "behind"
    return f"{abs(skew.seconds):.0f} s {side}"


def _is_here(url: str) -> bool:
    """Tells whether a server is on this machine, whose clock is this one."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _skew_of_store(uri: str) -> Skew | None:
    """Asks the S3 service anything: it says the time with whatever it answers."""
    import urllib3

    try:
        import boto3

        endpoint = str(boto3.client("s3").meta.endpoint_url)
        before = time.time()
        answer = urllib3.request(
            "HEAD", endpoint, timeout=5.0, retries=False, redirect=False, preload_content=True
        )
        return skew_of(answer.headers.get("date", ""), before, time.time())
    except Exception:
        # Whatever is wrong with the store is told by the check of publishing.
        return None
