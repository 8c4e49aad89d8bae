"""What a recipe takes over from the release that it starts from."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from mixnet_core.errors import DatasetError, InputError
from mixnet_core.model.weight_names import parameters
from mixnet_core.recipe.recipe import Recipe, load_recipe, save_recipe
from mixnet_core.release.promotion import promote
from mixnet_core.release.publish import publish_release
from mixnet_core.release.recipe_fit import expect_weights_fit
from mixnet_core.release.weights import fetch_weights
from mixnet_core.stages.options import adjusted_recipe
from tests.data.samples import write_image_folder
from tests.mindcv_cells import TrainedByMindcv

NETWORK: dict[str, Any] = {
    "variant": "m",
    "flavour": "timm",
    "in_channels": 1,
    "stem_stride": 2,
}
DATA = {"data.source": "digits", "data.path": None, "data.val_share": 0.2}
DIGITS = [str(digit) for digit in range(10)]


class Released:
    """A place with one release, `mine`, whose weights are no network's."""

    def __init__(self, root: Path, weights: Path) -> None:
        self.root, self.weights, self.uri = root, weights, str(root / "releases")

    def publish(self, *, classes: list[str] | None = None, **more: Any) -> None:
        """With the facts NETWORK, unless others are given; `recipe`: a file of the release."""
        files = {"weights": self.weights}
        if "recipe" in more:
            files["recipe"] = more.pop("recipe")
        facts = NETWORK | ({"classes": classes} if classes else {}) | more
        publish_release("mine", registry=self.uri, files=files, facts=facts)

    def recipe(self, name: str = "digits", **options: Any) -> Recipe:
        return adjusted_recipe(name, **{"weights": "mine", "registry": self.uri} | options)


@pytest.fixture
def released(tmp_path: Path, weights: Path) -> Released:
    return Released(tmp_path, weights)


def network(recipe: Recipe) -> dict[str, Any]:
    return recipe.network.model_dump(include=set(NETWORK))


def test_the_releases_network_goes_over_the_recipes_and_a_line_says_so(
    released: Released, caplog: pytest.LogCaptureFixture
) -> None:
    released.publish(classes=DIGITS)
    recipe = released.recipe()
    assert network(recipe) == NETWORK
    assert recipe.network.num_classes == 10
    (line,) = caplog.messages
    assert line.startswith("as the release mine has it: network.variant m (not s), network.flavour")
    # Nothing else of the recipe is another one.
    plain = load_recipe("digits")
    assert recipe.model_copy(update={"network": plain.network, "weights": plain.weights}) == plain


def test_a_run_that_starts_from_an_alias_records_the_release(released: Released) -> None:
    released.publish(classes=DIGITS)
    promote("production", "mine", released.uri)
    by_alias = released.recipe(weights="production")
    assert by_alias.weights.name == "mine"
    # The run of the release's own name goes on.
    assert by_alias == released.recipe()
    settings = {"weights.name": "production"}
    assert released.recipe(weights=None, settings=settings).weights.name == "mine"
    uri = f"{Path(released.uri).as_uri()}/production"
    assert released.recipe(weights=uri).weights.name == f"{Path(released.uri).as_uri()}/mine"


def test_what_is_set_goes_over_the_release(released: Released) -> None:
    released.publish(classes=DIGITS)
    settings = {"network.stem_stride": 1, "network.variant": "l"}
    recipe = released.recipe(settings=settings)
    assert network(recipe) == NETWORK | {"stem_stride": 1, "variant": "l"}


def test_a_name_in_the_recipes_file_or_set_counts_as_much_as_the_option(
    released: Released, tmp_path: Path
) -> None:
    released.publish(classes=DIGITS)
    save_recipe(load_recipe("digits", {"weights.name": "mine"}), tmp_path / "own.yaml")
    of_file = released.recipe(str(tmp_path / "own.yaml"), weights=None)
    of_setting = released.recipe(weights=None, settings={"weights.name": "mine"})
    assert of_file == of_setting == released.recipe()


def test_a_catalog_entrys_network_is_taken_without_any_releases(released: Released) -> None:
    recipe = released.recipe(weights="mixnet_l")
    assert network(recipe) == {
        "variant": "l",
        "flavour": "mindcv",
        "in_channels": 3,
        "stem_stride": 2,
    }
    assert recipe.weights.reset_classifier


def test_the_users_catalog_may_say_that_a_network_is_not_as_published(
    released: Released, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"name": "grey", "url": "https://example.org/w.ckpt", "sha256": "0" * 64}
    entry |= NETWORK | {"num_classes": 10, "source": "a colleague"}
    path = released.root / "catalog.yaml"
    path.write_text(yaml.safe_dump({"releases": [entry]}))
    monkeypatch.setenv("MIXNET_CATALOG", str(path))
    recipe = released.recipe(weights="grey")
    assert network(recipe) == NETWORK
    # As many classes; their names are not known.
    assert not recipe.weights.reset_classifier


def test_a_release_that_is_not_there_ends_it_as_fetching_would(released: Released) -> None:
    with pytest.raises(InputError, match=r"no release 'mine' .*: expected a catalog entry"):
        released.recipe()


def test_a_release_that_tells_nothing_changes_nothing(
    released: Released, caplog: pytest.LogCaptureFixture
) -> None:
    released.publish(**dict.fromkeys(NETWORK))
    assert released.recipe() == load_recipe("digits", {"weights.name": "mine"})
    assert caplog.messages == []


def test_a_release_of_an_unknown_network_is_refused_with_what_it_says(released: Released) -> None:
    released.publish(variant="xxl")
    with pytest.raises(InputError, match=r"mine is of a network .*variant: .*got 'xxl'") as caught:
        released.recipe()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("classes", "fresh"),
    [
        (DIGITS, False),
        (DIGITS[::-1], True),
        (DIGITS[:5], True),
        ([f"class {digit}" for digit in DIGITS], True),
    ],
)
def test_the_classifier_is_kept_for_the_releases_classes_in_their_order_only(
    released: Released, classes: list[str], fresh: bool
) -> None:
    released.publish(classes=classes)
    assert released.recipe().weights.reset_classifier is fresh


def test_the_classes_are_those_of_the_data_that_are_given(released: Released) -> None:
    released.publish(classes=["ant", "bee"])
    for names, fresh in ((("ant", "bee"), False), (("ant", "cat"), True)):
        images = write_image_folder(released.root / "-".join(names), dict.fromkeys(names, 1))
        recipe = released.recipe(data=str(images))
        assert recipe.weights.reset_classifier is fresh
    with pytest.raises(DatasetError, match="nowhere is no folder"):
        released.recipe(data=str(released.root / "nowhere"))


def test_fashion_mnists_ten_classes_are_not_the_digits(released: Released) -> None:
    released.publish(classes=DIGITS)
    assert released.recipe("fashion_mnist").weights.reset_classifier


def test_a_recipe_that_wants_a_new_classifier_has_one_for_the_same_classes_too(
    released: Released, tmp_path: Path
) -> None:
    released.publish(classes=DIGITS)
    save_recipe(load_recipe("digits", {"weights.reset_classifier": True}), tmp_path / "own.yaml")
    assert released.recipe(str(tmp_path / "own.yaml")).weights.reset_classifier
    assert released.recipe(settings={"weights.reset_classifier": True}).weights.reset_classifier


def test_a_classifier_set_to_be_kept_is_if_it_has_the_width_else_it_ends_at_once(
    released: Released,
) -> None:
    released.publish(classes=[f"class {digit}" for digit in DIGITS])
    kept = {"weights.reset_classifier": False}
    assert not released.recipe(settings=kept).weights.reset_classifier
    with pytest.raises(InputError) as caught:
        released.recipe(weights="mixnet_s", settings=kept)
    assert str(caught.value) == (
        "the dataset has 10 classes, the release mixnet_s 1000: its classifier cannot be kept, "
        "set weights.reset_classifier=true"
    )


@pytest.mark.parametrize(("ours", "told"), [([78.0, 1.0, 1.0], False), ([79.0, 78.0, 78.0], True)])
def test_pixels_normalised_otherwise_than_the_releases_are_told_in_a_line(
    released: Released,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    ours: list[float],
    told: bool,
) -> None:
    save_recipe(load_recipe("digits"), tmp_path / "published.yaml")
    released.publish(classes=DIGITS, recipe=tmp_path / "published.yaml")
    caplog.clear()
    # One grey channel uses the first value only.
    recipe = released.recipe(settings={"input.mean": ours})
    assert list(recipe.input.mean) == ours
    lines = [line for line in caplog.messages if "input.mean" in line]
    assert len(lines) == told
    if told:
        assert "mine was trained with input.mean [78.0] and input.std [96.0]" in lines[0]
        assert "this recipe says [79.0] and [96.0]" in lines[0]


def test_a_broken_published_recipe_is_told_and_does_not_end_it(
    released: Released, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_recipe(load_recipe("digits"), tmp_path / "published.yaml")
    released.publish(classes=DIGITS, recipe=tmp_path / "published.yaml")
    (stored,) = (Path(released.uri) / "mine").glob("recipe-*")
    stored.write_text(stored.read_text() + "#")
    with caplog.at_level(logging.WARNING):
        assert network(released.recipe()) == NETWORK
    assert any("is not what was published" in line for line in caplog.messages)


def test_a_files_network_is_what_it_shows_and_a_line_says_what_it_does_not(
    released: Released, trained_by_mindcv: TrainedByMindcv, caplog: pytest.LogCaptureFixture
) -> None:
    path = trained_by_mindcv.training
    settings = {"network.variant": "s", "network.stem_stride": 1}
    recipe = released.recipe("finetune", weights=str(path), settings=settings | DATA)
    assert recipe.weights.name == str(path)
    assert recipe.network.variant == "s"
    assert any("network.flavour and stem_stride do not show" in line for line in caplog.messages)


def test_a_copied_releases_file_brings_the_releases_network_and_classes(
    released: Released, trained_by_mindcv: TrainedByMindcv, tmp_path: Path
) -> None:
    facts = {"variant": "s", "flavour": "timm", "in_channels": 3, "stem_stride": 1}
    publish_release(
        "mine",
        registry=released.uri,
        files={"weights": trained_by_mindcv.plain},
        facts=facts | {"classes": DIGITS},
    )
    copy = shutil.copytree(Path(released.uri) / "mine", tmp_path / "copy")
    (file,) = copy.glob("weights-*")
    for name in (str(file.rename(copy / "best.ckpt")), str(copy)):
        recipe = released.recipe(weights=name)
        assert network(recipe) == facts
        assert recipe.weights.name == str(copy / "best.ckpt")
        assert not recipe.weights.reset_classifier


def test_a_file_named_from_where_the_user_is_stays_the_same_file(
    released: Released, trained_by_mindcv: TrainedByMindcv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained_by_mindcv.folder)
    here = released.recipe(weights=trained_by_mindcv.plain.name)
    assert here.weights.name == str(trained_by_mindcv.plain)
    assert here == released.recipe(weights=str(trained_by_mindcv.plain))


def timms(path: Path) -> Path:
    """A MixNet-S of 10 classes under timm's names."""
    tensors = {p.timm: np.zeros(p.shape, np.float32) for p in parameters("s", num_classes=10)}
    save_file(tensors, path)
    return path


def test_a_file_under_timms_names_says_its_flavour_or_what_is_assumed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = timms(tmp_path / "w.safetensors")
    recipe = adjusted_recipe("digits", weights=str(path), registry="file:///none")
    assert (recipe.network.variant, recipe.network.flavour) == ("s", "timm")
    assert not recipe.weights.reset_classifier
    said = [line for line in caplog.messages if "is taken for timm" in line]
    assert len(said) == 1
    assert said[0].endswith("which timm calls tf_mixnet, it is tf (--set network.flavour=tf)")
    caplog.clear()
    settings = {"network.flavour": "tf"}
    recipe = adjusted_recipe(
        "digits", weights=str(path), registry="file:///none", settings=settings
    )
    assert recipe.network.flavour == "tf"
    assert not [line for line in caplog.messages if "is taken for" in line]
    named = path.rename(tmp_path / "tf_mixnet_s.safetensors")
    recipe = adjusted_recipe("digits", weights=str(named), registry="file:///none")
    assert recipe.network.flavour == "tf"
    assert not [line for line in caplog.messages if "is taken for" in line]


def test_a_file_under_timms_names_is_fetched_and_fits(tmp_path: Path) -> None:
    path = timms(tmp_path / "tf_mixnet_s.safetensors")
    recipe = adjusted_recipe("digits", weights=str(path), registry="file:///none")
    fetched = fetch_weights(str(path), cache=tmp_path / "cache", registry="file:///none")
    assert expect_weights_fit(Path(fetched.path), recipe) == ""
