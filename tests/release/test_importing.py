"""Weights of every origin, imported as a user does."""

from __future__ import annotations

import json
import lzma
import shutil
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import mindspore
import numpy as np
import pytest
import yaml
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import mixnet_core
from mixnet_core.checkpoints.store import load_weights, read_parameters
from mixnet_core.errors import (
    CheckpointMismatch,
    DigestMismatch,
    InputError,
    IntegrityError,
    MixnetError,
    ReleaseConflict,
)
from mixnet_core.exports.exportable import Exportable
from mixnet_core.exports.metadata import metadata_of
from mixnet_core.model.mixnet import build_model
from mixnet_core.model.variants import FlavourName, VariantName
from mixnet_core.model.weight_names import mindcv_name, names, parameters
from mixnet_core.recipe.recipe import RECIPES, load_recipe
from mixnet_core.release.catalog import USER_CATALOG, EntryInput, load_catalog
from mixnet_core.release.importing import import_weights
from mixnet_core.release.publish import publish_release
from mixnet_core.release.weights import fetch_weights
from mixnet_core.storage.files import sha256_of
from tests.mindcv_cells import TrainedByMindcv, save_named
from tests.web_server import Server

TORCH = Path(__file__).parents[1] / "checkpoints" / "data"

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIXNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "imported"


def of_timm(path: Path, variant: VariantName = "s", **more: Any) -> Path:
    """A file under timm's names, each tensor drawn anew."""
    random = np.random.default_rng(1)
    tensors = {
        p.timm: random.standard_normal(p.shape).astype(np.float32)
        for p in parameters(variant, num_classes=more.pop("classes", 10))
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors | more.pop("change", {}), path, metadata=more.pop("metadata", None))
    return path


def config(folder: Path, **change: Any) -> None:
    """As the Hugging Face hub keeps it beside timm's weights."""
    cfg = {
        "input_size": [3, 192, 192],
        "crop_pct": 0.9,
        "interpolation": "bilinear",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
    }
    data = {"architecture": "tf_mixnet_s", "num_classes": 10, "pretrained_cfg": cfg, **change}
    (folder / "config.json").write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("flavour", "variant"),
    [
        *(("timm", variant) for variant in get_args(VariantName)),
        *(("tf", variant) for variant in ("s", "m", "l")),
        *(("mindcv", variant) for variant in ("s", "m", "l")),
    ],
)
def test_every_flavour_and_variant_comes_in_bit_for_bit(
    flavour: FlavourName, variant: VariantName, tmp_path: Path, cache: Path
) -> None:
    source = of_timm(tmp_path / "w.safetensors", variant, classes=1000)
    theirs = load_file(source)
    if flavour == "mindcv":
        ours = {mindcv_name(name, variant): array for name, array in theirs.items()}
        save_file(ours, source)
    found = import_weights(str(source), flavour=flavour, name="mine")
    assert (found.variant, found.flavour, found.num_classes) == (variant, flavour, 1000)
    assert Path(found.path).parent == cache
    copied = load_file(found.path)
    assert set(copied) == set(names(variant, "mindcv"))
    for name, array in theirs.items():
        assert copied[mindcv_name(name, variant)].tobytes() == array.tobytes(), name
    entry = load_catalog()["mine"]
    assert (entry.sha256, entry.flavour) == (sha256_of(Path(found.path)), flavour)
    assert entry.source == f"imported from {source}, sha256 {sha256_of(source)}"


def test_what_was_imported_is_found_by_its_name_and_fits_the_network(tmp_path: Path) -> None:
    source = of_timm(tmp_path / "mixnet s (best).safetensors")
    found = import_weights(str(source), flavour="timm")
    assert found.name == "mixnet-s-best"
    fetched = fetch_weights("mixnet-s-best", cache=tmp_path / "c", registry="file:///none")
    net = build_model("s", 10, flavour="timm")
    load_weights(net, Path(fetched.path))
    theirs = load_file(source)
    assert np.array_equal(net.classifier.weight.asnumpy(), theirs["classifier.weight"])
    assert np.array_equal(net.stem_conv[1].moving_mean.asnumpy(), theirs["bn1.running_mean"])


@pytest.mark.parametrize("packed", ["mixnet_s.pth.xz", "mixnet_s-stream.pth.xz"])
def test_pytorchs_files_come_in(packed: str, tmp_path: Path) -> None:
    source = tmp_path / "tf_mixnet_s-89d3354b.pth"
    source.write_bytes(lzma.decompress((TORCH / packed).read_bytes()))
    found = import_weights(str(source))
    assert (found.name, found.flavour) == ("tf_mixnet_s-89d3354b", "tf")
    assert found.flavour_from == "its name, tf_mixnet_s-89d3354b.pth"
    assert found.left_out == "left out of a training's state: 49 parameters of counters"
    copied = load_file(found.path)
    for name in names("s", "timm"):
        constant = (zlib.crc32(name.encode()) % 4096) / 256 + 1
        assert (copied[mindcv_name(name, "s")] == constant).all()


def test_a_file_of_mindcvs_training_comes_in_with_or_without_its_averages(
    trained_by_mindcv: TrainedByMindcv,
) -> None:
    plain = read_parameters(trained_by_mindcv.plain)
    source = str(trained_by_mindcv.averaged)
    weights = import_weights(source, flavour="mindcv", stem_stride=1, name="weights")
    assert "of the optimizer" in weights.left_out
    assert weights.left_out.endswith("--ema takes the averages")
    averages = import_weights(source, flavour="mindcv", stem_stride=1, name="averages", ema=True)
    assert averages.left_out.startswith("the moving averages are taken")
    assert load_catalog()["averages"].stem_stride == 1
    for times, found in ((1, weights), (2, averages)):
        for name, array in load_file(found.path).items():
            assert np.array_equal(array, times * plain[name].asnumpy()), name


def test_a_trainings_file_of_timm_comes_in_by_its_averages(tmp_path: Path) -> None:
    plain = load_file(of_timm(tmp_path / "a.safetensors"))
    both = {f"module.{name}": array for name, array in plain.items()}
    both |= {f"ema.module.{name}": array + 1 for name, array in plain.items()}
    save_file(both, tmp_path / "b.safetensors")
    found = import_weights(str(tmp_path / "b.safetensors"), flavour="timm", ema=True, name="mine")
    for name, array in plain.items():
        assert np.array_equal(load_file(found.path)[mindcv_name(name, "s")], array + 1)
    with pytest.raises(InputError, match=r"holds no moving averages \(ema\.\*\)"):
        import_weights(str(tmp_path / "a.safetensors"), flavour="timm", ema=True, name="other")


def test_a_config_beside_it_says_flavour_pixels_and_classes(tmp_path: Path) -> None:
    source = of_timm(tmp_path / "tf flowers" / "model.safetensors")
    classes = [f"flower {number}" for number in range(10)]
    config(source.parent, label_names=classes)
    found = import_weights(str(source))
    assert (found.name, found.flavour) == ("tf-flowers", "tf")
    assert found.flavour_from == "the config.json beside it"
    entry = load_catalog()[found.name]
    assert entry.classes == tuple(classes)
    assert entry.input_keys == {
        "image_size": 192,
        "crop_pct": 0.9,
        "interpolation": "bilinear",
        "mean": [127.5, 127.5, 127.5],
        "std": [63.75, 63.75, 63.75],
    }


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": "resnet50"},
        {"architecture": ["tf_mixnet_s"]},
        {"pretrained_cfg": {"mean": "0.5", "std": [1], "input_size": [3, 8], "crop_pct": True}},
        {"pretrained_cfg": {"std": [0, 0, 0]}},
        {"pretrained_cfg": {"std": [1e-300] * 3}},
        {"label_names": ["\ud800", *map(str, range(9))]},
        {"label_names": ["one"] * 10},
        {"label_names": [1] * 10},
        {"mixnet": {"flavour": "jax", "stem_stride": 9}},
    ],
)
def test_a_config_of_other_things_is_passed_over(change: dict[str, Any], tmp_path: Path) -> None:
    source = of_timm(tmp_path / "model.safetensors")
    config(tmp_path, **change)
    found = import_weights(str(source), name="mine", flavour="timm")
    assert load_catalog()["mine"].classes is None
    assert found.stem_stride == 2
    assert all(mixnet_core.load_release("mine").recipe.input.std)
    for text in ("{", "[]", "1", '{"architecture": null}'):
        (tmp_path / "config.json").write_text(text)
        assert import_weights(str(source), name="mine", flavour="timm").reused


def test_a_config_of_another_variant_is_passed_over(tmp_path: Path) -> None:
    source = of_timm(tmp_path / "mixnet_s.safetensors")
    config(tmp_path, architecture="tf_mixnet_l")
    found = import_weights(str(source), name="mine")
    assert (found.flavour, load_catalog()["mine"].input) == ("timm", None)


def test_a_name_with_tf_mixnet_in_it_is_not_taken_for_timms(tmp_path: Path) -> None:
    found = import_weights(str(of_timm(tmp_path / "My_TF_MixNet_s.safetensors")), name="mine")
    assert found.flavour == "tf"


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("conv_stem.weight", np.zeros((16, 4, 3, 3), np.float32), "images of 4 channels"),
        ("classifier.weight", np.zeros((0, 1536), np.float32), "and 0 classes"),
    ],
)
def test_networks_that_are_none_here_are_refused(
    name: str, change: Any, said: str, tmp_path: Path, cache: Path
) -> None:
    source = of_timm(tmp_path / "w.safetensors", change={name: change})
    with pytest.raises(CheckpointMismatch, match=said):
        import_weights(str(source), flavour="timm")
    assert not list(cache.glob("*.safetensors"))


def test_whole_numbers_are_no_weights(tmp_path: Path) -> None:
    change = {"bn1.weight": np.full((16,), 100, np.int8)}
    source = of_timm(tmp_path / "w.safetensors", change=change)
    with pytest.raises(IntegrityError, match=r"whole numbers, the first is bn1\.weight"):
        import_weights(str(source), flavour="timm")
    network = build_model("s", 10, flavour="timm")
    with pytest.raises(IntegrityError, match="whole numbers"):
        load_weights(network, source)


def test_a_recipe_is_judged_and_found_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = of_timm(tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="no recipe"):
        import_weights(str(source), name="mine", recipe="mine.yaml")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_bytes((RECIPES / "finetune.yaml").read_bytes())
    import_weights(str(source), name="mine", recipe="mine.yaml")
    assert load_catalog()["mine"].recipe == str(tmp_path / "mine.yaml")


def test_this_projects_exports_say_all_by_themselves(tmp_path: Path) -> None:
    of_timm(tmp_path / "a" / "w.safetensors", metadata={"flavour": "tf", "stem_stride": "1"})
    found = import_weights(str(tmp_path / "a" / "w.safetensors"), name="one")
    assert (found.flavour, found.stem_stride, found.flavour_from) == ("tf", 1, "the file itself")
    again = import_weights(found.path, name="two")
    assert (again.flavour, again.stem_stride, again.sha256) == ("tf", 1, found.sha256)
    with safe_open(found.path, "np") as file:
        assert file.metadata() == {"format": "np", "flavour": "tf", "stem_stride": "1"}
    source = of_timm(tmp_path / "b" / "w.safetensors")
    own = {"flavour": "mindcv", "stem_stride": 1}
    config(source.parent, architecture="mindcv_mixnet_s", mixnet=own)
    found = import_weights(str(source), name="three")
    assert (found.flavour, found.stem_stride) == ("mindcv", 1)


def test_a_released_file_brings_what_its_manifest_says(
    trained_by_mindcv: TrainedByMindcv, tmp_path: Path
) -> None:
    facts = {"variant": "s", "flavour": "timm", "in_channels": 3, "stem_stride": 1}
    classes = [f"c{number}" for number in range(10)]
    files = {"weights": trained_by_mindcv.plain}
    publish_release(
        "mine", registry=str(tmp_path / "r"), files=files, facts={**facts, "classes": classes}
    )
    copy = shutil.copytree(tmp_path / "r" / "mine", tmp_path / "copy")
    found = import_weights(str(copy), name="theirs")
    assert (found.flavour, found.stem_stride) == ("timm", 1)
    assert found.flavour_from == "release mine"
    assert load_catalog()["theirs"].classes == tuple(classes)


def test_who_says_no_flavour_is_asked_or_told_what_is_assumed(
    trained_by_mindcv: TrainedByMindcv, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="add --flavour mindcv, timm or tf"):
        import_weights(str(trained_by_mindcv.plain), name="mine")
    found = import_weights(str(of_timm(tmp_path / "w.safetensors")), name="mine")
    assert found.flavour == "timm"
    assert "is taken for timm" in found.flavour_from
    assert found.flavour_from.endswith("it is tf (--flavour tf)")


def refused(source: Path | str, error: type[MixnetError], said: str, **more: Any) -> None:
    arguments = {"name": "mine", "flavour": "timm"} | more
    before = set(load_catalog())
    with pytest.raises(error, match=said) as raised:
        import_weights(str(source), **arguments)
    assert "\n" not in str(raised.value)
    assert set(load_catalog()) == before


def test_what_does_not_fit_is_refused_and_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    extra = {"blocks.9.0.bn1.weight": np.zeros(3, np.float32)}
    refused(
        of_timm(tmp_path / "a.safetensors", change=extra),
        CheckpointMismatch,
        r"unexpected blocks\.9\.0\.bn1\.weight; check variant and flavour",
    )
    wide = {"blocks.2.0.se.conv_reduce.bias": np.zeros(13, np.float32)}
    refused(
        of_timm(tmp_path / "b.safetensors", change=wide),
        CheckpointMismatch,
        r"blocks\.2\.0\.se\.conv_reduce\.bias has shape \(13,\), expected \(12,\)",
    )
    odd = {"bn1.bias": np.full(16, np.nan, np.float32)}
    refused(
        of_timm(tmp_path / "c.safetensors", change=odd), IntegrityError, r"first is bn1\.bias: ch"
    )
    lone = {"conv1.weight": np.ones((64, 3, 7, 7), np.float32)}
    refused(save_named(lone, tmp_path / "d.ckpt"), CheckpointMismatch, "it is no MixNet's")
    refused(tmp_path / "none.pth", InputError, "no checkpoint file at")
    refused(TORCH / "whole-module.pth", InputError, "no pickle is run here")
    refused("https://user:secret@host/w.pth", InputError, "credentials")
    refused("http://example.org/w.pth", InputError, "is not encrypted")
    refused(of_timm(tmp_path / "e.safetensors"), InputError, "not a usable name", name="../x")
    refused(tmp_path / "e.safetensors", InputError, "is no digest", sha256="xyz")
    refused(tmp_path / "e.safetensors", DigestMismatch, "expected 00000000", sha256="0" * 8)
    assert [path.name for path in cache.iterdir() if not path.name.startswith(".lock")] == []


def test_a_name_stands_for_one_file(tmp_path: Path, cache: Path) -> None:
    source = str(of_timm(tmp_path / "w.safetensors"))
    first = import_weights(source, flavour="timm", name="mine")
    again = import_weights(source, flavour="timm", name="mine")
    assert (first.reused, again.reused) == (False, True)
    other = of_timm(tmp_path / "x.safetensors", classes=11)
    refused(other, ReleaseConflict, "mine is the name of other weights")
    refused(source, ReleaseConflict, "mine is the name of other weights", flavour="tf")
    refused(source, ReleaseConflict, "mixnet_s is the name", name="mixnet_s")
    assert len(list(cache.glob("*.safetensors"))) == 1


def test_many_at_once_lose_no_entry(tmp_path: Path) -> None:
    source = str(of_timm(tmp_path / "w.safetensors"))

    def imported(number: int) -> None:
        import_weights(source, flavour="timm", name=f"mine-{number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(imported, range(8)))
    assert {f"mine-{number}" for number in range(8)} <= set(load_catalog())


@pytest.mark.parametrize(
    "text",
    [
        "# mine\nreleases:\n- {name: a, url: file:///a, sha256: '12345678', variant: s, "
        "flavour: tf, num_classes: 2, source: me}\n",
        "releases:\n  # near\n  - name: a\n    url: file:///a\n    sha256: null\n    variant: s\n"
        "    flavour: tf\n    num_classes: 2\n    source: me",
    ],
)
def test_the_users_own_catalog_keeps_every_word(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(text)
    monkeypatch.setenv(USER_CATALOG, str(catalog))
    source = str(of_timm(tmp_path / "w.safetensors"))
    assert import_weights(source, flavour="tf", name="mine").catalog == str(catalog)
    import_weights(source, flavour="timm", name="more")
    assert catalog.read_text().startswith(text)
    assert [row["name"] for row in yaml.safe_load(catalog.read_text())["releases"]] == [
        "a",
        "mine",
        "more",
    ]
    assert not (cache / "catalog.yaml").exists()


def test_a_catalog_that_cannot_be_added_to_is_told_the_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text("releases: []\n")
    monkeypatch.setenv(USER_CATALOG, str(catalog))
    source = of_timm(tmp_path / "w.safetensors")
    refused(source, InputError, "as it is written: add this to its .* name: mine")
    assert catalog.read_text() == "releases: []\n"
    assert list(cache.glob("*.safetensors")) == []


def test_an_address_is_fetched_and_held_to_its_digest(tmp_path: Path, server: Server) -> None:
    source = of_timm(tmp_path / "w.safetensors")
    server.contents = [source.read_bytes()]
    url = server.url.replace("weights.ckpt", "tf_mixnet_s.safetensors?download=true")
    refused(url, DigestMismatch, "expected 0000000000", sha256="0" * 10, flavour=None)
    found = import_weights(url, sha256=sha256_of(source)[:8])
    assert (found.name, found.flavour) == ("tf_mixnet_s", "tf")
    assert found.source_sha256 == sha256_of(source)
    assert "download" not in load_catalog()["tf_mixnet_s"].source


def test_half_precision_comes_in_as_the_same_numbers(tmp_path: Path) -> None:
    halves = {
        name: array.astype(np.float16)
        for name, array in load_file(of_timm(tmp_path / "w.safetensors")).items()
    }
    save_file(halves, tmp_path / "h.safetensors")
    found = import_weights(str(tmp_path / "h.safetensors"), flavour="timm", name="mine")
    copied = load_file(found.path)
    assert {array.dtype for array in copied.values()} == {np.dtype(np.float32)}
    assert all((copied[mindcv_name(n, "s")] == array).all() for n, array in halves.items())


def test_mindspore_reads_the_copy_too(tmp_path: Path) -> None:
    found = import_weights(str(of_timm(tmp_path / "w.safetensors")), flavour="tf", name="mine")
    read = mindspore.load_checkpoint(found.path, format="safetensors")
    assert set(read) == set(names("s", "mindcv"))


def test_an_export_of_ours_says_its_own_pixels_and_classes_on_its_way_in(tmp_path: Path) -> None:
    recipe = load_recipe("digits", {"network.num_classes": 10, "input.mean": [1.0, 2.0, 3.0]})
    classes = tuple("abcdefghij")
    item = Exportable(
        name="mine", recipe=recipe, weights="w.ckpt", sha256="0" * 64, classes=classes, width=10
    )
    source = of_timm(tmp_path / "w.safetensors", metadata=metadata_of(item))
    import_weights(str(source), name="back")
    entry = load_catalog()["back"]
    assert (entry.flavour, entry.stem_stride, entry.classes) == ("mindcv", 1, classes)
    assert entry.input_keys == {
        key: value
        for key, value in recipe.input.model_dump(mode="json").items()
        if key in EntryInput.model_fields
    }


@pytest.mark.parametrize(
    "text", ["nonsense", "[1, 2", "[0, 0]", '["a"]', "null", "1e999", "[" * 100_000]
)
def test_texts_of_another_program_say_nothing(text: str, tmp_path: Path) -> None:
    said = dict.fromkeys(("mean", "std", "image_size", "crop_pct", "interpolation"), text)
    source = of_timm(tmp_path / "w.safetensors", metadata=said | {"classes": "nonsense"})
    import_weights(str(source), flavour="timm", name="other")
    assert load_catalog()["other"].input is None
