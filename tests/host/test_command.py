from __future__ import annotations

import tempfile
import time
from pathlib import Path

import psutil
import pytest

from mixnet_core.host.command import ask, find_program


def program(folder: Path, body: str) -> Path:
    path = folder / "tool"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_what_a_program_says_comes_back_from_both_outputs(tmp_path: Path) -> None:
    answer = ask(program(tmp_path, 'echo "$1"; echo worse >&2'), ["better"])
    assert (answer.how, answer.text, answer.line) == ("said", "better\nworse\n", "worse")


def test_one_that_fails_still_says_why(tmp_path: Path) -> None:
    answer = ask(program(tmp_path, "echo no device; exit 3"))
    assert (answer.how, answer.line) == ("failed", "no device")


def test_one_that_cannot_be_started_has_failed(tmp_path: Path) -> None:
    path = program(tmp_path, "")
    path.chmod(0o644)
    answer = ask(path)
    assert answer.how == "failed"
    assert "Permission denied" in answer.line


def test_one_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    path = program(tmp_path, f"sleep 600 &\necho $! > {tmp_path}/child\necho begun\nsleep 600")
    began = time.monotonic()
    answer = ask(path, seconds=1.0)
    assert time.monotonic() - began < 10
    assert (answer.how, answer.line) == ("hung", "begun")
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 10
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_one_that_leaves_a_child_with_its_output_behind_is_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()
    answer = ask(program(tmp_path, "sleep 600 &\necho done"), seconds=60.0)
    assert time.monotonic() - began < 10
    assert (answer.how, answer.line) == ("said", "done")


def test_it_gets_no_input_and_no_terminal_codes_come_back(tmp_path: Path) -> None:
    answer = ask(program(tmp_path, "cat; printf 'a\\033[31mb\\n'"), seconds=10.0)
    assert answer.how == "said"
    assert answer.line == r"a\x1b[31mb"


def test_a_program_is_found_on_path_or_where_drivers_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = program(tmp_path, "")
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_program("tool", ["/nowhere", str(tmp_path)]) == path
    assert find_program("tool", ["/nowhere"]) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_program("tool", []) == path


def test_no_folder_for_temporary_files_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert ask(program(tmp_path, "echo well")).text == "well\n"
