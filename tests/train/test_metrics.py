from __future__ import annotations

from pathlib import Path

import pytest

from mixnet_core.train.metrics import MetricsLog, read_metrics


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
