"""What a real server holds of a training that is watched; its rows are written by the test."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from mixnet_core.errors import JobFailed
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.runs.ticks import TrainingTicks
from mixnet_core.runs.values import FetchedWeights
from mixnet_core.stages.context import Context, open_context
from mixnet_flows import curves as curves_module
from mixnet_flows.curves import LiveCurves
from mixnet_flows.showing import describe_flow_run, shown
from tests.flows.conftest import asked, eventually, served
from tests.runs.test_markup import shown as rendered

pytestmark = pytest.mark.slow

DONE = FetchedWeights(name="w", path="/w", sha256="0" * 64)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("server")) as environment:
        url = environment["PREFECT_API_URL"]
        # Log lines that are sent when the server is gone would be waited for.
        with temporary_settings({PREFECT_API_URL: url, PREFECT_LOGGING_TO_API_ENABLED: False}):
            # What sends events was made for the server of another test, if one sent some before.
            EventsWorker.drain_all()
            yield url
            EventsWorker.drain_all()


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return open_context(load_recipe("digits"), tmp_path, run="mine")


def metrics(epochs: int, steps: int = 3) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"event": "start", "step": 0, "steps": 30, "epochs": 10, "ranks": 2,
         "images_per_step": 4, "compiled": False, "changes": []},
        {"event": "compiled", "step": 1, "seconds": 9.0},
    ]  # fmt: skip
    for step in range(1, epochs * steps + 1):
        rows.append(
            {"event": "step", "step": step, "epoch": 1 + (step - 1) // steps, "loss": 2 / step,
             "lr": 0.1, "images_per_second": 45.0, "data_wait": 0.02}
        )  # fmt: skip
        if step % steps == 0:
            epoch = step // steps
            rows += [
                {"event": "epoch", "step": step, "epoch": epoch, "loss": 2 / step, "unreadable": 0},
                {"event": "score", "step": step, "epoch": epoch, "file": "weights.ckpt",
                 "count": 10, "correct1": epoch, "correct5": 9, "loss": 1.0},
            ]  # fmt: skip
    return [row | {"time": 1000.0 + 10 * number} for number, row in enumerate(rows)]


def trains(run: RunDir, rows: list[dict[str, Any]], ticks: TrainingTicks) -> None:
    run.metrics.write_text("")
    for row in rows:
        with run.metrics.open("a") as file:
            file.write(json.dumps(row) + "\n")
        ticks(row)


def attempt(run: RunDir, number: int, log: str) -> None:
    folder = run.attempts("train") / f"attempt-{number:03d}"
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text(log)


def artifacts(api: str, run: str) -> list[dict[str, Any]]:
    where = {"artifacts": {"flow_run_id": {"any_": [run]}}}
    # Those without a key are Prefect's own, of results.
    found = [row for row in asked("POST", f"{api}/artifacts/filter", where) if row["key"]]
    return sorted(found, key=lambda row: (str(row["key"]), str(row["created"])))


def test_curves_are_one_picture_that_is_drawn_anew_and_tags_say_what_it_trains(
    api: str, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curves_module, "_SECONDS_AFTER_AN_EPOCH", 0.0)
    pictures: list[str] = []

    @flow(name="watched")
    def watched() -> str:
        describe_flow_run("mine", context.recipe)

        def work(at: Context) -> FetchedWeights:
            ticks = TrainingTicks(at.watch)
            trains(context.run, metrics(1), ticks)
            pictures.extend(
                row["data"] for row in artifacts(api, flow_run.id) if row["type"] == "image"
            )
            trains(context.run, metrics(4), ticks)
            return DONE

        for _ in range(2):
            # Of a second attempt the same picture.
            shown("train", context, work, also=[LiveCurves(context.run)])
        return str(flow_run.id)

    run = watched.with_options(flow_run_name="before")()
    (picture, *bars) = artifacts(api, run)
    assert (picture["key"], picture["type"]) == ("mine-curves", "image")
    assert picture["data"].startswith("data:image/png;base64,")
    assert picture["data"] not in pictures
    assert "How mine trains" in picture["description"]
    # A bar an attempt.
    assert [row["key"] for row in bars] == ["mine-train"] * 2
    latest = asked("GET", f"{api}/artifacts/mine-curves/latest")
    assert latest["data"] == picture["data"]
    found = asked("GET", f"{api}/flow_runs/{run}")
    assert found["name"] == "mine"
    assert found["tags"] == ["recipe: digits", "variant: s"]


def test_a_bar_says_when_it_will_be_done_and_a_refreshed_one_fills_no_table_of_events(
    api: str, context: Context
) -> None:
    texts: list[str] = []

    @flow(name="bar")
    def bar() -> str:
        def work(at: Context) -> FetchedWeights:
            ticks = TrainingTicks(at.watch)
            for row in metrics(2):
                time.sleep(0.3)
                ticks(row)
            texts.extend(row["description"] for row in artifacts(api, flow_run.id))
            return DONE

        shown("train", context, work)
        return str(flow_run.id)

    run = bar()
    assert "45 img/s, about " in texts[0]
    assert "left, until " in texts[0]
    (row,) = artifacts(api, run)
    assert row["data"] == 100.0

    def events(kind: str) -> int:
        where = {"filter": {"event": {"name": [f"prefect.artifact.{kind}"]}}, "limit": 50}
        total: int = asked("POST", f"{api}/events/filter", where)["total"]
        return total

    # They arrive a moment later, and in their order.
    before = events("created")
    bar()
    eventually(lambda: events("created") > before, 20)
    assert events("updated") == 0


def test_a_training_that_fails_shows_where_its_logs_are_and_their_last_lines(
    api: str, context: Context
) -> None:
    attempt(context.run, 1, "of an attempt long ago")
    told: list[str] = []

    @flow(name="fails")
    def fails() -> None:
        told.append(str(flow_run.id))

        def work(at: Context) -> FetchedWeights:
            attempt(context.run, 2, "<script>alert(1)</script>\n```\ns3://KEY:SECRET@bucket/x\nend")
            TrainingTicks(at.watch)(metrics(1)[0])
            raise JobFailed("the loss became nan", retryable=False)

        shown("train", context, work)

    with pytest.raises(JobFailed):
        fails()
    (_, logs) = artifacts(api, told[0])
    assert (logs["key"], logs["type"]) == ("mine-train-logs", "markdown")
    page = rendered(logs["data"])
    assert page.tags == ["p", "p", "strong", "pre", "code"]
    assert "the loss became nan" in page.text
    assert str(context.run.attempts("train") / "attempt-002/log.txt") in page.text
    assert "<script>alert(1)</script>\n```\ns3://...\nend" in page.text
    assert "long ago" not in page.text


def test_a_stage_that_fails_before_its_job_begins_shows_no_logs_of_others(
    api: str, context: Context
) -> None:
    attempt(context.run, 1, "of an attempt long ago")
    told: list[str] = []

    @flow(name="refused")
    def refused() -> None:
        told.append(str(flow_run.id))

        def work(at: Context) -> FetchedWeights:
            raise JobFailed("refused", retryable=False)

        shown("train", context, work)

    with pytest.raises(JobFailed):
        refused()
    assert artifacts(api, told[0]) == []


def test_an_artifact_that_was_deleted_meanwhile_is_made_anew(api: str) -> None:
    from mixnet_flows.artifacts import KeptArtifact

    @flow(name="deleted")
    def deleted() -> str:
        kept = KeptArtifact("markdown", "kept")
        kept.show("one", "x")
        (row,) = artifacts(api, str(flow_run.id))
        with get_client(sync_client=True) as client:
            client.delete_artifact(row["id"])
        kept.show("two", "x")
        kept.show("three", "x")
        return str(flow_run.id)

    (row,) = artifacts(api, deleted())
    assert row["data"] == "three"
