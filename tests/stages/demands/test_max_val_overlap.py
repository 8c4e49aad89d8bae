"""How much of val may stand in training: judged when it is prepared, and again by accept."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mixnet_core.data.prepare import prepare_dataset, prepare_val
from mixnet_core.errors import NotAccepted, RecipeError
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.runs.values import PreparedDataset
from mixnet_core.stages.context import Context, open_context
from mixnet_core.stages.demand import judged_images
from mixnet_core.stages.on_record import OnRecord
from mixnet_core.stages.prepare import prepare
from tests.data.samples import small_recipe, write_image_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of eight val images two stand in train too."""
    root = write_image_folder(tmp_path / "images", {"ant": 9, "bee": 9}, {"ant": 4, "bee": 4})
    for name in ("ant", "bee"):
        shutil.copy(root / "val" / name / "000.png", root / "train" / name / "x.png")
    return root


def context(folder: Path, tmp_path: Path, allowed: float | None) -> Context:
    more = {"training__global_batch": 4, "acceptance__max_val_overlap": allowed}
    recipe = small_recipe(folder, 2, **more)
    return open_context(recipe, Workspace(tmp_path / "workspace"), run="r")


def judged(dataset: PreparedDataset, allowed: float) -> tuple[bool, str]:
    wanted = load_recipe("digits", {"acceptance.max_val_overlap": allowed}).acceptance
    (check,) = judged_images(wanted, dataset)
    return check.ok, check.line


def test_the_share_is_counted_and_the_listing_named(folder: Path, tmp_path: Path) -> None:
    dataset = prepare_dataset(small_recipe(folder, 2).data, tmp_path / "datasets")
    said = "2 of 8 val images (25.00 %) stand in train or select, byte for byte"
    assert judged(dataset, 0.25) == (True, f"{said}, 25.00 % allowed")
    refused = f"{said}, more than the allowed 20.00 %: duplicates.csv of the prepared dataset"
    ok, line = judged(dataset, 0.2)
    assert not ok
    assert line.startswith(refused)
    # As the record of an earlier version has it.
    assert not judged(dataset.model_copy(update={"overlap": None}), 0)[0]


def test_too_much_of_it_ends_the_run_before_anything_is_trained(
    folder: Path, tmp_path: Path
) -> None:
    refusing = context(folder, tmp_path, 0)
    with pytest.raises(NotAccepted, match=r"2 of 8 val images.*--accept-anyway") as error:
        prepare(refusing)
    assert "\n" not in str(error.value)
    # It is prepared all the same, so the next stages may be asked for one by one.
    assert OnRecord(refusing.recipe, refusing.run).dataset().counts["val"] == 8
    assert prepare(refusing, "the copies are wanted").counts["val"] == 8


def test_it_is_said_and_stops_nothing_where_nothing_is_demanded(
    folder: Path, tmp_path: Path
) -> None:
    dataset = prepare(context(folder, tmp_path, None))
    assert dataset.overlap is not None
    assert dataset.overlap.val_in_training == 2


def test_val_alone_is_not_judged(folder: Path, tmp_path: Path) -> None:
    dataset = prepare_val(small_recipe(folder, 2).data, tmp_path / "datasets")
    wanted = load_recipe("digits", {"acceptance.max_val_overlap": 0}).acceptance
    assert judged_images(wanted, dataset) == ()


@pytest.mark.parametrize("value", [2, -0.1, "much", True])
def test_what_is_no_share_is_refused_with_the_recipe(value: object) -> None:
    with pytest.raises(RecipeError, match="max_val_overlap must be a share"):
        load_recipe("digits", {"acceptance.max_val_overlap": value})
