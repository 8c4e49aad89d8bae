"""The images: hadolint, shellcheck, and that their versions are those that are known."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mixnet_core.host.known_sets import KNOWN_SETS, KnownSet
from mixnet_core.processes.launch import ATTEMPT_VARIABLE
from mixnet_core.processes.stopping import NOTICE_VARIABLE
from tests.infra.tools import INFRA, ROOT, needs, said

IMAGES = INFRA / "images"
DOCKERFILES = sorted(IMAGES.glob("*.Dockerfile"))
SCRIPTS = [*sorted(IMAGES.glob("*.sh")), INFRA / "slurm" / "train.sbatch"]
ASCEND = (IMAGES / "ascend.Dockerfile").read_text()
TARGETS = json.loads((IMAGES / "docker-bake.json").read_text())["target"]


@needs("hadolint")
@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_hadolint_finds_nothing_wrong(file: Path) -> None:
    assert said("hadolint", "--no-color", file) == (0, "")


@needs("shellcheck")
@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.name)
def test_shellcheck_finds_nothing_wrong(file: Path) -> None:
    assert said("shellcheck", file) == (0, "")


def known(arguments: dict[str, str]) -> KnownSet | None:
    fits = [
        row
        for row in KNOWN_SETS
        if (row.mindspore, row.cann, row.driver, row.firmware or "")
        == tuple(arguments[name] for name in ("MINDSPORE", "CANN", "DRIVER", "FIRMWARE"))
    ]
    return fits[0] if fits else None


def test_the_images_for_ascend_are_the_cards_set_and_the_newest_known() -> None:
    built = [known(TARGETS[name]["args"]) for name in ("ascend-newest", "ascend-of-the-card")]
    of_the_card = next(row for row in KNOWN_SETS if row.source.startswith("hub card"))
    assert built == [KNOWN_SETS[-1], of_the_card]
    for name in ("ascend-newest", "ascend-of-the-card"):
        given = TARGETS[name]["args"]
        tag = f"mixnet:mindspore-{given['MINDSPORE']}-cann-{given['CANN']}"
        assert tag in TARGETS[name]["tags"]


def test_without_arguments_the_newest_is_built() -> None:
    defaults = dict(re.findall(r'^ARG (\w+)="?([^"\n]*)"?$', ASCEND, re.MULTILINE))
    newest = TARGETS["ascend-newest"]["args"]
    assert {name: defaults[name] for name in newest} == newest
    # Twice, because an argument before FROM is none after it.
    assert len(set(re.findall(r"^ARG CANN=(.*)$", ASCEND, re.MULTILINE))) == 1


def test_the_newest_is_what_the_lock_has_and_the_other_brings_its_wheel() -> None:
    lock = (ROOT / "requirements.txt").read_text()
    for name in ("ascend-newest", "ascend-of-the-card"):
        given = TARGETS[name]["args"]
        locked = f"mindspore=={given['MINDSPORE']} " in lock
        assert locked == ("MINDSPORE_WHEEL" not in given)
        if not locked:
            assert f"mindspore-{given['MINDSPORE']}-cp311-" in given["MINDSPORE_WHEEL"]


def test_the_locked_mindspore_alone_is_left_out_where_a_wheel_is_given(tmp_path: Path) -> None:
    (script,) = re.findall(r"awk ('[^']+')", ASCEND)
    lock = (ROOT / "requirements.txt").read_text()
    done = subprocess.run(
        ["awk", script.strip("'"), str(ROOT / "requirements.txt")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)
    assert "mindspore" in names
    assert re.findall(r"^([\w.-]+)==", done.stdout, re.MULTILINE) == [
        name for name in names if name != "mindspore"
    ]
    assert done.stdout.count("--hash") < lock.count("--hash")


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_what_is_copied_is_there_and_reaches_the_build(file: Path) -> None:
    allowed = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")
    ]
    copies = re.findall(r"^COPY (?:--\S+ )?(.+) \S+$", file.read_text(), re.MULTILINE)
    sources = [source for copy in copies for source in copy.split()]
    assert {"requirements.txt", "pyproject.toml", "mixnet_core", "flows"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists()
        assert any(source == name or source.startswith(f"{name}/") for name in allowed)


def test_targets_and_the_user_are_those_of_the_files() -> None:
    for target in TARGETS.values():
        text = (ROOT / target["dockerfile"]).read_text()
        for name in target.get("args", {}):
            assert re.search(rf"^ARG {name}=", text, re.MULTILINE)
        # Kubernetes' files name it; nothing runs as root.
        assert re.findall(r"^USER (\d+)$", text, re.MULTILINE)[-1] == "10001"


def container(tmp_path: Path, worker: str) -> tuple[subprocess.Popen[str], Path]:
    """Starts the worker's script, with another worker and a watch that sleeps."""
    stop_file = tmp_path / "stop" / "file"
    (tmp_path / "worker").write_text(f"#!/bin/bash\n{worker}\n")
    (tmp_path / "python").write_text(
        f"""#!/bin/bash
        case "$2 $3" in
            *.watch*) exec sleep 60;;
            "mixnet_flows.infra.worker --alone") exec {tmp_path}/worker;;
        esac
        exec {sys.executable} "$@"
        """
    )
    for name in ("worker", "python"):
        (tmp_path / name).chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'flows'}",
        NOTICE_VARIABLE: str(stop_file),
    }
    script = subprocess.Popen(
        ["bash", str(IMAGES / "worker.sh")], env=environment, text=True, start_new_session=True
    )
    return script, stop_file


def eventually(file: Path) -> None:
    deadline = time.monotonic() + 30
    while not file.exists():
        assert time.monotonic() < deadline, f"no {file}"
        time.sleep(0.05)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_a_container_that_is_stopped_has_its_runs_save_before_its_worker_ends(
    tmp_path: Path,
) -> None:
    order = tmp_path / "order"
    script, stop_file = container(
        tmp_path,
        f"trap 'echo worker >> {order}; exit 0' TERM; touch {tmp_path}/up; sleep 60 & wait",
    )
    try:
        eventually(tmp_path / "up")
        # What a run's stage looks like to `saving`; it takes a second to save.
        saves = f"until [ -e {stop_file} ]; do sleep 0.1; done; sleep 1; echo run >> {order}"
        environment = os.environ | {NOTICE_VARIABLE: str(stop_file), ATTEMPT_VARIABLE: "1"}
        run = subprocess.Popen(["bash", "-c", saves], env=environment)
        script.send_signal(signal.SIGTERM)
        assert run.wait(60) == 0
        assert script.wait(60) == 0
        assert order.read_text().split() == ["run", "worker"]
    finally:
        os.killpg(script.pid, signal.SIGKILL) if script.poll() is None else None


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_a_container_ends_with_its_worker_and_a_stop_of_before_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "stop").mkdir()
    (tmp_path / "stop" / "file").touch()
    script, stop_file = container(tmp_path, "exit 3")
    try:
        assert script.wait(30) == 3
        assert not stop_file.exists()
    finally:
        os.killpg(script.pid, signal.SIGKILL) if script.poll() is None else None
