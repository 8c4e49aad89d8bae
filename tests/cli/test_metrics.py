"""`mixnet metrics`, as a scraper reads it."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Run
from tests.stages.trained_runs import some_runs
from tests.train.test_prometheus import samples


def test_the_figures_of_all_runs_are_printed_or_written_as_a_file(
    mixnet: Run, tmp_path: Path
) -> None:
    workspace = some_runs(tmp_path / "w")
    place = ("--workspace", str(workspace.root))
    code, out, err = mixnet("metrics", *place)
    assert (code, err) == (0, "")
    found = samples(out)
    assert found["mixnet_epochs_done", "fast-rate"] == 8
    assert found["mixnet_at_work", "strange-rows"] == 0
    assert ("mixnet_epochs_done", "strange-rows") not in found
    file = tmp_path / "textfiles" / "mixnet.prom"
    assert mixnet("metrics", *place, "--out", str(file))[:2] == (0, "")
    assert file.read_text() == out
    assert mixnet("metrics", "--workspace", str(tmp_path / "none"))[:2] == (0, "")
