"""How the command line ends: exit codes, one line on standard error, one JSON document."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import typer

from mixnet_core.cli.outcome import Terminated, ended, print_json
from mixnet_core.errors import JobFailed, MixnetError, NotAccepted, Stopped

ROOT = Path(__file__).parents[2]


def typed(*arguments: str, **streams: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mixnet_core.cli", *arguments],
        text=True, check=False, stderr=subprocess.PIPE,
        **{"stdout": subprocess.PIPE, "cwd": ROOT, **streams},
    )  # fmt: skip


def raising(error: BaseException) -> Callable[[], NoReturn]:
    def work() -> NoReturn:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code", "kind", "said"),
    [
        (NotAccepted("too low"), 8, "NotAccepted", "too low"),
        (JobFailed("killed", retryable=True), 6, "JobFailed", "killed"),
        (OSError(28, "No space left", "/a"), 3, "MachineError", "cannot use /a: No space left"),
        (OSError("odd"), 3, "MachineError", "cannot write: odd"),
        (RuntimeError("Could not determine home directory."), 2, "InputError", "begins with ~"),
        (typer.BadParameter("no number."), 2, "InputError", "invalid value: no number: `mix"),
        (KeyboardInterrupt(), 130, "Interrupted", "the same command goes on"),
        (typer.Abort(), 130, "Interrupted", "the same command goes on"),
        (Terminated(), 143, "Terminated", "terminated; the same command goes on"),
        (Stopped("after step 3"), 75, "Stopped", "after step 3"),
        (ZeroDivisionError("b"), 1, "ZeroDivisionError", "b"),
        (RuntimeError("b"), 1, "RuntimeError", "b"),
    ],
)  # fmt: skip
def test_whatever_ends_a_command_is_one_line_and_one_document(
    error: BaseException, code: int, kind: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(raising(error), as_json=False) == code
    plain = capsys.readouterr()
    assert plain.out == ""
    *above, last = plain.err.splitlines()
    assert last.startswith("mixnet: ")
    assert said in last
    # A fault of the program itself shows where it is.
    assert bool(above) == (code == 1)

    assert ended(raising(error), as_json=True) == code
    fields = json.loads(capsys.readouterr().out)["error"]
    assert (fields["type"], fields["exit_code"]) == (kind, code)
    assert said in fields["message"]
    again = ("JobFailed", "Interrupted", "Terminated")
    assert fields["retryable"] == (kind in again)


def test_results_and_the_error_that_follows_them_are_one_document(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def work() -> NoReturn:
        print_json({"checks": [1]})
        raise NotAccepted("too low")

    assert ended(work, as_json=True) == 8
    found = json.loads(capsys.readouterr().out)
    assert (found["checks"], found["error"]["message"]) == ([1], "too low")


def test_a_command_that_ends_well_prints_its_results_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ended(lambda: print_json({"run": "ü"}), as_json=True) == 0  # type: ignore[func-returns-value]
    assert json.loads(capsys.readouterr().out) == {"run": "ü"}
    assert ended(lambda: 0, as_json=False) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "message", ["a\nb", "\x1b[31mred", "bell\a", "\u202eback", "\udcff"]
)  # fmt: skip
def test_what_a_terminal_would_obey_is_written_out(
    message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended(raising(MixnetError(message)), as_json=False)
    assert capsys.readouterr().err.removesuffix("\n").isprintable()


def test_a_message_as_long_as_what_was_typed_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    ended(raising(MixnetError("x" * 100_000)), as_json=False)
    assert len(capsys.readouterr().err) < 5000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("check", "digits", "--set=devices.target=Ascend"), "devices.target"),
        (("run", "--no-such-option"), "no such option: --no-such-option: `mixnet run --help`"),
        (("run", "--epochs=many"), "invalid value for '--epochs'"),
        (("evaluate",), "missing"),
        (("rum",), "no such command 'rum'"),
        (("revalidate", "--registry=nowhere-at-all"), "nothing is published at"),
        (("releases", "--registry=s3://B_D/x"), "'s3://B_D/x' names no usable bucket"),
    ],
)
def test_with_json_standard_output_is_one_document(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    done = typed(*arguments, "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert document["error"]["exit_code"] == done.returncode > 0
    assert words in document["error"]["message"]
    assert done.stderr.splitlines()[-1] == f"mixnet: {document['error']['message']}"
    assert ("checks" in document) == (arguments[0] == "check")


def test_what_the_command_line_does_not_take_is_one_line() -> None:
    done = typed("run", "--no-such-option")
    assert done.returncode == 2
    assert done.stderr == (
        "mixnet: no such option: --no-such-option: `mixnet run --help` says what there is\n"
    )


def test_the_help_is_printed_where_nothing_is_asked_for() -> None:
    done = typed()
    assert done.returncode == 2
    assert "Usage: mixnet" in done.stdout
    assert done.stderr == "mixnet: no command: `mixnet --help` says what there is\n"


@pytest.mark.parametrize("command", [("recipe", "show", "digits"), ("releases", "--json")])
def test_a_reader_that_has_seen_enough_is_no_fault(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    registry = [f"--registry={tmp_path}"] if command[0] == "releases" else []
    with subprocess.Popen(
        [sys.executable, "-m", "mixnet_core.cli", *command, *registry],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_results_that_cannot_be_written_are_a_fault(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    releases = ("releases", f"--registry={tmp_path}", *options)
    command = releases if options else ("recipe", "show", "digits")
    with Path("/dev/full").open("w") as full:
        done = typed(*command, stdout=full)
    assert done.returncode == 3
    assert done.stderr == (
        "mixnet: cannot write: No space left on device; check where output goes, and the room "
        "there\n"
    )
