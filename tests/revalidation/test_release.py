"""What can be told without measuring; that is in tests/flows/test_revalidation.py."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixnet_core.data.index import read_index
from mixnet_core.data.prepare import prepare_val
from mixnet_core.errors import (
    DatasetError,
    DigestMismatch,
    InputError,
    IntegrityError,
    MixnetError,
    ReleaseMissing,
    TransientError,
)
from mixnet_core.evaluate.counting import JUDGED
from mixnet_core.evaluate.prediction_table import PredictionTable, write_table
from mixnet_core.model.variants import VARIANTS
from mixnet_core.recipe.recipe import save_recipe
from mixnet_core.release.catalog import CatalogEntry, load_catalog
from mixnet_core.release.manifest import PublishedRelease
from mixnet_core.release.publish import publish_release
from mixnet_core.release.registry import read_release
from mixnet_core.revalidation import all_releases
from mixnet_core.revalidation import release as release_module
from mixnet_core.revalidation.all_releases import Item, fetch_item, items, revalidate_all
from mixnet_core.revalidation.history import read_history
from mixnet_core.revalidation.release import (
    _published_predictions,
    fetch_again,
    measure_again,
)
from mixnet_core.revalidation.states import Revalidation, unmeasured
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.stages.options import adjusted_recipe
from mixnet_core.stages.release_to_measure import imagenet_recipe
from mixnet_core.storage.asides import hold_aside
from mixnet_core.storage.files import read_json, write_json
from tests.data.samples import write_image_folder

NOW = "2026-11-26T03:00:00Z"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def publish(
    workspace: Workspace, name: str = "r", *, recipe: bool = True, **facts: Any
) -> PublishedRelease:
    """A release whose weights are no network's."""
    root = workspace.root.parent
    (root / "weights.ckpt").write_bytes(b"weights")
    files = {"weights": root / "weights.ckpt"}
    if recipe:
        images = write_image_folder(root / "images", {"ant": 8, "bee": 8}, {"ant": 2, "bee": 2})
        save_recipe(adjusted_recipe("digits", data=str(images), ranks=1), root / "recipe.yaml")
        files["recipe"] = root / "recipe.yaml"
    release = publish_release(name, registry=str(workspace.releases), files=files, facts=facts)
    return read_release(release.uri)


def stored(workspace: Workspace, release: PublishedRelease, role: str) -> Path:
    return workspace.releases / "r" / release.files[role].name


def state_of(error: MixnetError) -> str:
    return unmeasured("r", "u", NOW, error).state


def test_what_a_release_claims_is_read_from_its_facts_whatever_they_hold(
    workspace: Workspace,
) -> None:
    release = publish(workspace, val={"top1": 0.9, "top5": 1, "loss": 0.1})
    assert release.claims == {"top-1": 0.9, "top-5": 1.0}
    for facts in ({}, {"val": None}, {"val": {"top1": "high", "top5": True}}):
        assert release.model_copy(update={"facts": facts}).claims == {}


def test_a_release_without_its_recipe_is_refused(workspace: Workspace) -> None:
    with pytest.raises(IntegrityError, match="holds no recipe"):
        fetch_again(publish(workspace, recipe=False), workspace)


@pytest.mark.parametrize("role", ["weights", "recipe"])
def test_a_flipped_byte_is_found_though_a_good_copy_is_here(
    workspace: Workspace, role: str
) -> None:
    release = publish(workspace)
    fetch_again(release, workspace)
    file = stored(workspace, release, role)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DigestMismatch) as raised:
        fetch_again(release, workspace)
    assert state_of(raised.value) == "file changed"
    assert not list(workspace.root.glob("revalidations/r/weights/*.ckpt")) or role == "recipe"


@pytest.mark.parametrize("role", ["weights", "recipe"])
def test_a_deleted_file_is_found_though_a_copy_is_here(workspace: Workspace, role: str) -> None:
    release = publish(workspace)
    fetch_again(release, workspace)
    stored(workspace, release, role).unlink()
    with pytest.raises(ReleaseMissing) as raised:
        fetch_again(release, workspace)
    assert state_of(raised.value) == "unreachable"


def test_published_predictions_are_paired_with_the_images_that_have_their_names(
    workspace: Workspace,
) -> None:
    fetched = fetch_again(publish(workspace), workspace)
    dataset = prepare_val(fetched.ready.recipe.data, workspace.datasets)
    paths = read_index(Path(dataset.root), "val").paths
    rows = np.zeros(len(paths), JUDGED)
    rows["position"] = np.arange(len(paths))
    rows["label"] = rows["answer"] = read_index(Path(dataset.root), "val").labels
    answers = workspace.root / "answers.csv"
    told = replace(fetched, predictions=answers)
    write_table(answers, PredictionTable(paths, rows), dataset.classes)
    found = _published_predictions(told, dataset)
    assert found is not None
    np.testing.assert_array_equal(found, rows)
    # Two of one class, renamed so that the other one comes first now.
    write_table(answers, PredictionTable((paths[1], paths[0], *paths[2:]), rows), dataset.classes)
    assert _published_predictions(told, dataset) is None


def test_what_would_throw_a_measurement_away_is_found_before_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(*given: Any, **more: Any) -> None:
        raise AssertionError("it was measured")

    monkeypatch.setattr(release_module, "measure_release", measured)
    release = publish(workspace)
    fetched = fetch_again(release, workspace)
    dataset = prepare_val(fetched.ready.recipe.data, workspace.datasets)
    table = workspace.root / "answers.csv"
    table.write_text("no table")
    claimed = release.model_copy(
        update={"facts": {"dataset": {"val_fingerprint": dataset.val_fingerprint}}}
    )
    with pytest.raises(IntegrityError, match=r"answers\.csv"):
        measure_again(replace(fetched, predictions=table, release=claimed), workspace)
    (workspace.root / "revalidations" / "r" / "report.html").mkdir()
    with pytest.raises(InputError, match=r"report\.html is a folder, expected a file"):
        fetch_again(release, workspace)


def test_images_of_other_classes_than_the_releases_are_refused(workspace: Workspace) -> None:
    fetched = fetch_again(publish(workspace, classes=["bee", "wasp"]), workspace)
    with pytest.raises(DatasetError, match=r"not trained for \(ant\): expected .*bee, wasp"):
        measure_again(fetched, workspace)


def test_a_release_of_cards_is_measured_on_a_machine_without_them(workspace: Workspace) -> None:
    root = workspace.root.parent
    images = write_image_folder(root / "cards", {"ant": 8, "bee": 8}, {"ant": 2, "bee": 2})
    recipe = adjusted_recipe(
        "digits",
        data=str(images),
        ranks=8,
        settings={
            "devices.target": "Ascend",
            "precision.amp_level": "O3",
            "precision.loss_scale_type": "dynamic",
            "precision.drop_overflow_update": True,
        },
    )
    save_recipe(recipe, root / "cards.yaml")
    (root / "weights.ckpt").write_bytes(b"weights")
    files = {"weights": root / "weights.ckpt", "recipe": root / "cards.yaml"}
    release = publish_release("cards", registry=str(workspace.releases), files=files, facts={})
    fetched = fetch_again(read_release(release.uri), workspace)
    devices = fetched.ready.recipe.devices
    assert (devices.target, devices.ranks) == ("CPU", 1)
    assert fetched.ready.recipe.input == recipe.input


@pytest.mark.parametrize("variant", VARIANTS)
def test_imagenet_is_read_for_every_variant(variant: str) -> None:
    name = imagenet_recipe(variant)
    recipe = adjusted_recipe(name, settings={"network.variant": variant, "data.path": "/imagenet"})
    assert (recipe.name, recipe.network.variant) == (name, variant)
    assert name == f"mixnet_{variant}"


def test_a_catalogs_release_is_read_as_its_entry_says(workspace: Workspace) -> None:
    weights = workspace.root / "w.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    keys: dict[str, Any] = {
        "name": "mine",
        "url": weights.as_uri(),
        "sha256": None,
        "variant": "s",
        "flavour": "tf",
        "num_classes": 3,
        "source": "a colleague",
        "input": {"image_size": 96, "interpolation": "bilinear", "mean": [1.0, 2.0, 3.0]},
    }
    for classes in (None, ("a", "b", "c")):
        entry = CatalogEntry.model_validate({**keys, "classes": classes})
        ready = fetch_again(entry, workspace).ready
        assert ready.classes == classes
        recipe = ready.recipe
        assert (recipe.network.flavour, recipe.network.num_classes) == ("tf", 3)
        assert (recipe.input.image_size, recipe.input.mean) == (96, (1.0, 2.0, 3.0))
        assert recipe.input.interpolation == "bilinear"
        assert recipe.weights.name is None
        assert recipe.data.source == "image_folder"


def known(name: str, workspace: Workspace) -> Revalidation:
    uri = f"file://{workspace.releases}/{name}"
    return Revalidation(release=name, uri=uri, state="confirmed", time=NOW)


def test_every_published_release_is_measured_and_one_that_vanished_is_missed(
    workspace: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publish(workspace)
    where = f"file://{workspace.releases}"
    history = [known("r", workspace), known("old", workspace)]
    images = str(tmp_path)
    found = items(where, history, data=images)
    assert [(item.name, item.gone, item.data) for item in found] == [
        ("r", False, images),
        ("old", True, None),
    ]
    with pytest.raises(ReleaseMissing, match="--retired old"):
        fetch_item(found[1], workspace)
    assert [item.name for item in items(where, history, retired=["old"])] == ["r"]
    assert not caplog.messages
    items(where, history, retired=["oldd"])
    assert caplog.messages == ["oldd, said to be retired, was never measured here: check its name"]


def test_a_folder_of_images_that_is_not_there_is_said_before_anything_is_fetched(
    workspace: Workspace, tmp_path: Path
) -> None:
    publish(workspace)
    where, nowhere = f"file://{workspace.releases}", str(tmp_path / "nowhere")
    for given in ({"data": nowhere}, {"imagenet": nowhere}):
        with pytest.raises(InputError, match=f"no folder of images at {nowhere}: check the path"):
            items(where, [], **given)  # type: ignore[arg-type]


def test_the_catalogs_releases_are_measured_where_their_images_are(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    where = f"file://{workspace.releases}"
    with pytest.raises(InputError, match="nothing is published at"):
        items(where, [])
    assert items(where, [], may_be_none=True) == []
    imagenet, flowers = tmp_path / "imagenet", tmp_path / "flowers"
    imagenet.mkdir()
    flowers.mkdir()
    bundled = items(where, [], data=str(flowers), imagenet=str(imagenet))
    assert [item.name for item in bundled] == list(load_catalog())
    assert {item.data for item in bundled} == {str(imagenet)}
    (tmp_path / "catalog.yaml").write_text(
        "releases:\n"
        "  - {name: mine, url: 'https://example.org/mine.ckpt', sha256: '0a1b2c3d', variant: s,\n"
        "     flavour: mindcv, num_classes: 10, recipe: digits, source: me}\n"
        "  - {name: other, url: 'https://example.org/o.ckpt', sha256: null, variant: s,\n"
        "     flavour: timm, num_classes: 10, source: me}\n"
    )
    monkeypatch.setenv("MIXNET_CATALOG", str(tmp_path / "catalog.yaml"))
    (mine,) = items(where, [])
    # Ten classes, and nobody says of which images.
    assert "other" not in [item.name for item in items(where, [], imagenet=str(imagenet))]
    assert (mine.name, mine.uri, mine.data) == ("mine", "https://example.org/mine.ckpt", None)
    assert (mine.entry or publish(workspace)).claims == {}


def test_a_published_release_that_is_gone_before_it_is_fetched_is_unreachable(
    workspace: Workspace,
) -> None:
    with pytest.raises(MixnetError) as raised:
        fetch_item(Item("r", f"file://{workspace.releases}/r"), workspace)
    assert state_of(raised.value) == "unreachable"


def test_what_was_measured_before_an_interruption_is_in_the_history(workspace: Workspace) -> None:
    for name in ("a", "b", "c"):
        publish(workspace, name, recipe=False)
    where = f"file://{workspace.releases}"
    seen = []

    def each(result: Revalidation) -> None:
        seen.append(result.release)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        revalidate_all(where, workspace=workspace, each=each)
    assert seen == ["a", "b"]
    assert [result.release for result in read_history(where)] == ["a", "b"]


def entry(source: Path, **changes: Any) -> CatalogEntry:
    """A file on this machine as a catalog's release, by its whole digest or its first digits."""
    facts = {
        "name": "mine",
        "url": source.as_uri(),
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "variant": "s",
        "flavour": "mindcv",
        "num_classes": 10,
        "recipe": "digits",
        "source": "me",
    }
    return CatalogEntry.model_validate(facts | changes)


@pytest.mark.parametrize("name", ["w.ckpt", "w.safetensors", "w.onnx", "w", "w.json", "w.v2.bin"])
@pytest.mark.parametrize("digits", [8, 64])
def test_a_source_that_vanished_or_was_replaced_is_never_confirmed_whatever_its_name(
    workspace: Workspace, tmp_path: Path, name: str, digits: int
) -> None:
    source = tmp_path / name
    source.write_bytes(b"weights" * 100)
    release = entry(source)
    release = release.model_copy(update={"sha256": release.sha256[:digits]})
    assert fetch_again(release, workspace).ready.weights.read_bytes() == source.read_bytes()
    source.write_bytes(b"another" * 100)
    with pytest.raises(DigestMismatch) as changed:
        fetch_again(release, workspace)
    assert state_of(changed.value) == "file changed"
    source.unlink()
    with pytest.raises(ReleaseMissing):
        fetch_again(release, workspace)


def test_a_pinned_digest_outlives_the_files_that_were_fetched(
    workspace: Workspace, tmp_path: Path
) -> None:
    source = tmp_path / "w.safetensors"
    source.write_bytes(b"weights")
    release = entry(source)
    release = release.model_copy(update={"sha256": release.sha256[:8]})
    fetch_again(release, workspace)
    folder = workspace.root / "revalidations" / "mine" / "weights"
    (pin,) = folder.iterdir()
    data = read_json(pin)
    # Another file with the same first digits.
    write_json(pin, data | {"sha256": data["sha256"][:-1] + "x"})
    with pytest.raises(DigestMismatch, match=r"revalidations/mine/weights/mine-.*\.json pinned it"):
        fetch_again(release, workspace)


def test_what_an_earlier_version_kept_is_deleted_but_for_its_pins(
    workspace: Workspace, tmp_path: Path
) -> None:
    source = tmp_path / "w.safetensors"
    source.write_bytes(b"weights")
    kept = workspace.root / "revalidations" / "mine" / "weights"
    kept.mkdir(parents=True)
    for name in ("mine-0a1b2c3d.safetensors", "mine-0a1b2c3d.json"):
        (kept / name).touch()
    fetch_again(entry(source), workspace)
    assert [path.name for path in kept.iterdir()] == ["mine-0a1b2c3d.json"]


def test_releases_of_one_name_in_two_registries_are_fetched_beside_each_other(
    workspace: Workspace, tmp_path: Path
) -> None:
    first = publish(workspace)
    other = Workspace(tmp_path / "other" / "workspace")
    (tmp_path / "other").mkdir()
    second = publish(other, classes=["bee", "ant"])
    ours, theirs = fetch_again(first, workspace), fetch_again(second, workspace)
    assert ours.own.path != theirs.own.path
    for fetched, release in ((ours, first), (theirs, second)):
        digest = hashlib.sha256(fetched.ready.weights.read_bytes()).hexdigest()
        assert digest == release.files["weights"].sha256
    del ours
    # What one is done with is gone, the other's is not.
    assert theirs.ready.weights.is_file()
    assert len(list((workspace.root / "revalidations").glob(".aside-*"))) == 1
    del theirs, fetched
    assert not list((workspace.root / "revalidations").glob(".aside-*"))


def test_what_a_killed_revalidation_left_is_removed_by_the_next(workspace: Workspace) -> None:
    release = publish(workspace)
    revalidations = workspace.root / "revalidations"
    for folder in (revalidations, revalidations / "retired" / "attempts"):
        folder.mkdir(parents=True, exist_ok=True)
        os.close(hold_aside(folder).handle)
    fetched = fetch_again(release, workspace)
    assert list(revalidations.rglob(".aside-*")) == [fetched.own.path]


@pytest.mark.parametrize(
    "error",
    [
        DigestMismatch("https://example.org/images.gz has content sha256 0, expected 1"),
        IntegrityError("the answers of worker 0 are not at /w: measure again"),
        TransientError("no complete answer from https://example.org/images.gz"),
        ReleaseMissing("no file at /images"),
    ],
)
def test_what_fails_while_measuring_says_nothing_of_the_releases_files(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, error: MixnetError
) -> None:
    fetched = fetch_again(publish(workspace), workspace)

    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(release_module, "prepare_val", failing)
    with pytest.raises(MixnetError) as raised:
        measure_again(fetched, workspace)
    assert state_of(raised.value) == "not measured"
    assert str(error) in str(raised.value)
    assert raised.value.retryable == error.retryable


def test_a_fault_of_this_program_with_one_release_stops_no_other(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        publish(workspace, name, recipe=False)
    real = all_releases.fetch_item

    def odd(item: Item, *arguments: Any, **named: Any) -> Any:
        if item.name == "a":
            raise ZeroDivisionError("division\nby zero")
        return real(item, *arguments, **named)

    monkeypatch.setattr(all_releases, "fetch_item", odd)
    where = f"file://{workspace.releases}"
    first, second = revalidate_all(where, workspace=workspace, each=lambda result: None)
    assert (first.state, second.state) == ("not measured", "not measured")
    assert first.note == "unforeseen, ZeroDivisionError: division by zero"
    assert "holds no recipe" in second.note
    assert len(read_history(where)) == 2
