"""Every state that a release can be found in, on a schedule, and the alarm that it raises."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.release.registry import read_release
from mixnet_core.revalidation.history import read_history
from tests.flows.conftest import RUN, Deployed, asked, eventually

pytestmark = pytest.mark.slow

STATES = {
    RUN: "confirmed",
    "boastful": "claim not supported",
    "flipped": "file changed",
    "deleted": "unreachable",
}


def copied(release: Path, name: str) -> Path:
    """The same release under another name."""
    copy = release.with_name(name)
    shutil.copytree(release, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["name"] = name
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


def weights_of(release: Path) -> Path:
    (weights,) = release.glob("weights-*.ckpt")
    return weights


def spoil(releases: Path) -> None:
    """Beside the honest release one that claims more, one with a flipped byte, one without its
    weights."""
    boastful = copied(releases / RUN, "boastful")
    manifest = json.loads((boastful / "manifest.json").read_text())
    manifest["facts"]["val"]["top1"] += 0.03
    (boastful / "manifest.json").write_text(json.dumps(manifest))
    flipped = weights_of(copied(releases / RUN, "flipped"))
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    weights_of(copied(releases / RUN, "deleted")).unlink()


def scheduled_in(deployed: Deployed, name: str, seconds: int) -> str:
    """Gives a deployment one more schedule; the id of the deployment."""
    found = asked("GET", f"{deployed.api}/deployments/name/{name}")
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    schedule = {"interval": 86_400, "anchor_date": at.isoformat(), "timezone": "UTC"}
    where = f"{deployed.api}/deployments/{found['id']}"
    added = [{"schedule": schedule, "active": True}]
    asked("POST", f"{where}/schedules", added)
    # The server's own scheduler looks at deployments that changed, or every minute at those that
    # have few runs planned; this is what it does then.
    asked("POST", f"{where}/schedule", {})
    return str(found["id"])


def runs_of(deployed: Deployed, deployment: str) -> list[dict[str, Any]]:
    where = {"deployments": {"id": {"any_": [deployment]}}}
    rows = asked("POST", f"{deployed.api}/flow_runs/filter", where)
    return [row for row in rows if row["state"]["type"] not in ("SCHEDULED", "PENDING")]


@pytest.fixture(scope="module")
def finished(deployed: Deployed, published: str) -> dict[str, Any]:
    """The scheduled run, over."""
    spoil(deployed.workspace.releases)
    deployment = scheduled_in(deployed, "mixnet-revalidate/releases", 10)
    run = eventually(lambda: next(iter(runs_of(deployed, deployment)), None), 180)
    deployed.final_state(run["id"], 180)
    found: dict[str, Any] = deployed._get(f"flow_runs/{run['id']}")
    return found


def test_one_scheduled_run_finds_each_release_in_its_state(
    deployed: Deployed, finished: dict[str, Any]
) -> None:
    assert finished["auto_scheduled"]
    assert finished["state"]["type"] == "FAILED"
    message = finished["state"]["message"]
    assert "3 of 4 releases were not confirmed" in message
    assert "\n" not in message
    history = read_history(str(deployed.workspace.releases))
    assert {item.release: item.state for item in history} == STATES
    table = json.loads(deployed.artifacts(finished["id"])["revalidation"]["data"])
    assert {row["release"]: row["state"] for row in table} == STATES


def test_the_trend_is_drawn_and_the_page_is_there(
    deployed: Deployed, finished: dict[str, Any]
) -> None:
    trend = deployed.artifacts(finished["id"])[f"{RUN}-trend"]
    assert trend["type"] == "image"
    assert trend["data"].startswith("data:image/png;base64,")
    page = deployed.workspace.root / "revalidations" / RUN / "report.html"
    assert "Measured again: confirmed." in page.read_text()


def test_every_release_has_an_event_and_each_bad_one_an_alarm(
    deployed: Deployed, finished: dict[str, Any]
) -> None:
    def events() -> dict[str, str] | None:
        where = {"filter": {"event": {"prefix": ["mixnet.release."]}}}
        found = asked("POST", f"{deployed.api}/events/filter", where)
        named = {
            event["resource"]["prefect.resource.name"]: event["event"] for event in found["events"]
        }
        return named if len(named) == len(STATES) else None

    assert eventually(events, 60) == {
        name: f"mixnet.release.{state.replace(' ', '-')}" for name, state in STATES.items()
    }
    alarm = asked("GET", f"{deployed.api}/deployments/name/mixnet-alarm/alarm")["id"]

    def alarms() -> set[str] | None:
        rows = runs_of(deployed, alarm)
        ended = {row["name"] for row in rows if row["state"]["type"] == "COMPLETED"}
        return ended if len(ended) == 3 else None

    bad = {f"{name}: {state}" for name, state in STATES.items() if state != "confirmed"}
    assert eventually(alarms, 120) == bad
    for row in runs_of(deployed, alarm):
        assert row["created_by"]["type"] == "AUTOMATION"
        shown = deployed.artifacts(row["id"])
        assert row["name"] in {item["description"] for item in shown.values()}


def test_deploying_again_makes_no_second_alarm(deployed: Deployed) -> None:
    done = deployed.cli("--no-prompt", "deploy", "--name", "alarm")
    assert done.returncode == 0, done.stdout
    rows = asked("POST", f"{deployed.api}/automations/filter", {})
    assert [row["name"] for row in rows].count("mixnet alarm") == 1


def test_the_published_table_of_answers_is_evidence_for_the_figures(
    deployed: Deployed, published: str
) -> None:
    release = read_release(f"{deployed.workspace.releases}/{RUN}")
    table = deployed.workspace.releases / RUN / release.files["answers"].name
    lines = table.read_text().splitlines()[1:]
    assert len(lines) == release.facts["val"]["count"]
    right = sum(line.split(",")[3] == "0" for line in lines)
    assert right == release.facts["val"]["correct1"]
