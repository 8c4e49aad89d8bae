"""`mixnet prepare imagenet` as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from mixnet_core.data.imagenet.classes import wnids
from mixnet_core.data.imagenet.listing import has_listing
from tests.data.imagenet.tars import photo, train_tar
from tests.tiny import MIXNET, mixnet

ARGUMENTS = ("prepare", "imagenet", "--train-tar=train.tar", "--subset")


def test_it_unpacks_into_the_workspace_and_says_so_twice(tmp_path: Path) -> None:
    train_tar(tmp_path / "train.tar", {"n01440764": [photo(1)], "n01443537": [photo(2)]})
    first = mixnet(*ARGUMENTS, "--json", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    value = json.loads(first.stdout)["imagenet"]
    assert value["root"] == str(tmp_path / "workspace" / "imagenet")
    assert value["counts"] == {"train": 2, "val": 0}
    assert "2 of train and 0 of val in" in first.stderr
    again = mixnet(*ARGUMENTS, "--json", cwd=tmp_path)
    assert json.loads(again.stdout)["imagenet"] == value | {"reused": True}
    assert "already done, every file is there" in again.stderr
    quiet = mixnet(*ARGUMENTS, "--quiet", f"--to={tmp_path / 'to'}", cwd=tmp_path)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    assert has_listing(tmp_path / "to")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["imagenet"], 2, "nothing to unpack: give --train-tar"),
        (["imagenet", "--train-tar=train.tar", "--subset", "--to=/proc/x"], 3, "/proc/x"),
        (["imagenet", "--train-tar=bad.tar", "--subset"], 2, "--max-unusable allows 0"),
        (["imagenet", "--train-tar=train.tar", "--md5sums=md5sums", "--subset"], 4, "expected fff"),
        (["imagenet.yaml"], 2, "no recipe 'imagenet.yaml'"),
    ],
)
def test_a_mistake_is_one_line_with_its_exit_code(
    tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    train_tar(tmp_path / "train.tar", {"n01440764": [photo(1)]})
    train_tar(tmp_path / "bad.tar", {"n01440764": [b"text"]})
    (tmp_path / "md5sums").write_text(f"{'f' * 32}  train.tar\n")
    done = mixnet("prepare", *arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("mixnet: ")
    assert words in last
    assert "Traceback" not in done.stderr


def test_ctrl_c_is_one_line_and_the_same_command_goes_on(tmp_path: Path) -> None:
    classes = {wnid: [photo(i) for i in range(50)] for wnid in wnids()[:60]}
    train_tar(tmp_path / "train.tar", classes)
    to = tmp_path / "workspace" / "imagenet"
    with subprocess.Popen(
        [str(MIXNET), *ARGUMENTS],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "200"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 60
        while not list(to.glob(".unpacking/train/*.json")) and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1].startswith("mixnet: interrupted; the same command goes on")
    assert not has_listing(to)
    done = mixnet(*ARGUMENTS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "goes on where it stopped" in done.stderr
    assert "3,000 of train" in done.stderr
