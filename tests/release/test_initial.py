"""What people write as initial weights, and what each of it is taken for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mixnet_core.errors import CheckpointMismatch, InputError, IntegrityError, MixnetError
from mixnet_core.release.catalog import CatalogEntry
from mixnet_core.release.initial import find_initial
from mixnet_core.release.local_weights import LocalWeights
from mixnet_core.release.manifest import PublishedRelease
from mixnet_core.release.publish import publish_release
from mixnet_core.storage.files import sha256_of
from tests.mindcv_cells import TrainedByMindcv

NOWHERE = "file:///none"
FACTS = {"variant": "s", "flavour": "mindcv", "in_channels": 3, "stem_stride": 1}


def refused(name: str, registry: str = NOWHERE) -> MixnetError:
    with pytest.raises(MixnetError) as raised:
        find_initial(name, registry)
    assert "\n" not in str(raised.value)
    return raised.value


def test_a_file_is_taken_by_its_path_however_it_is_written(
    trained_by_mindcv: TrainedByMindcv, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = trained_by_mindcv.training
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("HOME", str(path.parent))
    for name in (str(path), path.as_uri(), path.name, f"./{path.name}", f"~/{path.name}"):
        found = find_initial(name, NOWHERE)
        assert isinstance(found, LocalWeights)
        assert found.path == path
        assert found.sha256 == sha256_of(path)
        assert (found.network.variant, found.network.num_classes) == ("s", 10)


def test_a_catalog_entry_goes_before_a_file_of_its_name(
    trained_by_mindcv: TrainedByMindcv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(trained_by_mindcv.plain, tmp_path / "mixnet_s")
    monkeypatch.chdir(tmp_path)
    assert isinstance(find_initial("mixnet_s", NOWHERE), CatalogEntry)
    assert isinstance(find_initial("./mixnet_s", NOWHERE), LocalWeights)


def test_a_releases_folder_is_a_release_and_its_copy_the_file_in_it(
    trained_by_mindcv: TrainedByMindcv, tmp_path: Path
) -> None:
    to = tmp_path / "releases"
    files = {"weights": trained_by_mindcv.plain}
    publish_release("mine", registry=str(to), files=files, facts=FACTS)
    assert isinstance(find_initial("mine", str(to)), PublishedRelease)
    for name in (str(to / "mine"), (to / "mine").as_uri()):
        assert isinstance(find_initial(name, NOWHERE), PublishedRelease)
    copy = shutil.copytree(to / "mine", tmp_path / "elsewhere" / "copy of mine")
    found = find_initial(str(copy), NOWHERE)
    assert isinstance(found, LocalWeights)
    assert found.origin is not None
    assert found.origin.name == "release mine"
    (weights,) = copy.glob("weights-*")
    weights.rename(copy / "renamed.ckpt")
    assert find_initial(str(copy), NOWHERE).name == "renamed.ckpt"
    (copy / "renamed.ckpt").unlink()
    assert f"and not its weights: copy {weights.name}" in str(refused(str(copy)))


def test_folders_of_other_kinds_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").touch()
    assert "is a run's folder" in str(refused(str(tmp_path / "run")))
    (tmp_path / "step-00000007").mkdir()
    (tmp_path / "step-00000007" / "bundle.json").touch()
    assert "a checkpoint's folder: give the file" in str(refused(str(tmp_path / "step-00000007")))
    assert "a folder without manifest.json" in str(refused(f"{tmp_path}/"))


@pytest.mark.parametrize(
    "name",
    [
        "timm/mixnet_s",
        "hf:timm/mixnet_s.ft_imagenet",
        "hf-hub:timm/tf_mixnet_s",
        "mindspore/mixnet_s",
        "huggingface.co/timm/mixnet_s",
        "modelscope:mindspore/mixnet_s",
    ],
)
def test_a_hubs_name_is_refused_with_what_it_would_need(name: str) -> None:
    error = refused(name)
    assert type(error) is InputError
    message = str(error)
    assert f"no path '{name}', and a hub's names are not looked up" in message
    assert "did you mean" in message
    assert "mixnet_s" in message
    assert message.endswith("download it and give its path")


@pytest.mark.parametrize("hub", ["timm/", "hf-hub:timm/", "huggingface.co/timm/"])
def test_timms_name_of_a_catalog_entry_is_told_the_entry(hub: str) -> None:
    name = f"{hub}tf_mixnet_s.in1k"
    assert f"{name} is the catalog's tf_mixnet_s.in1k: give that name" in str(refused(name))


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_an_address_is_refused_with_what_it_would_need(scheme: str) -> None:
    error = refused(f"{scheme}://models.example.org/a/mixnet_s-7.ckpt?download=true")
    assert type(error) is InputError
    assert f"is an address, of which no digest is known: `mixnet import {scheme}://" in str(error)
    assert "download mixnet_s-7.ckpt" in str(error)
    assert "--sha256 DIGEST`" in str(error)
    assert "MIXNET_CATALOG" in str(error)


def test_the_address_of_a_catalog_entry_is_told_its_name() -> None:
    entry = find_initial("mixnet_m", NOWHERE)
    assert isinstance(entry, CatalogEntry)
    assert "is the catalog's mixnet_m: give that name" in str(refused(entry.url))


@pytest.mark.parametrize(
    ("name", "near"),
    [("mixnet-s", "mixnet_s"), ("mixnet_s.ckpt", "mixnet_s"), ("mixnet_s-910v3", "mixnet_s-910v2")],
)
def test_a_slip_in_a_name_is_told_the_near_ones(name: str, near: str, tmp_path: Path) -> None:
    error = refused(name, str(tmp_path))
    assert type(error) is InputError
    assert f"did you mean {near}" in str(error)


def test_a_path_that_leads_nowhere_is_said_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("weights.pth", "./weights", str(tmp_path / "a" / "w.safetensors")):
        assert f"no file at {tmp_path}/" in str(refused(name))


def test_a_file_that_is_none_of_weights_is_refused_as_reading_it_would(tmp_path: Path) -> None:
    for content, error, said in (
        (b"PK\x03\x04" + bytes(9), IntegrityError, "archive"),
        (b"\x80\x02}q\x00.", InputError, "a pickle"),
        (b"<html>", IntegrityError, "a page of a server"),
    ):
        (tmp_path / "w.ckpt").write_bytes(content)
        found = refused(str(tmp_path / "w.ckpt"))
        assert type(found) is error
        assert said in str(found)


def test_another_network_is_refused_by_its_first_parameter(tmp_path: Path) -> None:
    from tests.checkpoints.test_fit import RESNET
    from tests.mindcv_cells import save_named

    error = refused(str(save_named(RESNET, tmp_path / "resnet50.ckpt")))
    assert type(error) is CheckpointMismatch
    assert "its first parameter is conv1.weight" in str(error)
