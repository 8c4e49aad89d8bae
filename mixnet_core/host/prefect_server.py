"""Asks a Prefect server whether it is there and who works for it, over HTTP, without Prefect."""

from __future__ import annotations

import base64
import json
import os
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from mixnet_core.host.clock import Skew, skew_of

SECONDS = 5.0
_MOST_POOLS = 20
_READABLE = 1 << 20


@dataclass(frozen=True)
class Address:
    """Holds where the server is and what it wants to hear; as Prefect's settings say.

    Attributes:
        api: ends in /api.
        headers: of every question; they may hold a secret.
        source: what names it.
    """

    api: str
    headers: Mapping[str, str]
    source: str


@dataclass(frozen=True)
class Server:
    """Holds what the server said.

    Attributes:
        error: why it cannot be used; "" if it can.
        version: of Prefect there.
        workers: pool -> names of the workers that are online.
        skew: of this clock to the server's.
    """

    error: str
    version: str = ""
    workers: Mapping[str, tuple[str, ...]] | None = None
    skew: Skew | None = None


def find_address(environment: Mapping[str, str] = os.environ) -> Address | None:
    """Finds PREFECT_API_URL in the environment, else in the active profile; None: there is none."""
    settings: dict[str, str] = {**_profile(environment), **environment}
    api = settings.get("PREFECT_API_URL", "").rstrip("/")
    if not api:
        return None
    headers = {}
    if login := settings.get("PREFECT_API_AUTH_STRING"):
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    elif key := settings.get("PREFECT_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    named = "PREFECT_API_URL" in environment
    return Address(api, headers, "PREFECT_API_URL" if named else "Prefect's active profile")


def _profile(environment: Mapping[str, str]) -> dict[str, str]:
    home = Path(environment.get("PREFECT_HOME") or "~/.prefect")
    file = Path(environment.get("PREFECT_PROFILES_PATH") or home / "profiles.toml")
    try:
        content: dict[str, Any] = tomllib.loads(file.expanduser().read_text(encoding="utf-8"))
        name = environment.get("PREFECT_PROFILE") or content.get("active")
        chosen = content["profiles"][name]
        return {key: str(value) for key, value in chosen.items()}
    except (OSError, RuntimeError, ValueError, LookupError, AttributeError, TypeError):
        return {}


def ask_server(address: Address, *, seconds: float = SECONDS) -> Server:
    """Asks for its health, version and workers.

    Args:
        seconds: how long one answer may take.
    """
    http = urllib3.PoolManager(
        headers=dict(address.headers),
        timeout=urllib3.Timeout(total=seconds),
        retries=urllib3.Retry(0, redirect=2),
    )
    before = time.time()
    try:
        answer = http.request("GET", f"{address.api}/admin/version")
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        return Server(error=_why(error))
    skew = skew_of(answer.headers.get("date", ""), before, time.time())
    if answer.status in (401, 403):
        return Server(error=f"it refuses the login ({answer.status})", skew=skew)
    version = _json(answer)
    if answer.status != 200 or not isinstance(version, str):
        return Server(error=f"it does not answer as Prefect does ({answer.status})", skew=skew)
    try:
        workers = _workers(http, address.api)
    except (urllib3.exceptions.HTTPError, ValueError):
        workers = None
    return Server(error="", version=version, workers=workers, skew=skew)


def _workers(http: urllib3.PoolManager, api: str) -> dict[str, tuple[str, ...]] | None:
    pools = _json(http.request("POST", f"{api}/work_pools/filter", json={"limit": _MOST_POOLS}))
    if not isinstance(pools, list):
        return None
    found = {}
    for pool in pools:
        name = str(pool.get("name"))
        there = _json(http.request("POST", f"{api}/work_pools/{name}/workers/filter", json={}))
        online = there if isinstance(there, list) else []
        found[name] = tuple(
            str(worker.get("name")) for worker in online if worker.get("status") == "ONLINE"
        )
    return found


def _json(answer: urllib3.BaseHTTPResponse) -> Any:
    try:
        return json.loads(answer.data[:_READABLE])
    except ValueError:
        return None


def _why(error: Exception) -> str:
    """Says it in the kernel's words: urllib3's repeat the address, which may hold a secret."""
    cause = getattr(error, "reason", error).__cause__
    if isinstance(cause, OSError):
        return cause.strerror or str(cause)
    return "it is no address" if isinstance(error, ValueError) else type(error).__name__
