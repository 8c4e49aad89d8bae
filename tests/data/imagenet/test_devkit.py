"""The devkit: labels of val's images, in the devkit's own numbering."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from mixnet_core.data.imagenet.classes import wnids
from mixnet_core.data.imagenet.devkit import read_devkit
from mixnet_core.errors import DatasetError, InputError, IntegrityError

FOLDER = "ILSVRC2012_devkit_t12/data"
FIELDS = ("ILSVRC2012_ID", "WNID", "words", "num_children", "num_train_images")
# IDs in another order than labels; the last is a group of classes.
SYNSETS = [
    (1, "n01443537", "goldfish", 0, 1300),
    (2, "n01440764", "tench", 0, 1200),
    (3, "n01484850", "great white shark", 0, 732),
    (1001, "n02084071", "dog", 3, 0),
]


def meta(synsets: list[tuple[Any, ...]], fields: tuple[str, ...] = FIELDS) -> bytes:
    rows = np.zeros((len(synsets), 1), dtype=[(field, object) for field in fields])
    for i, synset in enumerate(synsets):
        rows[i, 0] = tuple(synset[FIELDS.index(field)] for field in fields)
    buffer = io.BytesIO()
    savemat(buffer, {"synsets": rows})
    return buffer.getvalue()


def devkit(
    path: Path, truth: str = "1\n2\n2\n", synsets: bytes | None = None, folder: str = FOLDER
) -> Path:
    files = {
        "ILSVRC2012_validation_ground_truth.txt": truth.encode(),
        "meta.mat": meta(SYNSETS) if synsets is None else synsets,
    }
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_an_ids_class_is_what_meta_says_not_its_place_among_the_labels(tmp_path: Path) -> None:
    found = read_devkit(devkit(tmp_path / "devkit.tar.gz"), val_images=None)
    assert found.val == {
        "ILSVRC2012_val_00000001.JPEG": "n01443537",
        "ILSVRC2012_val_00000002.JPEG": "n01440764",
        "ILSVRC2012_val_00000003.JPEG": "n01440764",
    }
    assert found.train_images == {"n01443537": 1300, "n01440764": 1200, "n01484850": 732}


def test_the_whole_has_1000_classes_and_a_label_an_image(tmp_path: Path) -> None:
    everything = [(i + 1, wnid, "", 0, 1300) for i, wnid in enumerate(reversed(wnids()))]
    path = devkit(tmp_path / "devkit.tar.gz", "1\n1000\n", meta(everything))
    assert list(read_devkit(path, val_images=2).val.values()) == ["n15075141", "n01440764"]
    with pytest.raises(DatasetError, match="has 2 labels, expected 50,000"):
        read_devkit(path, val_images=50_000)
    with pytest.raises(DatasetError, match="has 3 classes, expected 1,000"):
        read_devkit(devkit(path), val_images=3)


@pytest.mark.parametrize("line", ["0", "1001", "4", "-1", "n01440764", "", "1 2"])
def test_a_line_that_is_no_id_of_a_class_is_refused(tmp_path: Path, line: str) -> None:
    path = devkit(tmp_path / "devkit.tar.gz", f"1\n{line}\n2\n")
    with pytest.raises(IntegrityError, match=r"line 2 of .*ground_truth\.txt in .* is no ILSVRC"):
        read_devkit(path, val_images=None)


@pytest.mark.parametrize(
    ("synsets", "error", "fault"),
    [
        (b"no MATLAB file", IntegrityError, "cannot be read"),
        (meta(SYNSETS)[:400], IntegrityError, "cannot be read"),
        (meta([*SYNSETS, (9, "n01440764", "", 0, 1)]), IntegrityError, "a class twice"),
        (meta([*SYNSETS, (2, "n01491361", "", 0, 1)]), IntegrityError, "a class twice"),
        (meta([*SYNSETS, (9, "n99999999", "", 0, 1)]), DatasetError, "'n99999999', none of"),
        (meta([*SYNSETS, ("x", "n01491361", "", 0, 1)]), IntegrityError, "has no synsets with"),
        (meta(SYNSETS, FIELDS[:4]), IntegrityError, "has no synsets with"),
    ],
)
def test_a_wrong_meta_is_one_line(
    tmp_path: Path, synsets: bytes, error: type[Exception], fault: str
) -> None:
    path = devkit(tmp_path / "devkit.tar.gz", synsets=synsets)
    with pytest.raises(error, match=fault) as caught:
        read_devkit(path, val_images=None)
    assert "\n" not in str(caught.value)


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = devkit(tmp_path / "devkit.tar.gz", folder="ILSVRC2012_devkit_t3/data")
    with pytest.raises(DatasetError, match="has no ILSVRC2012_devkit_t12/data/"):
        read_devkit(path, val_images=None)
    with pytest.raises(InputError, match="no devkit at"):
        read_devkit(tmp_path / "none.tar.gz", val_images=None)
    content = devkit(path).read_bytes()
    for damaged in (b"text", content[: len(content) // 2], content[:-200]):
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError, match=r"is cut off or no tar\.gz"):
            read_devkit(path, val_images=None)
