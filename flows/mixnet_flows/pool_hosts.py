"""The pool's other hosts: which are free to train with this one, which are busy, which away."""

from __future__ import annotations

from dataclasses import dataclass

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, WorkQueueFilter

from mixnet_flows.infra.setup import POOL
from mixnet_flows.taken_host import tag_of
from mixnet_flows.this_host import host_of

UNDER_WAY = ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING", "PAUSED"]


@dataclass(frozen=True)
class OtherHosts:
    """Other hosts by name.

    Attributes:
        free: nothing trains on them.
        busy: with what, as in "b (busy with RUN)".
        away: why, as in "d (offline)".
    """

    free: list[str]
    busy: list[str]
    away: list[str]

    def __str__(self) -> str:
        return ", ".join([f"{name} (free)" for name in self.free] + self.busy + self.away) or "none"


def other_hosts(client: SyncPrefectClient, own: str) -> OtherHosts:
    """Asks the server for the pool's hosts but `own`.

    A worker is online as long as the server says so, by its own clock.
    """
    queues = {
        host: queue
        for queue in client.read_work_queues(work_pool_name=POOL)
        if (host := host_of(queue.name)) is not None and host != own
    }
    workers = client.read_workers_for_work_pool(POOL)
    online = {worker.name for worker in workers if worker.status == "ONLINE"}
    under_way = {"state": {"type": {"any_": UNDER_WAY}}}
    queued = client.read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate(under_way),
        work_queue_filter=WorkQueueFilter.model_validate(
            {"name": {"any_": [queue.name for queue in queues.values()]}}
        ),
    )
    leading = client.read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate(
            under_way | {"tags": {"any_": [tag_of(host) for host in queues]}}
        )
    )
    taken = {tag: run.name for run in leading for tag in run.tags}
    taken |= {tag_of(host_of(run.work_queue_name or "") or ""): run.name for run in queued}
    free, busy, away = [], [], []
    for host, queue in sorted(queues.items()):
        if host not in online:
            away.append(f"{host} (offline)")
        elif queue.is_paused:
            away.append(f"{host} (its queue is paused)")
        elif (name := taken.get(tag_of(host))) is not None:
            busy.append(f"{host} (busy with {name})")
        else:
            free.append(host)
    return OtherHosts(free, busy, away)
