"""The list of an unpacked ImageNet's images."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixnet_core.data.imagenet.classes import label_of, wnids
from mixnet_core.data.imagenet.listing import (
    Listed,
    Split,
    has_listing,
    listing_fingerprint,
    read_facts,
    read_listing,
    rows_of,
    write_listing,
    write_rows,
)
from mixnet_core.data.index import SPLITS, Row, dataset_fingerprint
from mixnet_core.errors import DatasetError, IntegrityError


def listed(split: str, wnid: str, number: int, notes: str = "") -> Listed:
    name = f"{split}/{wnid}/{wnid}_{number}.JPEG"
    return Listed(name, wnid, 100 + number, f"{number:064x}", 500, 375, notes)


ROWS: dict[Split, list[Listed]] = {
    "train": [
        listed("train", "n01440764", 9),
        listed("train", "n01440764", 10, "cmyk orientation-6"),
        listed("train", "n01443537", 2),
    ],
    "val": [listed("val", "n01440764", 4, "png")],
}


def test_it_reads_back_as_it_was_written(tmp_path: Path) -> None:
    assert not has_listing(tmp_path)
    fingerprint = write_listing(tmp_path, ROWS, {"subset": True})
    assert has_listing(tmp_path)
    assert read_listing(tmp_path, "train") == ROWS["train"]
    assert read_listing(tmp_path, "val") == ROWS["val"]
    facts = read_facts(tmp_path)
    assert facts["subset"] is True
    assert facts["counts"] == {"train": 3, "val": 1}
    assert facts["fingerprint"] == fingerprint == listing_fingerprint(ROWS)
    assert not list(tmp_path.glob(".aside-*"))


def test_a_split_that_was_not_unpacked_is_empty(tmp_path: Path) -> None:
    write_listing(tmp_path, {"val": ROWS["val"]}, {})
    assert read_listing(tmp_path, "train") == []
    assert read_facts(tmp_path)["counts"] == {"train": 0, "val": 1}


def test_its_fingerprint_is_that_of_the_same_images_in_a_prepared_dataset() -> None:
    rows = {
        split: [
            Row(row.path, label_of()[row.wnid], row.sha256, row.bytes)
            for row in ROWS.get(split, ())  # type: ignore[call-overload]
        ]
        for split in SPLITS
    }
    assert dataset_fingerprint(wnids(), rows) == listing_fingerprint(ROWS)


def test_its_fingerprint_knows_content_label_and_split_but_no_names() -> None:
    train, val = ROWS["train"], ROWS["val"]
    same = [row._replace(path=row.path.replace("JPEG", "jpg")) for row in reversed(train[:2])]
    assert listing_fingerprint({"train": [*same, train[2]], "val": val}) == listing_fingerprint(
        ROWS
    )
    others: list[dict[Split, list[Listed]]] = [
        {"train": [*train[:2], train[2]._replace(sha256="f" * 64)], "val": val},
        {"train": [*train[:2], train[2]._replace(wnid="n01484850")], "val": val},
        {"train": train},
        {"train": val, "val": train},
    ]
    assert len({listing_fingerprint(rows) for rows in [ROWS, *others]}) == 5


def test_a_damaged_one_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="run `mixnet prepare imagenet` first"):
        read_listing(tmp_path, "val")
    write_listing(tmp_path, ROWS, {})
    path = tmp_path / "train.csv"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"500", b"501", 1))
    with pytest.raises(IntegrityError, match=r"train.csv has sha256 .* imagenet.json says"):
        read_listing(tmp_path, "train")
    path.write_bytes(content)
    facts = tmp_path / "imagenet.json"
    facts.write_text(facts.read_text().replace('"train": 3', '"train": 4'))
    with pytest.raises(IntegrityError, match=r"train.csv lists 3 images, imagenet.json says 4"):
        read_listing(tmp_path, "train")
    path.unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        read_listing(tmp_path, "train")
    (tmp_path / "imagenet.json").write_text('{"format": 9, "counts": 1, "files": 1}')
    with pytest.raises(IntegrityError, match="no listing"):
        read_listing(tmp_path, "val")


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (listed("train", "n01440764", 1)._replace(path="val/n01440764/a.JPEG"), "expected train/"),
        (listed("train", "n01440764", 1)._replace(path="train/n01440764/../a"), "expected train/"),
        (listed("train", "n99999999", 1), "unknown class"),
        (listed("train", "n01440764", 1)._replace(bytes="many"), "many"),  # type: ignore[arg-type]
    ],
)
def test_a_row_that_cannot_be_is_refused(tmp_path: Path, row: Listed, fault: str) -> None:
    write_rows(tmp_path / "train.csv", [row])
    with pytest.raises(IntegrityError, match=fault):
        list(rows_of(tmp_path / "train.csv", "train"))
