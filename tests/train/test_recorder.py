"""What other programs read of a training: the text is parsed, the events by TensorBoard itself."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.storage.files import os_errors_explained
from mixnet_core.train import recorder as recorder_module
from mixnet_core.train.metrics import MetricsLog, read_metrics
from mixnet_core.train.recorder import Recorder
from tests.stages.trained_runs import metric_rows, write_rows
from tests.train.test_prometheus import samples


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "mine")
    run.root.mkdir()
    return run


def recorder(run: RunDir) -> Recorder:
    return Recorder(load_recipe("digits"), run, lambda row: None)


def attempt(run: RunDir, recorder: Recorder, rows: Sequence[dict[str, Any]]) -> None:
    """Rows as an attempt writes them, each told after it stands in the file."""
    for row in rows:
        with run.metrics.open("a") as file:
            file.write(json.dumps(row) + "\n")
        recorder(row)


def resumed(run: RunDir, step: int) -> list[dict[str, Any]]:
    """Goes back to a step, as a resumed attempt does; the rows that it writes then."""
    MetricsLog(run.metrics, step=step)
    later = metric_rows(4, start=1.8e9)
    return [{**later[0], "step": step}, *(row for row in later[1:] if row["step"] > step)]


def test_the_text_has_the_newest_figures_and_says_when_nothing_works_on_it(run: RunDir) -> None:
    (run.attempts("train") / "attempt-003").mkdir(parents=True)
    with recorder(run) as record:
        attempt(run, record, metric_rows(2))
        found = samples(run.prometheus.read_text())
        assert found["mixnet_epochs_done", "mine"] == 2
        assert found["mixnet_at_work", "mine"] == 1
        assert found["mixnet_restarts_total", "mine"] == 2
    found = samples(run.prometheus.read_text())
    assert found["mixnet_at_work", "mine"] == 0
    assert found["mixnet_steps_done", "mine"] == 8
    assert found["mixnet_last_sign_of_life_timestamp_seconds", "mine"] == metric_rows(2)[-1]["time"]
    # Nothing of it was left aside.
    assert not list(run.root.glob(".*"))


def test_a_run_whose_training_was_done_before_keeps_its_text(run: RunDir) -> None:
    run.prometheus.write_text("as it was")
    with recorder(run):
        pass
    assert run.prometheus.read_text() == "as it was"


def test_every_row_is_passed_on_and_a_disk_that_is_full_ends_no_training(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recorder_module, "write_text", full)
    monkeypatch.setattr(recorder_module, "is_installed", lambda: False)
    told: list[dict[str, Any]] = []
    rows = metric_rows(3)
    write_rows(run, rows)
    caplog.set_level(logging.WARNING)
    with Recorder(load_recipe("digits"), run, told.append) as record:
        for row in rows:
            record(row)
    assert told == rows
    assert [line for line in caplog.messages if "No space left" in line] == caplog.messages
    assert len(caplog.messages) == 1


def test_a_view_that_found_the_disk_full_is_whole_again_once_there_is_room(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(recorder_module, "_SECONDS_BETWEEN_TRIES", 0.0)
    rows = metric_rows(4)
    epochs = [place for place, row in enumerate(rows) if row["event"] == "epoch"]
    writes, is_full = recorder_module.write_text, True

    def write(path: Path, text: str) -> None:
        if is_full:
            with os_errors_explained(path):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        writes(path, text)

    with recorder(run) as record:
        attempt(run, record, rows[: epochs[0]])
        monkeypatch.setattr(recorder_module, "write_text", write)
        attempt(run, record, rows[epochs[0] : epochs[1]])
        is_full = False
        attempt(run, record, rows[epochs[1] : epochs[2] + 1])
        assert samples(run.prometheus.read_text())["mixnet_epochs_done", "mine"] == 3
        is_full = True
        attempt(run, record, rows[epochs[2] + 1 :])
        is_full = False
    found = samples(run.prometheus.read_text())
    assert found["mixnet_epochs_done", "mine"] == 4
    assert found["mixnet_at_work", "mine"] == 0
    (first, second) = caplog.messages
    assert first.startswith("TextFile is written again once there is room: cannot write")
    assert second.startswith("TextFile is written again once there is room: cannot write")


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag -> (step, value), as TensorBoard reads a folder from the beginning."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="tensorboard is not installed",
    )
    read = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0})
    read.Reload()
    return scalars(read)


def scalars(read: Any) -> dict[str, list[tuple[int, float]]]:
    return {
        tag: [(event.step, pytest.approx(event.value)) for event in read.Scalars(tag)]
        for tag in read.Tags()["scalars"]
    }


@pytest.fixture
def _tensorboard() -> None:
    pytest.importorskip("tensorboardX", reason="tensorboardx is not installed")
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")


@pytest.mark.usefixtures("_tensorboard")
def test_tensorboard_reads_every_figure_at_its_step_and_time(run: RunDir) -> None:
    rows = metric_rows(2)
    with recorder(run) as record:
        attempt(run, record, rows)
        # While it goes on.
        assert len(events(run.root)["train/loss"]) == 8
    found = events(run.root)
    steps = [row for row in rows if row["event"] == "step"]
    assert found["train/loss"] == [(row["step"], row["loss"]) for row in steps]
    assert found["train/images_per_second"] == [
        (row["step"], row["images_per_second"]) for row in steps[1:]
    ]
    assert [step for step, _ in found["train/data_wait"]] == list(range(2, 9))
    assert [step for step, _ in found["train/epoch_loss"]] == [4, 8]
    assert found["select/top1_ema"] == [(4, 0.999), (8, 0.999)]
    assert set(found) == {
        "train/loss", "train/learning_rate", "train/images_per_second", "train/data_wait",
        "train/epoch_loss", "select/top1", "select/top5", "select/loss", "select/top1_ema",
        "select/top5_ema", "select/loss_ema",
    }  # fmt: skip


@pytest.mark.usefixtures("_tensorboard")
def test_a_run_that_went_back_shows_every_step_once_to_who_comes_and_to_who_watched(
    run: RunDir,
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    watching = EventAccumulator(str(run.root), size_guidance={"scalars": 0})
    with recorder(run) as record:
        attempt(run, record, metric_rows(3))
        watching.Reload()
        assert len(scalars(watching)["train/loss"]) == 12
        # Within the call of one stage, then in another process.
        attempt(run, record, resumed(run, 10))
    with recorder(run) as record:
        attempt(run, record, resumed(run, 6))
    kept = [row for row in read_metrics(run.metrics) if row["event"] == "step"]
    expected = [(row["step"], row["loss"]) for row in kept]
    assert [step for step, _ in expected] == list(range(1, 17))
    assert events(run.root)["train/loss"] == expected
    watching.Reload()
    assert scalars(watching)["train/loss"] == expected
    sizes = [path.stat().st_size for path in sorted(run.root.glob("events.out.tfevents.*"))]
    assert sizes[:-1] == [0, 0]
    assert sizes[-1] > 0


@pytest.mark.usefixtures("_tensorboard")
def test_event_files_of_others_stay(run: RunDir) -> None:
    others = run.root / "events.out.tfevents.1700000000.host"
    others.write_bytes(b"theirs")
    with recorder(run) as record:
        attempt(run, record, metric_rows(1))
    assert others.read_bytes() == b"theirs"


def test_without_the_package_no_event_file_is_written_and_nothing_is_said(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recorder_module, "is_installed", lambda: False)
    with recorder(run) as record:
        attempt(run, record, metric_rows(1))
    assert not list(run.root.glob("events.out.*"))
    assert run.prometheus.is_file()
    assert caplog.messages == []
