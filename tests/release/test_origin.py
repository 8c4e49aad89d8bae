"""Where a file of weights comes from, wherever its release was copied to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mixnet_core.errors import InputError, IntegrityError
from mixnet_core.recipe.recipe import load_recipe, save_recipe
from mixnet_core.release.origin import Origin, origin_of
from mixnet_core.release.publish import publish_release
from mixnet_core.storage.files import sha256_of


@pytest.fixture
def release(weights: Path, tmp_path: Path) -> Path:
    """The folder of a release with a recipe."""
    save_recipe(load_recipe("digits"), tmp_path / "recipe.yaml")
    files = {"weights": weights, "recipe": tmp_path / "recipe.yaml"}
    publish_release("mine", registry=str(tmp_path / "releases"), files=files, facts={})
    return tmp_path / "releases" / "mine"


def found(file: Path) -> Origin | None:
    return origin_of(file, sha256_of(file))


def the(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


def test_a_copy_is_read_by_its_own_manifest_whatever_folder_and_file_are_called(
    release: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(release, tmp_path / "Downloads" / "digits model (1)")
    for name in (None, "best.ckpt", "weights-of-mine.ckpt"):
        if name is not None:
            the(copy, "*.ckpt").rename(copy / name)
        origin = found(the(copy, "*.ckpt"))
        assert origin is not None
        assert origin.name == "release mine"
        assert origin.recipe == the(copy, "recipe-*")
    the(copy, "recipe-*").rename(copy / "its recipe.yaml")
    origin = found(the(copy, "*.ckpt"))
    assert origin is not None
    assert origin.recipe == copy / "its recipe.yaml"


def test_without_its_recipe_beside_it_a_copy_is_not_read_as_something_else(
    release: Path, tmp_path: Path
) -> None:
    name = the(release, "recipe-*").name
    (tmp_path / "copy").mkdir()
    for file in (the(release, "weights-*"), release / "manifest.json"):
        shutil.copy(file, tmp_path / "copy")
    weights = the(tmp_path / "copy", "weights-*")
    origin = found(weights)
    assert origin is not None
    assert origin.recipe is None
    with pytest.raises(InputError, match=f"copy {name} from the release too, or give --recipe"):
        origin.required_recipe(weights)


def test_a_changed_recipe_beside_it_is_refused(release: Path) -> None:
    recipe = the(release, "recipe-*")
    recipe.write_text(recipe.read_text().replace("image_size: 16", "image_size: 8"))
    with pytest.raises(IntegrityError, match=r"recipe-.* is not what was published"):
        found(the(release, "weights-*"))


def test_a_changed_file_under_the_weights_name_is_refused_and_another_file_is_none_of_it(
    release: Path, tmp_path: Path
) -> None:
    weights = the(release, "weights-*")
    other = release / "other.ckpt"
    other.write_bytes(b"other")
    assert found(other) is None
    weights.write_bytes(b"changed")
    with pytest.raises(IntegrityError, match="is not what was published"):
        found(weights)


def test_another_programs_manifest_beside_a_file_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"short_name": "a web page"}))
    (tmp_path / "mixnet.ckpt").write_bytes(b"x")
    assert found(tmp_path / "mixnet.ckpt") is None
    # Under a release's name a broken manifest is said.
    (tmp_path / "weights-0123.ckpt").write_bytes(b"x")
    with pytest.raises(IntegrityError, match="no usable manifest"):
        found(tmp_path / "weights-0123.ckpt")


def test_a_file_alone_has_no_origin(release: Path, tmp_path: Path) -> None:
    assert found(Path(shutil.copy(the(release, "weights-*"), tmp_path))) is None
