"""What the variables say, read by Prefect itself; test_serve_on_postgres.py has it delete."""

from __future__ import annotations

from datetime import timedelta

import pytest
from prefect.settings.models.root import Settings

from mixnet_flows.infra.retention import DAYS, retention


@pytest.mark.parametrize("days", [1, 3, DAYS, 400])
def test_prefect_reads_the_variables_as_they_are_meant(
    days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in retention(days).items():
        monkeypatch.setenv(name, value)
    server = Settings().server
    vacuum = server.services.db_vacuum
    # Of what belongs to no run it takes care too.
    assert vacuum.enabled_vacuum_types == {"events", "flow_runs", "orphans"}
    assert vacuum.retention_period == timedelta(days=days)
    assert server.events.retention_period == timedelta(days=min(days, 7))
    assert vacuum.event_retention_overrides == {
        "prefect.flow-run.heartbeat": timedelta(days=1),
        "prefect.artifact.updated": timedelta(days=1),
    }


def test_prefect_knows_every_variable() -> None:
    known = Settings().to_environment_variables(include_aliases=True)
    assert retention().keys() <= known.keys()
