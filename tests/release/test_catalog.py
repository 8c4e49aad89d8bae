from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mixnet_core.errors import InputError, TransientError
from mixnet_core.model.variants import VARIANTS
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.release.catalog import CatalogEntry, find_release, load_catalog
from mixnet_core.release.hub_config import flavour_of_name
from mixnet_core.release.manifest import PublishedRelease
from mixnet_core.release.publish import publish_release
from mixnet_core.storage.schemes import s3 as storage_s3
from tests.object_store import ObjectStore

# As its page of the hub states it.
XL = "30d96fe91fef1cd6fe86eaaabd1a1492ff26ebf17f8799429993bc63ea063449"
ENTRY = {
    "name": "mine",
    "url": "https://example.org/mine.ckpt",
    "sha256": "0" * 64,
    "variant": "s",
    "flavour": "timm",
    "num_classes": 10,
    "source": "a colleague",
}


@pytest.fixture
def user_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "catalog.yaml"
    monkeypatch.setenv("MIXNET_CATALOG", str(path))
    return path


def write(path: Path, *entries: dict[str, object]) -> None:
    path.write_text(yaml.safe_dump({"releases": list(entries)}))


def test_the_bundled_entries_are_the_published_ones() -> None:
    got = {
        name: (entry.url.rpartition("/")[2], entry.sha256, entry.claimed_top1, entry.claimed_top5)
        for name, entry in load_catalog().items()
    }
    assert got == {
        "mixnet_s-910v2": ("mixnet_s-fe4fcc63-910v2.ckpt", "fe4fcc63", 75.58, 95.54),
        "mixnet_s": ("mixnet_s-2a5ef3a3.ckpt", "2a5ef3a3", 75.52, 92.52),
        "mixnet_m": ("mixnet_m-74cc4cb1.ckpt", "74cc4cb1", 76.64, 93.05),
        "mixnet_l": ("mixnet_l-978edf2b.ckpt", "978edf2b", 78.73, 94.31),
        "mixnet_s.ft_in1k": ("model.safetensors", None, 76.0, 92.796),
        "mixnet_m.ft_in1k": ("model.safetensors", None, 77.268, 93.418),
        "mixnet_l.ft_in1k": ("model.safetensors", None, 78.97, 94.18),
        "mixnet_xl.ra_in1k": ("model.safetensors", XL, 80.494, 94.938),
        "tf_mixnet_s.in1k": ("model.safetensors", None, 75.656, 92.632),
        "tf_mixnet_m.in1k": ("model.safetensors", None, 76.952, 93.164),
        "tf_mixnet_l.in1k": ("model.safetensors", None, 78.774, 94.0),
    }
    for name, entry in load_catalog().items():
        assert entry.variant in VARIANTS
        assert f"mixnet_{entry.variant}" in name
        assert entry.num_classes == 1000
        is_timms = entry.url == f"https://huggingface.co/timm/{name}/resolve/main/model.safetensors"
        assert is_timms or entry.url.startswith("https://download")
        of_name = flavour_of_name(name) if is_timms else "mindcv"
        assert entry.flavour == of_name
        assert entry.recipe is None
        assert load_recipe(f"mixnet_{entry.variant}").network.variant == entry.variant
    assert "does not fit" in load_catalog()["mixnet_s-910v2"].note


def test_a_catalog_entry_is_found_without_looking_at_the_releases() -> None:
    found = find_release("mixnet_s", "nonsense://never-opened")
    assert isinstance(found, CatalogEntry)


def test_a_published_release_is_found_by_name_by_uri_and_by_path(
    weights: Path, tmp_path: Path
) -> None:
    to = tmp_path / "releases with space"
    release = publish_release("digits-1", registry=str(to), files={"weights": weights}, facts={})
    for name in ("digits-1", release.uri, release.uri + "/", str(to / "digits-1")):
        found = find_release(name, to.as_uri())
        assert isinstance(found, PublishedRelease)
        assert (found.name, found.uri) == ("digits-1", release.uri)


def test_an_unknown_name_is_answered_with_the_near_ones(weights: Path, tmp_path: Path) -> None:
    publish_release("mixnet_x1", registry=str(tmp_path / "r"), files={"weights": weights}, facts={})
    with pytest.raises(InputError, match=r"did you mean .*mixnet_x1") as caught:
        find_release("mixnet_xl", str(tmp_path / "r"))
    assert "mixnet_l" in str(caught.value)
    with pytest.raises(InputError, match="no release 'resnet50': expected a catalog entry"):
        find_release("resnet50", str(tmp_path / "r"))
    with pytest.raises(InputError, match=r"no release at .*/r/nothing"):
        find_release(str(tmp_path / "r" / "nothing"), str(tmp_path / "r"))
    for name in ("", "..", "Mixnet_s"):
        with pytest.raises(InputError, match="not a usable name"):
            find_release(name, str(tmp_path / "r"))


def test_a_slip_is_answered_even_where_the_releases_cannot_be_reached(
    s3_environment: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setattr(storage_s3, "MAX_ATTEMPTS", 1)
    with pytest.raises(TransientError, match=r"'mixnet_sm' \(did you mean .*mixnet_s.* no answer"):
        find_release("mixnet_sm", "s3://releases/x")


def test_the_users_catalog_adds_and_replaces(user_catalog: Path) -> None:
    write(user_catalog, ENTRY, {**ENTRY, "name": "mixnet_s", "url": "file:///mirror/s.ckpt"})
    entries = load_catalog()
    assert len(entries) == 12
    assert entries["mine"].flavour == "timm"
    assert entries["mixnet_s"].url == "file:///mirror/s.ckpt"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "abc"}, r"releases\.0\.sha256"),
        ({"sha256": 12345678}, r"releases\.0\.sha256: Input should be a valid string"),
        ({"variant": "xxl"}, r"releases\.0\.variant"),
        ({"num_classes": "10"}, r"releases\.0\.num_classes"),
        ({"claimed_top1": 175.0}, r"releases\.0\.claimed_top1"),
        ({"md5": "0"}, r"releases\.0\.md5"),
        ({"input": {"size": 8}}, r"releases\.0\.input\.size"),
        ({"input": {"mean": [1.0]}}, r"releases\.0\.input\.mean"),
        ({"classes": ["a", "b"]}, "mine has 10 classes and names 2"),
        ({"url": "http://example.org/w"}, "is not encrypted"),
        ({"name": "../mine"}, "not a usable name"),
    ],
)
def test_a_faulty_entry_is_named_with_its_file(
    user_catalog: Path, change: dict[str, object], message: str
) -> None:
    write(user_catalog, {**ENTRY, **change})
    with pytest.raises(InputError, match=f"{user_catalog}.*{message}") as caught:
        load_catalog()
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_catalog_is_named(user_catalog: Path) -> None:
    with pytest.raises(InputError, match=r"no catalog at .* unset MIXNET_CATALOG"):
        load_catalog()
    for text, message in [("{", "not valid YAML"), ("- a", "as a whole"), ("", "as a whole")]:
        user_catalog.write_text(text)
        with pytest.raises(InputError, match=message) as caught:
            load_catalog()
        assert "\n" not in str(caught.value)
    write(user_catalog, ENTRY, ENTRY)
    with pytest.raises(InputError, match="two entries named 'mine'"):
        load_catalog()


def test_a_digest_that_looks_like_a_number_is_one_all_the_same(user_catalog: Path) -> None:
    write(user_catalog, ENTRY)
    text = user_catalog.read_text().replace(f"'{'0' * 64}'", "12345e67")
    assert "sha256: 12345e67\n" in text
    user_catalog.write_text(text)
    assert load_catalog()["mine"].sha256 == "12345e67"


def test_an_entry_that_says_a_key_twice_is_refused_with_both_lines(user_catalog: Path) -> None:
    write(user_catalog, ENTRY)
    lines = user_catalog.read_text().splitlines()
    number = next(n for n, line in enumerate(lines, start=1) if line.strip().startswith("url:"))
    user_catalog.write_text("\n".join([*lines[:number], lines[number - 1], *lines[number:]]))
    twice = rf"releases\.0\.url stands twice, in lines {number} and {number + 1}: keep one"
    with pytest.raises(InputError, match=twice):
        load_catalog()
