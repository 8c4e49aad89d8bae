"""`mixnet releases`: a registry that is not there, an empty one, and one that holds more."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mixnet_core.cli.app import main
from mixnet_core.release.publish import publish_release
from tests.object_store import ObjectStore

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def mixnet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in this process: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mixnet", *arguments])
        with pytest.raises(SystemExit) as done:
            main()
        said = capsys.readouterr()
        return int(done.value.code or 0), said.out, said.err

    return run


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_mistyped_registry_does_not_look_like_an_empty_one(
    mixnet: Run, more: list[str], tmp_path: Path
) -> None:
    code, out, err = mixnet("releases", "--registry", str(tmp_path / "typo"), *more)
    assert code == 2
    assert err.startswith(f"mixnet: no registry at {tmp_path.as_uri()}/typo: ")
    assert err.count("\n") == 1
    assert bool(out) == bool(more)


def test_a_file_is_no_registry(mixnet: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, err = mixnet("releases", "--registry", str(tmp_path / "file"))
    assert (code, err) == (2, f"mixnet: {tmp_path}/file is a file: expected a folder\n")


def test_a_missing_bucket_and_a_mistyped_prefix_are_said(
    mixnet: Run, s3_environment: ObjectStore
) -> None:
    code, _, err = mixnet("releases", "--registry", "s3://missing/x")
    assert (code, "no bucket 'missing'" in err) == (2, True)
    code, _, err = mixnet("releases", "--registry", "s3://releases/tyop")
    assert (code, "no registry at s3://releases/tyop" in err) == (2, True)


def test_an_empty_registry_is_one_line(mixnet: Run, tmp_path: Path) -> None:
    code, out, err = mixnet("releases", "--registry", str(tmp_path))
    assert (code, err) == (0, "")
    assert out == f"{tmp_path.as_uri()} is empty: no release is published there\n"
    code, out, _ = mixnet("releases", "--registry", str(tmp_path), "--json")
    assert (code, json.loads(out)) == (0, {"releases": []})


@pytest.mark.parametrize("val", [None, 3, {}, {"top1": "high"}, {"top1": None}, {"top1": True}])
def test_facts_of_somebody_elses_are_no_figures(mixnet: Run, val: object, tmp_path: Path) -> None:
    weights = tmp_path / "w.ckpt"
    weights.write_bytes(b"weights")
    registry = str(tmp_path / "r")
    publish_release("other", registry=registry, files={"weights": weights}, facts={"val": val})
    publish_release(
        "ours", registry=registry, files={"weights": weights}, facts={"val": {"top1": 0.5}}
    )
    code, out, _ = mixnet("releases", "--registry", registry)
    assert code == 0
    assert [line.split()[:4] for line in out.splitlines()] == [
        ["other", "no", "figures", f"{Path(registry).as_uri()}/other"],
        ["ours", "top-1", "50.00", "%"],
    ]
