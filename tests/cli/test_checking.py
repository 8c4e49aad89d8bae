"""`mixnet check --host`, as it is typed and printed; what it finds: tests/stages."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.tiny import MIXNET, options


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder to work in, and no Prefect server that this user has configured."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


def with_few_files(*arguments: str) -> tuple[int, str, str]:
    """The command in a process of its own: this one may have more than 50 files open already."""
    done = subprocess.run(
        ["bash", "-c", 'ulimit -Sn 50; exec "$0" "$@"', str(MIXNET), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_host_is_checked_without_a_recipe(mixnet: Run) -> None:
    code, out, _ = mixnet("check", "--host")
    assert code == 0, out
    assert "-    devices   no Ascend tools here" in out
    assert "ok   locks     " in out
    assert out.count("\n") == 18
    # A clock that nothing keeps right, as a container's, is unknown; that ends nothing.
    assert "clock" in out


def test_what_would_end_a_run_ends_with_3_and_how_to_mend_it() -> None:
    code, out, err = with_few_files("check", "--host")
    assert code == 3
    assert "FAIL files     50 open files a process (ulimit -n); " in out
    assert "; ulimit -n " in out
    assert err.startswith("mixnet: 50 open files a process")
    code, out, _ = with_few_files("check", "--host", "--json")
    said = json.loads(out)
    assert (code, said["error"]["type"]) == (3, "MachineError")
    assert [row["name"] for row in said["checks"] if not row["ok"]] == ["files"]
    notes = {row["name"]: row["note"] for row in said["checks"]}
    assert (notes["devices"], notes["locks"]) == ("absent", "")


def test_a_host_is_checked_for_a_recipe_where_one_is_named(mixnet: Run) -> None:
    _, out, _ = mixnet("check", "digits", "--host")
    names = [line[5:].split()[0] for line in out.splitlines()]
    for name in ("packages", "workspace", "locks", "clock", "weights", "data", "publish"):
        assert names.count(name) == 1
    code, out, _ = mixnet("check", "digits", "--host", "--set=devices.target=Ascend")
    assert code == 3
    assert "FAIL devices   no Ascend tools here" in out


def test_settings_without_a_recipe_are_settings_of_nothing(mixnet: Run) -> None:
    code, _, err = mixnet("check", "--host", "--set=training.seed=7")
    assert (code, "no recipe" in err) == (2, True)
    code, _, err = mixnet("check")
    assert (code, "no recipe" in err) == (2, True)


def test_a_runs_recipe_and_its_prepared_images_are_looked_at(mixnet: Run) -> None:
    assert mixnet("prepare", "digits", "--run=r", *options())[0] == 0
    code, out, _ = mixnet("check", "--run=r")
    assert code == 0
    # Not the source, which may be gone by now.
    assert "ok   data      prepared in " in out
    code, _, err = mixnet("check", "--run=r", "--data=elsewhere")
    assert (code, "would change the recipe of run r" in err) == (2, True)
    code, _, err = mixnet("check", "--run=another")
    assert (code, "no run 'another'" in err) == (2, True)


def test_several_hosts_are_told_as_training_is(
    mixnet: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = mixnet("check", "digits", "--master=10.0.0.1")
    assert (code, "--master is of several hosts" in err) == (2, True)
    monkeypatch.setenv("MIXNET_HOSTS", "2")
    code, _, err = mixnet("check", "--host")
    assert (code, "nothing says which of them this is" in err) == (2, True)
    code, _, err = mixnet("check", "--node-rank=0")
    assert (code, "does not know its address" in err) == (2, True)
