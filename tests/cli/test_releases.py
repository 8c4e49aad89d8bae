"""`mixnet releases`: a registry that is not there, an empty one, and one that holds more."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mixnet_core.evaluate.statistics import wilson_interval
from mixnet_core.release.promotion import promote, retire
from mixnet_core.release.publish import publish_release
from mixnet_core.revalidation.history import add_to_history
from mixnet_core.revalidation.states import Revalidation
from tests.cli.conftest import Run
from tests.object_store import ObjectStore
from tests.registries import make_release


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
    assert [line.replace(";", "").split()[:4] for line in out.splitlines()] == [
        ["other", "no", "figures", f"{Path(registry).as_uri()}/other"],
        ["ours", "top-1", "50.00", "%"],
    ]


@pytest.fixture
def registry(tmp_path: Path) -> str:
    """The releases digits-1 and digits-2, and an alias of the first."""
    to = (tmp_path / "r").as_uri()
    make_release("digits-1", to, tmp_path, recipe="training: {epochs: 1}\n")
    make_release("digits-2", to, tmp_path, places=[0] * 5, recipe="training: {epochs: 2}\n")
    promote("production", "digits-1", to)
    return to


def test_the_list_says_date_interval_aliases_and_last_revalidation(
    mixnet: Run, registry: str
) -> None:
    result = Revalidation(
        release="digits-1", uri=f"{registry}/digits-1", state="regressed",
        time="2026-01-02T03:04:05Z", note="worse",
    )  # fmt: skip
    add_to_history(registry, [result])
    retire("digits-2", registry, why="too good")
    code, out, _ = mixnet("releases", "--registry", registry)
    assert code == 0
    first, second = out.splitlines()
    assert first.startswith(f"digits-1                 top-1 60.00 %  {registry}/digits-1")
    assert first.endswith("; alias production; regressed 2026-01-02")
    assert second.endswith("; retired: too good")
    code, out, _ = mixnet("releases", "--registry", registry, "--json")
    first, second = json.loads(out)["releases"]
    assert {"name", "uri", "files", "facts", "manifest_sha256", "format"} <= first.keys()
    assert (first["aliases"], first["retired"], first["images"]) == (["production"], None, 5)
    assert first["top1_interval"] == list(wilson_interval(3, 5))
    assert first["revalidated"]["state"] == "regressed"
    assert (second["retired"], second["revalidated"]) == ("too good", None)
    age = datetime.now(UTC) - datetime.fromisoformat(first["date"])
    assert timedelta(seconds=-5) < age < timedelta(minutes=10)


def test_on_a_terminal_the_list_is_a_table(
    mixnet: Run, registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    retire("digits-2", registry, why="[bold]too good[/bold]")
    code, out, _ = mixnet("releases", "--registry", registry)
    assert code == 0
    assert "23.07 % to 88.24 %" in out
    assert "[bold]too good[/bold]" in out
    assert "production" in out


def test_a_release_is_shown_by_name_alias_and_uri(mixnet: Run, registry: str) -> None:
    for name in ("digits-1", "production", f"{registry}/digits-1", f"{registry}/production"):
        code, out, err = mixnet("release", "show", name, "--registry", registry)
        assert (code, err) == (0, "")
        assert out.startswith("release        digits-1\n")
        assert "top-1          60.00 % (23.07 % to 88.24 %)" in out
        assert "aliases        production" in out
    code, _, err = mixnet("release", "show", "digits-3", "--registry", registry)
    assert (code, "did you mean digits-" in err, err.count("\n")) == (2, True, 1)
    assert mixnet("release", "show", "mixnet_s-910v2", "--registry", registry)[0] == 2


def test_two_releases_are_compared(mixnet: Run, registry: str) -> None:
    code, out, _ = mixnet("release", "compare", "production", "digits-2", "--registry", registry)
    assert code == 0
    assert "on the same 5 images digits-2 has +40.00 points: 2 gained, 0 lost" in out
    assert "McNemar's exact p = 0.5" in out
    assert out.splitlines()[-1] == "training.epochs: 1 -> 2"
    arguments = ("digits-1", "digits-2", "--registry", registry, "--json")
    code, out, _ = mixnet("release", "compare", *arguments)
    found = json.loads(out)["comparison"]
    assert found["common"] == {
        "images": 5, "gained": 2, "lost": 0, "difference": 0.4, "p": 0.5,
    }  # fmt: skip
    assert found["recipe"] == {"training.epochs": {"before": 1, "now": 2}}


def test_an_alias_is_set_listed_shown_and_removed(mixnet: Run, registry: str) -> None:
    to = ("--registry", registry)
    code, out, err = mixnet("release", "alias", "production", "digits-2", *to)
    assert (code, out, err) == (0, "production stands for digits-2\n", "")
    again = mixnet("release", "alias", "production", "digits-2", *to)
    assert again == (0, "production stands for digits-2 already\n", "")
    assert mixnet("release", "alias", *to)[1].split() == ["production", "digits-2"]
    history = mixnet("release", "alias", "production", *to)[1].splitlines()
    assert [line.split()[::2] for line in history] == [["1", "digits-1"], ["2", "digits-2"]]
    code, out, _ = mixnet("release", "alias", "production", "--remove", *to)
    assert (code, out) == (0, "production stood for digits-2\n")
    assert mixnet("release", "alias", *to)[1].startswith("no aliases at ")
    code, _, err = mixnet("release", "alias", "digits-2", "digits-1", *to)
    assert (code, "choose another alias" in err) == (2, True)
    code, _, err = mixnet("release", "alias", "staging", *to)
    assert (code, err.count("\n")) == (2, 1)
    assert mixnet("release", "alias", "--remove", *to)[0] == 2


def test_a_release_is_retired_brought_back_and_deleted(mixnet: Run, registry: str) -> None:
    to = ("--registry", registry)
    assert mixnet("release", "retire", "digits-1", *to)[0] == 2
    code, out, err = mixnet("release", "retire", "digits-1", "--why", "mistrained", *to)
    assert (code, out) == (0, "digits-1 is retired\n")
    assert err == "" or "alias production still stands for digits-1" in err
    assert (
        "is retired already" in mixnet("release", "retire", "digits-1", "--why=mistrained", *to)[1]
    )
    code, out, _ = mixnet("release", "retire", "digits-1", "--remove", "--why=it was not", *to)
    assert (code, out) == (0, "digits-1 is in use again\n")
    code, _, err = mixnet("release", "delete", "digits-1", *to)
    assert (code, "alias production stands for" in err, err.count("\n")) == (2, True, 1)
    code, out, _ = mixnet("release", "delete", "digits-1", "--force", *to)
    assert (code, out) == (0, "digits-1 is deleted: 4 files, alias production removed\n")
    code, out, _ = mixnet("releases", *to)
    assert [line.split()[0] for line in out.splitlines()] == ["digits-2"]


def test_a_tampered_file_is_named_with_exit_code_4(
    mixnet: Run, registry: str, tmp_path: Path
) -> None:
    to = ("--registry", registry)
    assert mixnet("release", "index", *to)[0] == 0
    code, out, err = mixnet("release", "verify", "production", *to)
    assert (code, err) == (0, "")
    assert all(line.startswith("ok ") for line in out.splitlines())
    (weights,) = (tmp_path / "r" / "digits-1").glob("weights-*")
    weights.write_bytes(b"others")
    code, out, err = mixnet("release", "verify", "production", *to)
    assert (code, err.count("\n")) == (4, 1)
    assert weights.name in err
    assert f"FAIL {weights.name} has sha256" in out


def test_what_no_manifest_names_is_listed_and_removed_when_that_is_said(
    mixnet: Run, registry: str, tmp_path: Path
) -> None:
    stray = tmp_path / "r" / "half" / "weights-0123456789ab.ckpt"
    stray.parent.mkdir()
    stray.write_bytes(b"1234")
    to = ("--registry", registry)
    assert mixnet("release", "collect", *to)[1] == (
        "0 files that no manifest names (0 B); 1 younger ones stay, as somebody may be at work\n"
    )
    code, out, _ = mixnet("release", "collect", "--older-than", "0s", *to)
    assert code == 0
    assert out.splitlines()[0].split()[0] == "unnamed"
    assert out.endswith("1 files that no manifest names (4 B); --delete removes them\n")
    assert stray.is_file()
    code, out, _ = mixnet("release", "collect", "--older-than=0s", "--delete", *to)
    assert out.endswith("1 files that no manifest names (4 B); 1 removed\n")
    assert not stray.exists()
    code, _, err = mixnet("release", "collect", "--older-than", "soon", *to)
    assert (code, "'soon' is no age" in err) == (2, True)
    code, _, err = mixnet("release", "collect", "--registry", str(tmp_path / "typo"))
    assert (code, "no registry at" in err) == (2, True)


def test_the_index_is_made_by_every_change_and_by_hand(
    mixnet: Run, registry: str, tmp_path: Path
) -> None:
    to, page = ("--registry", registry), tmp_path / "r" / "index.html"
    assert not page.exists()
    for change in (
        ("alias", "staging", "digits-2"),
        ("alias", "staging", "--remove"),
        ("retire", "digits-2", "--why=x"),
        ("delete", "digits-2"),
        ("index",),
    ):
        page.unlink(missing_ok=True)
        assert mixnet("release", *change, *to)[0] == 0
        assert page.is_file()
    assert "digits-2" not in page.read_text()
    assert mixnet("release", "index", "--registry", str(tmp_path / "typo"))[0] == 2
    assert not (tmp_path / "typo").exists()
