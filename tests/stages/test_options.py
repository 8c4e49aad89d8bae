"""The flat options that command line and flows share."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixnet_core.data.imagenet.classes import wnids
from mixnet_core.errors import InputError, MixnetError
from mixnet_core.recipe.recipe import save_recipe
from mixnet_core.stages.options import (
    adjusted_recipe,
    one_registry,
    open_workspace,
    parse_settings,
    registry_uri,
)


def test_without_options_a_recipe_is_what_its_file_says() -> None:
    assert adjusted_recipe("digits").training.epochs == 10


def test_epochs_stretch_warm_up_and_decay_with_them() -> None:
    longer = adjusted_recipe("digits", epochs=20)
    assert longer.training.epochs == 20
    assert (longer.schedule.warmup_epochs, longer.schedule.decay_epochs) == (2.0, 18.0)


def test_a_peak_below_the_recipes_lowest_rate_lowers_that_too() -> None:
    schedule = adjusted_recipe("digits", lr=1e-6).schedule
    assert (schedule.lr, schedule.min_lr) == (1e-6, 1e-6)


def test_a_folder_of_images_replaces_the_source_and_brings_its_own_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = adjusted_recipe("digits", data="flowers")
    assert (recipe.data.source, recipe.data.path) == ("image_folder", str(tmp_path / "flowers"))
    assert recipe.network.num_classes is None


def test_a_folder_given_to_fashion_mnist_is_one_of_idx_files() -> None:
    data = adjusted_recipe("fashion_mnist", data="/idx").data
    assert (data.source, data.path) == ("fashion_mnist", "/idx")


def test_a_folder_for_an_imagenet_recipe_is_imagenet_unless_its_classes_are_others(
    tmp_path: Path,
) -> None:
    (tmp_path / "some" / "train" / wnids()[4]).mkdir(parents=True)
    (tmp_path / "flowers" / "train" / "daisy").mkdir(parents=True)
    for folder in ("some", "nowhere"):
        recipe = adjusted_recipe("mixnet_s", data=str(tmp_path / folder))
        assert (recipe.data.source, recipe.data.layout) == ("imagenet", "in_place")
        assert recipe.data.path == str(tmp_path / folder)
        assert recipe.network.num_classes == 1000
    recipe = adjusted_recipe("mixnet_s", data=str(tmp_path / "flowers"))
    assert (recipe.data.source, recipe.data.layout) == ("image_folder", "links")
    assert recipe.network.num_classes is None
    # A recipe for any folder takes those names as names.
    assert adjusted_recipe("digits", data=str(tmp_path / "some")).data.source == "image_folder"


def test_a_folder_of_lists_is_read_by_them(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("path,label\n")
    recipe = adjusted_recipe("digits", data=str(tmp_path))
    assert (recipe.data.source, recipe.data.layout) == ("lists", "in_place")


def test_on_other_ranks_a_recipe_keeps_its_global_batch_and_its_rate() -> None:
    recipe = adjusted_recipe("mixnet_s", ranks=2)
    assert (recipe.training.global_batch, recipe.accumulation, recipe.lr_factor) == (1024, 4, 1.0)


def test_scaled_on_other_ranks_it_keeps_the_images_a_rank_and_scales_the_rates() -> None:
    recipe = adjusted_recipe("mixnet_s", ranks=2, scale_lr=True)
    assert (recipe.training.global_batch, recipe.rank_batch, recipe.accumulation) == (256, 128, 1)
    assert (recipe.schedule.lr, recipe.schedule.lr_batch, recipe.lr_factor) == (0.2, 1024, 0.25)


def test_on_several_hosts_each_has_the_recipes_ranks() -> None:
    recipe = adjusted_recipe("mixnet_s", hosts=4)
    assert (recipe.ranks, recipe.devices.ranks, recipe.rank_batch) == (32, 8, 32)
    scaled = adjusted_recipe("mixnet_s", hosts=4, ranks=4, scale_lr=True)
    assert (scaled.training.global_batch, scaled.rank_batch, scaled.lr_factor) == (2048, 128, 2.0)


def test_scaled_to_a_given_global_batch_only_the_rates_follow() -> None:
    recipe = adjusted_recipe("mixnet_s", global_batch=512, scale_lr=True)
    assert (recipe.training.global_batch, recipe.devices.ranks, recipe.lr_factor) == (512, 8, 0.5)
    both = adjusted_recipe("mixnet_s", global_batch=512, ranks=4, scale_lr=True)
    assert (both.training.global_batch, both.devices.ranks, both.lr_factor) == (512, 4, 0.5)


def test_a_rate_given_beside_is_the_one_for_the_batch_that_is_scaled_from() -> None:
    recipe = adjusted_recipe("mixnet_s", ranks=2, lr=0.4, scale_lr=True)
    assert recipe.batch_sentence.endswith("learning rate 0.1 = 0.4 scaled by 256/1024")


def test_a_recipe_that_says_what_batch_its_rate_is_for_is_scaled_from_that(tmp_path: Path) -> None:
    scaled = adjusted_recipe("mixnet_s", ranks=2, scale_lr=True)
    save_recipe(scaled, tmp_path / "scaled.yaml")
    again = adjusted_recipe(str(tmp_path / "scaled.yaml"), ranks=4, scale_lr=True)
    assert (again.training.global_batch, again.schedule.lr_batch) == (512, 1024)


def test_scaling_without_another_batch_to_scale_to_is_a_mistake() -> None:
    with pytest.raises(InputError, match="give --ranks or --global-batch"):
        adjusted_recipe("mixnet_s", scale_lr=True)


def test_settings_go_over_options() -> None:
    recipe = adjusted_recipe("digits", ranks=1, settings={"devices.ranks": 4, "training.seed": 7})
    assert (recipe.devices.ranks, recipe.training.seed) == (4, 7)


def test_settings_are_yaml_values() -> None:
    items = ["a.b=3", "c=[1.0, 2.0]", "d=null", "e=x=y"]
    assert parse_settings(items) == {"a.b": 3, "c": [1.0, 2.0], "d": None, "e": "x=y"}
    for wrong in ("a", "=1", "a=["):
        with pytest.raises(InputError):
            parse_settings([wrong])


def test_a_setting_that_is_given_twice_is_refused() -> None:
    with pytest.raises(InputError, match=r"--set 'training\.seed=1': the key is there twice"):
        parse_settings(["training.seed=1", "training.epochs=2", "training.seed=1"])


def test_a_setting_without_a_value_is_an_empty_text_not_yamls_null() -> None:
    assert parse_settings(["description=", "a= ", "b=null", "c=~"]) == {
        "description": "", "a": "", "b": None, "c": None,
    }  # fmt: skip
    with pytest.raises(InputError, match=r"weights\.name: input should not be empty"):
        adjusted_recipe("digits", settings=parse_settings(["weights.name="]))


def test_a_setting_is_read_as_a_recipe_is() -> None:
    settings = parse_settings(["schedule.lr= 1e-3", "name=no"])
    recipe = adjusted_recipe("digits", settings=settings)
    assert (recipe.schedule.lr, recipe.name) == (1e-3, "no")
    with pytest.raises(InputError, match=r"--set 'augment\.mix=.*' is not valid YAML: a stands"):
        parse_settings(["augment.mix={a: 1, a: 2}"])


def test_the_workspace_is_the_given_one_then_the_environments_then_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIXNET_HOME", raising=False)
    assert open_workspace(None).root == tmp_path / "workspace"
    monkeypatch.setenv("MIXNET_HOME", str(tmp_path / "home"))
    assert open_workspace(None).root == tmp_path / "home"
    assert open_workspace("mine").root == tmp_path / "mine"


def test_releases_go_into_the_workspace_unless_a_place_is_given(tmp_path: Path) -> None:
    workspace = open_workspace(str(tmp_path))
    assert registry_uri(workspace, None) == f"file://{tmp_path}/releases"
    assert registry_uri(workspace, "s3://bucket/there/") == "s3://bucket/there"


def test_a_folder_that_cannot_be_looked_into_is_one_line() -> None:
    with pytest.raises(MixnetError, match="cannot read"):
        adjusted_recipe("finetune", data="/" + "x" * 5000)


def test_a_recipe_whose_files_any_folder_may_hold_does_not_look_into_it() -> None:
    assert adjusted_recipe("fashion_mnist", data="/" + "x" * 5000).data.source == "fashion_mnist"


def test_the_registry_may_have_its_old_name_but_not_two_values() -> None:
    assert one_registry(None, "a") == one_registry("a", None) == one_registry("a", "a") == "a"
    with pytest.raises(InputError, match="two registries, registry a and publish_to b: name one"):
        one_registry("a", "b")
