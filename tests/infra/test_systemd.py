"""The units: systemd takes them, and what they start and read exists."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings.models.root import Settings

from mixnet_core.processes.stopping import NOTICE_VARIABLE
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.storage.user_cache import VARIABLE as CACHE
from mixnet_flows.infra import database, password, saving, serve
from mixnet_flows.infra.server import Parser, add_options

UNITS = Path(__file__).parents[2] / "infra" / "systemd"
INSTALLED = "/opt/mixnet/.venv"
SERVER = UNITS / "mixnet-server.service"
WORKER = UNITS / "mixnet-worker.service"
WATCH = UNITS / "mixnet-watch.service"


def values(unit: Path, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit.read_text(), re.MULTILINE)


def variables(file: Path) -> dict[str, str]:
    """Those that are set, and those that stand there to be set."""
    return dict(re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", file.read_text(), re.MULTILINE))


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="needs systemd-analyze: make services (Debian: systemd)",
)
@pytest.mark.parametrize("unit", [SERVER, WORKER, WATCH], ids=lambda unit: unit.stem)
def test_systemd_finds_nothing_wrong(unit: Path, tmp_path: Path) -> None:
    # It looks whether the programs are there.
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace(INSTALLED, sys.prefix))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", [SERVER, WORKER, WATCH], ids=lambda unit: unit.stem)
def test_every_program_of_a_unit_is_there(unit: Path) -> None:
    for line in [*values(unit, "ExecStart"), *values(unit, "ExecStop")]:
        program, *arguments = shlex.split(line.lstrip("-"))
        assert program.startswith(INSTALLED)
        assert Path(program.replace(INSTALLED, sys.prefix)).exists()
        if arguments[0] == "-m":
            command = [sys.executable, "-m", arguments[1], "--help"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr


def test_what_the_server_is_told_it_understands() -> None:
    told = variables(UNITS / "server.env")
    assert told.keys() == {database.VARIABLE, password.VARIABLE, "MIXNET_SERVER_OPTIONS"}
    assert database.database_of(None, told) is not None
    assert password.password_of(None, told) == "admin:PASSWORD"
    parser = Parser()
    add_options(parser)
    parser.parse_args(shlex.split(told["MIXNET_SERVER_OPTIONS"]))


def test_worker_and_watch_go_by_the_name_that_the_environment_says() -> None:
    """A watch of another name takes runs of this host's worker for another host's."""
    for command in (*values(WORKER, "ExecStart"), *values(WATCH, "ExecStart"), *serve.WORKER):
        assert "--name" not in command
        assert "--worker" not in command


def test_what_the_worker_is_told_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    told = variables(UNITS / "worker.env")
    prefects = {name: value for name, value in told.items() if name.startswith("PREFECT_")}
    for name, value in prefects.items():
        monkeypatch.setenv(name, value)
    known = Settings().to_environment_variables(include_aliases=True)
    assert {name: known.get(name, "").lower() for name in prefects} == {
        name: value.lower() for name, value in prefects.items()
    }
    # Nothing of the database: a run would have it.
    assert not told.keys() & {database.VARIABLE, password.VARIABLE, CACHE}


def test_a_stop_gives_runs_the_time_that_they_take_to_save() -> None:
    (stop,) = values(WORKER, "ExecStop")
    seconds = float(shlex.split(stop)[-1])
    assert seconds == saving.SECONDS
    (timeout,) = values(WORKER, "TimeoutStopSec")
    assert float(timeout) > seconds
    (environment,) = values(WORKER, "Environment")
    name, _, file = environment.partition("=")
    assert name == NOTICE_VARIABLE
    assert file in stop
    (folder,) = values(WORKER, "RuntimeDirectory")
    assert file.startswith(f"/run/{folder}/")
    grace = getattr(load_recipe("digits").devices, "grace_seconds", 20.0)
    assert grace + 10 < seconds
