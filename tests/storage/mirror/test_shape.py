from __future__ import annotations

import pytest

from mixnet_core.errors import InputError
from mixnet_core.storage.mirror.shape import shape_of
from mixnet_core.storage.storage import Listed

URI = "s3://bucket/data"
TAG = "0" * 32


def listed(*keys: str, size: int = 3) -> list[Listed]:
    return [Listed(key, 0 if key.endswith("/") else size, TAG, 1.0) for key in sorted(keys)]


def test_keys_are_files_and_markers_are_folders() -> None:
    shape = shape_of(URI, listed("train/", "train/cat/", "train/cat/1.png", "train/dog/.hidden"))
    assert [file.key for file in shape.files] == ["train/cat/1.png", "train/dog/.hidden"]
    assert shape.folders == ("train", "train/cat")
    assert shape.bytes == 6


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("/train/1.png", "a slash comes first"),
        ("train//1.png", "two slashes follow each other"),
        ("train/../../1.png", "it leads elsewhere"),
        ("./1.png", "it leads elsewhere"),
        ("train/\0.png", "it has a NUL"),
        ("train/" + "é" * 128, "a name of more than 255 bytes"),
        ("/".join(["folder"] * 500), "more than 3,000 bytes"),
    ],
)
def test_a_key_that_is_no_path_is_refused_in_one_line(key: str, why: str) -> None:
    with pytest.raises(InputError) as refused:
        shape_of(URI, listed(key, "train/cat/2.png"))
    said = str(refused.value)
    assert why in said
    assert said.startswith("s3://bucket/data has a key that is no file's name here")
    assert len(said) < 300


def test_a_marker_that_holds_bytes_is_refused() -> None:
    with pytest.raises(InputError, match="a folder's with bytes"):
        shape_of(URI, [Listed("train/", 5, "tag", 1.0)])


@pytest.mark.parametrize("other", ["train/cat/1.png", "train/cat/"])
def test_a_key_that_is_a_file_and_a_folder_is_refused(other: str) -> None:
    with pytest.raises(InputError, match=r"'train/cat' \(a file and a folder at once\)"):
        shape_of(URI, listed("train/cat", other, "train/dog/1.png"))


def test_keys_that_differ_in_case_only_are_two_files() -> None:
    assert len(shape_of(URI, listed("train/a.png", "train/A.png")).files) == 2


def test_the_digest_changes_with_whatever_changes() -> None:
    digest = shape_of(URI, listed("a.png", "b/")).digest
    assert digest == shape_of(URI, listed("b/", "a.png")).digest
    assert digest != shape_of(URI, listed("a.png", "c/")).digest
    assert digest != shape_of(URI, listed("a.png", "b/", size=4)).digest
    assert digest != shape_of(URI, [Listed("a.png", 3, "other", 1.0), *listed("b/")]).digest
    # A copy of equal content is no other content.
    assert digest == shape_of(URI, [Listed("a.png", 3, TAG, 9.0), *listed("b/")]).digest
    # What is no MD5 may be the same for all contents.
    parts = [shape_of(URI, [Listed("a.png", 3, f"{TAG}-2", at)]).digest for at in (1.0, 9.0)]
    assert parts[0] != parts[1]
