"""A finished run handed over to MLflow, which is asked what it has."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.errors import InputError, MachineError
from mixnet_core.runs.records import existing_run, write_record
from mixnet_core.runs.run_dir import RunDir, Workspace
from mixnet_core.runs.values import Checkpoint, Score, TrainedRun, Validation
from mixnet_core.stages.mlflow_run import VARIABLE, hand_over
from tests.cli.conftest import Run, mixnet
from tests.stages.trained_runs import metric_rows, write_run

__all__ = ["mixnet"]


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "o'neill's w")
    write_run(made, "begun", metric_rows(2))
    # More metrics than MLflow takes at once.
    finished = write_run(made, "finished", metric_rows(10, steps=40), schedule__lr=0.25)
    trained = TrainedRun(
        run_dir=str(finished.root), checkpoints=(), steps=400, epochs=10, loss=0.5, ranks=2,
        seconds=9.0, images_per_second=45.0, resumed_from_step=0,
    )  # fmt: skip
    write_record(finished, "train", {}, trained)
    return made


def validate(run: RunDir) -> None:
    checkpoint = Checkpoint(path="/c", file="weights.ckpt", epoch=9, step=360, weights_sha256="0")
    score = Score(count=100, correct1=88, correct5=99, loss=0.5)
    nowhere = {"answers": "/a", "report_json": "/r", "report_markdown": "/r", "report_page": "/r"}
    validation = Validation(
        checkpoint=checkpoint, score=score, dataset_fingerprint="0", engine="x", **nowhere
    )
    write_record(run, "validate", {}, validation)


def test_a_run_that_has_not_finished_is_refused(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="no finished stage train"):
        hand_over(*existing_run(workspace, "begun"), "sqlite:///x.db")


def test_where_to_is_asked_for(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="give --tracking-uri, or set MLFLOW_TRACKING_URI"):
        hand_over(*existing_run(workspace, "finished"))


def test_without_the_package_it_says_what_to_install(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MachineError, match=r"pip install 'mindspore-mixnet\[mlflow\]'"):
        hand_over(*existing_run(workspace, "finished"), "sqlite:///x.db")


@pytest.mark.filterwarnings("default")
def test_a_finished_run_is_handed_over_and_handed_over_again_stands_there_once(
    workspace: Workspace, tmp_path: Path, mixnet: Run
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow-skinny is not installed")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    first = hand_over(*existing_run(workspace, "finished"), uri)
    run, _ = existing_run(workspace, "finished")
    validate(run)
    code, out, _ = mixnet(
        "runs", "export", "finished", "--mlflow", "--tracking-uri", uri,
        "--workspace", str(workspace.root),
    )  # fmt: skip
    assert (code, out.startswith("finished: MLflow run ")) == (0, True)
    client = mlflow.MlflowClient(tracking_uri=uri)
    place = client.get_experiment_by_name("mixnet").experiment_id
    (found,) = client.search_runs([place])
    assert found.info.run_id != first
    assert (found.info.run_name, found.info.status) == ("finished", "FINISHED")
    assert found.data.params["schedule.lr"] == "0.25"
    assert found.data.params["network.variant"] == "s"
    assert found.data.metrics["val/top1"] == 0.88
    losses: list[Any] = client.get_metric_history(found.info.run_id, "train/loss")
    assert [point.step for point in losses] == list(range(1, 401))
    steps = [row for row in metric_rows(10, steps=40) if row["event"] == "step"]
    assert [point.value for point in losses] == [row["loss"] for row in steps]


@pytest.mark.filterwarnings("default")
def test_what_the_server_says_is_one_line_without_a_secret(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="mlflow-skinny is not installed")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv(VARIABLE, "http://user:hunter2hunter2@127.0.0.1:9")
    with pytest.raises(MachineError, match="MLflow did not take run finished") as error:
        hand_over(*existing_run(workspace, "finished"))
    assert "hunter2" not in str(error.value)
    assert "\n" not in str(error.value)
