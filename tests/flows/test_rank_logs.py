"""The last lines of a stage that failed."""

from __future__ import annotations

import pytest
from prefect.logging import disable_run_logger

from mixnet_core.errors import JobFailed
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.stages.context import Context
from mixnet_flows import artifacts
from mixnet_flows.showing import shown


def test_a_log_that_cannot_be_read_does_not_take_the_errors_place(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Workspace(tmp_path_factory.mktemp("w")).run("r")
    warned: list[str] = []

    class Log:
        def warning(self, text: str, *values: object) -> None:
            warned.append(text % values)

    monkeypatch.setattr(artifacts, "get_run_logger", Log)

    def work(_: Context) -> None:
        # Whatever a file system does to a log: this one is no file.
        (run.attempts("train") / "attempt-001" / "workers" / "worker_0.log").mkdir(parents=True)
        raise JobFailed("the rank was killed", retryable=True)

    class Opened:
        def __init__(self) -> None:
            self.run = run

        def watched_by(self, _: object) -> Opened:
            return self

    with disable_run_logger(), pytest.raises(JobFailed, match="the rank was killed") as caught:
        shown("train", Opened(), work)  # type: ignore[arg-type]
    assert caught.value.retryable
    assert len(warned) == 1
    assert "IsADirectoryError" in warned[0]
