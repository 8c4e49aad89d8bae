from __future__ import annotations

from pathlib import Path

import pytest

from mixnet_core.errors import MachineError
from mixnet_core.processes.child import ATTEMPT_VARIABLE
from mixnet_core.processes.full_disk import full_file
from mixnet_core.storage.files import lacks_room
from mixnet_core.train.metrics import MetricsLog, read_metrics
from tests.small_disk import fill, small_disk


@pytest.mark.parametrize("end", [b'{"step": 3', b"\x80\xff", b"[" * 100_000, b"7", b"", b"null\n"])
def test_rows_are_read_up_to_what_is_none(end: bytes, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n' + end)
    assert read_metrics(path) == [{"step": 1}, {"step": 2}]


def test_a_log_that_goes_on_drops_what_a_crash_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n\x80')
    MetricsLog(path, step=1).row("step", step=2)
    assert [row["step"] for row in read_metrics(path)] == [1, 2]


def test_rows_that_find_no_room_are_kept_in_order_and_no_part_of_one_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = tmp_path / "attempt"
    attempt.mkdir()
    monkeypatch.setenv(ATTEMPT_VARIABLE, str(attempt))
    with small_disk(tmp_path / "disk", "64k") as disk:
        log = MetricsLog(disk / "metrics.jsonl", step=0)
        log.row("step", step=1)
        filler = fill(disk)
        # Longer than what is left of the file's page: a part of it would fit.
        for step in (2, 3):
            log.row("step", step=step, text="x" * 5000)
        assert [row["step"] for row in read_metrics(disk / "metrics.jsonl")] == [1]
        assert (disk / "metrics.jsonl").read_bytes().endswith(b"}\n")
        assert (attempt / full_file("0")).exists()
        with pytest.raises(MachineError, match="No space left") as error:
            log.flush()
        assert lacks_room(error.value)
        filler.unlink()
        log.row("step", step=4)
        assert [row["step"] for row in read_metrics(disk / "metrics.jsonl")] == [1, 2, 3, 4]
        assert not (attempt / full_file("0")).exists()


def test_a_log_that_cannot_be_written_for_another_reason_says_so_at_once(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl", step=0)
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(MachineError, match="Is a directory"):
        log.row("step", step=1)
