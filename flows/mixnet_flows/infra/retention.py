"""How long the server keeps what runs write into its database, in Prefect's own settings.

By default it trims events only, and keeps runs with their tasks, logs and artifacts for ever. A
heartbeat is of use for the minutes in which an automation waits for the next one, and that an
artifact was written over is of no use; of all events these are what a run of two days writes most.
"""

from __future__ import annotations

import json

# A run's truth is its folder in the workspace; the server's record of it is for looking at.
DAYS = 90
_EVENT_DAYS = 7
_DAYS_OF_MANY = 1
_MANY = ("prefect.flow-run.heartbeat", "prefect.artifact.updated")
_SECONDS_A_DAY = 24 * 60 * 60


def retention(days: int = DAYS) -> dict[str, str]:
    """Returns the server's variables with which it keeps ended runs for so many days.

    What is older goes within the hour: runs with their tasks and states, logs and artifacts, and
    once a day what of these belongs to no run. Runs that have not ended stay whole.

    Args:
        days: at least 1.
    """
    return {
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        # Seconds; the next one takes a number for a time of day, and wants ISO 8601.
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(days * _SECONDS_A_DAY),
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"P{min(days, _EVENT_DAYS)}D",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_EVENT_RETENTION_OVERRIDES": json.dumps(
            dict.fromkeys(_MANY, _DAYS_OF_MANY * _SECONDS_A_DAY)
        ),
    }
