"""Puts what the deployments need onto the Prefect server of PREFECT_API_URL; run again, changes it.

- the work pool `mixnet`: processes that start in the folder given, or in this one; with
  --kubernetes, Jobs as a base job template describes them;
- a queue for each deployment, from which one run at a time is taken;
- the global concurrency limit `accelerators`, which runs on accelerators share;
- the automation of zombies.yaml.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL
from prefect.workers.process import ProcessWorker

from mixnet_core.errors import InputError, MixnetError, TransientError
from mixnet_core.storage.files import os_errors_explained
from mixnet_core.storage.uris import shown
from mixnet_flows.accelerators import LIMIT

POOL = "mixnet"
# Of a host with Ascend cards.
DEVICES = 8
# Named as the deployments of prefect.yaml.
QUEUES = ("train", "finetune", "unpack", "releases", "alarm", "node")
ZOMBIES = Path(__file__).with_name("zombies.yaml")


def process_template(folder: Path) -> dict[str, Any]:
    """Returns the base job template of processes that start in `folder`."""
    template: dict[str, Any] = ProcessWorker.get_default_base_job_template()
    template["variables"]["properties"]["working_dir"]["default"] = str(folder)
    return template


def kubernetes_template(file: Path) -> dict[str, Any]:
    """Reads a base job template of Jobs.

    Raises:
        InputError: the file holds none.
        MachineError: it cannot be read.
    """
    with os_errors_explained(file, "read"):
        text = file.read_bytes()
    try:
        found = json.loads(text)
        if {"variables", "job_configuration"} <= found.keys():
            return dict(found)
    except (ValueError, AttributeError):
        pass
    raise InputError(
        f"{shown(str(file))} is no base job template: expected JSON with `variables` and "
        "`job_configuration`, as infra/kubernetes/base-job-template.json"
    )


def set_up_pool(client: SyncPrefectClient, kind: str, template: dict[str, Any]) -> None:
    """Makes or changes the pool.

    Raises:
        InputError: there is one of another kind, whose runs another worker takes.
    """
    try:
        there = client.read_work_pool(POOL)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=POOL, type=kind, base_job_template=template))
        return
    if there.type != kind:
        raise InputError(
            f"the work pool {POOL} is of type {there.type}, expected {kind}: a pool keeps its "
            f"type; `prefect work-pool delete {POOL}` takes its deployments' queues with it"
        )
    client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))


def set_up_queues(client: SyncPrefectClient) -> None:
    """Makes or changes the pool's queues: one run of each deployment at a time.

    The server counts a queue's runs by their states, so nothing can expire under a run.
    """
    for name in QUEUES:
        set_up_queue(client, name)


def set_up_queue(client: SyncPrefectClient, name: str, description: str | None = None) -> None:
    """Makes or changes a queue of the pool, from which one run at a time is taken."""
    try:
        queue = client.read_work_queue_by_name(name, POOL)
    except ObjectNotFound:
        client.create_work_queue(
            name, description=description, concurrency_limit=1, work_pool_name=POOL
        )
    else:
        described = {} if description is None else {"description": description}
        client.update_work_queue(queue.id, concurrency_limit=1, **described)


def set_up_accelerators(client: SyncPrefectClient, count: int | None) -> int:
    """Makes or changes the limit; returns it.

    Args:
        count: None: as it is, `DEVICES` where there is none.
    """
    if count is None:
        try:
            return client.read_global_concurrency_limit_by_name(LIMIT).limit
        except ObjectNotFound:
            count = DEVICES
    client.upsert_global_concurrency_limit_by_name(LIMIT, count)
    return count


def set_up_automation(client: SyncPrefectClient, path: Path) -> None:
    """Makes or replaces the automation of the file's name: creating it twice would leave two."""
    automation = AutomationCore.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    there = client.read_automations_by_name(automation.name)
    if not there:
        client.create_automation(automation)
        return
    client.update_automation(there[0].id, automation)
    for double in there[1:]:
        client.delete_automation(double.id)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(),
        help="where runs start on the worker's machine; this folder",
    )
    parser.add_argument(
        "--kubernetes",
        type=Path,
        metavar="FILE",
        help="runs are Jobs by this base job template: infra/kubernetes/base-job-template.json",
    )
    parser.add_argument(
        "--accelerators",
        type=int,
        help=f"devices of all workers together, at least 1; as it was set before, else {DEVICES}",
    )
    options = parser.parse_args()
    if options.accelerators is not None and options.accelerators < 1:
        parser.error(f"--accelerators {options.accelerators}: expected at least 1")
    url = PREFECT_API_URL.value()
    if not url:
        parser.error("PREFECT_API_URL is not set: start `prefect server start` and give its URL")
    folder = options.folder.expanduser().absolute()
    kind = "process" if options.kubernetes is None else "kubernetes"
    try:
        template = (
            process_template(folder)
            if options.kubernetes is None
            else kubernetes_template(options.kubernetes)
        )
        with get_client(sync_client=True) as client:
            set_up_pool(client, kind, template)
            set_up_queues(client)
            count = set_up_accelerators(client, options.accelerators)
            set_up_automation(client, ZOMBIES)
    except MixnetError as error:
        sys.stderr.write(f"setup: {error}\n")
        return error.exit_code
    except httpx.TransportError as error:
        sys.stderr.write(
            f"no Prefect server answers at {shown(url)} ({type(error).__name__}): start it\n"
        )
        return TransientError.exit_code
    except PrefectHTTPStatusError as error:
        code = error.response.status_code
        login = code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
        fix = (
            "set PREFECT_API_AUTH_STRING to its USER:PASSWORD" if login else "see the server's log"
        )
        sys.stderr.write(f"the Prefect server at {shown(url)} answers {code}: {fix}\n")
        return InputError.exit_code if login else TransientError.exit_code
    place = f"in {folder}" if options.kubernetes is None else "of Jobs"
    sys.stdout.write(
        f"{shown(url)}: pool {POOL} {place}, {count} {LIMIT}, automation of {ZOMBIES.name}\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
