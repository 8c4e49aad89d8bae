"""ImageNet in a store: its archives as objects, and what they were unpacked to as a prefix."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.images.imagenet_archives import write_archives
from mixnet_core.data.imagenet.inputs import Archives
from mixnet_core.data.imagenet.unpack import unpack_imagenet
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.errors import InputError, IntegrityError
from mixnet_core.storage.user_cache import VARIABLE
from tests.data.samples import data
from tests.object_store import ObjectStore


@pytest.fixture
def store(
    s3_environment: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ObjectStore:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    return s3_environment


def copied(store: ObjectStore, folder: Path, prefix: str) -> str:
    client = store.client()

    def put(path: Path) -> None:
        key = f"{prefix}/{path.relative_to(folder).as_posix()}"
        client.put_object(Bucket=store.bucket, Key=key, Body=path.read_bytes())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, [path for path in folder.rglob("*") if path.is_file()]))
    return f"s3://{store.bucket}/{prefix}"


def test_archives_in_a_store_unpack_to_what_files_do_and_that_is_data_in_a_store_too(
    store: ObjectStore, tmp_path: Path
) -> None:
    made = write_archives(tmp_path / "made", classes=3, images_per_class=8, val_images=4, side=48)
    uri = copied(store, tmp_path / "made", "archives")

    def stored(path: Path) -> Path:
        return Path(f"{uri}/{path.name}")

    whole = {"devkit": made.devkit, "md5sums": made.md5sums}
    ours = unpack_imagenet(
        Archives(made.train_tar, made.val_tar, subset=True, **whole), tmp_path / "ours"
    )
    theirs = unpack_imagenet(
        Archives(
            stored(made.train_tar),
            stored(made.val_tar),
            subset=True,
            **{name: stored(path) for name, path in whole.items()},
        ),
        tmp_path / "theirs",
    )
    assert theirs.fingerprint == ours.fingerprint
    with pytest.raises(InputError, match="nothing is below s3://releases/archives/none"):
        unpack_imagenet(Archives(stored(Path("none.tar")), subset=True), tmp_path / "none")

    unpacked = copied(store, tmp_path / "ours", "unpacked")
    section = data("imagenet", unpacked, subset=True, layout="in_place")
    local = section.model_copy(update={"path": str(tmp_path / "ours")})
    fingerprint = prepare_dataset(local, tmp_path / "datasets").fingerprint
    assert prepare_dataset(section, tmp_path / "datasets").fingerprint == fingerprint
    # The listing's digests are taken for known: what a store lost would not be seen later.
    image = next((tmp_path / "ours").glob("train/*/*.JPEG"))
    key = f"unpacked/{image.relative_to(tmp_path / 'ours').as_posix()}"
    content = image.read_bytes()
    store.client().put_object(Bucket=store.bucket, Key=key, Body=content[:-3] + b"\0\xff\xd9")
    with pytest.raises(IntegrityError, match="the listing beside it says"):
        prepare_dataset(section, tmp_path / "datasets")


def test_a_file_of_labels_may_be_an_object(store: ObjectStore, tmp_path: Path) -> None:
    made = write_archives(tmp_path / "made", classes=3, images_per_class=8, val_images=4, side=48)
    unpack_imagenet(
        Archives(made.train_tar, made.val_tar, made.devkit, md5sums=made.md5sums, subset=True),
        tmp_path / "ours",
    )
    folder = tmp_path / "flat"
    for image in (tmp_path / "ours").glob("train/*/*.JPEG"):
        (folder / "train" / image.parent.name).mkdir(parents=True, exist_ok=True)
        image.rename(folder / "train" / image.parent.name / image.name)
    (folder / "val").mkdir()
    for image in (tmp_path / "ours").glob("val/*/*.JPEG"):
        image.rename(folder / "val" / image.name)
    uri = copied(store, folder, "flat")
    labels = made.val_labels
    key = f"labels/{labels.name}"
    store.client().put_object(Bucket=store.bucket, Key=key, Body=labels.read_bytes())
    changes = {"subset": True, "layout": "in_place"}
    ours = data("imagenet", folder, val_labels=str(labels), **changes)
    theirs = data("imagenet", uri, val_labels=f"s3://{store.bucket}/{key}", **changes)
    fingerprints = {
        prepare_dataset(section, tmp_path / "datasets").fingerprint for section in (ours, theirs)
    }
    assert len(fingerprints) == 1
