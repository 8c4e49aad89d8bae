"""Images in MindRecord shards, read by the process that trains or evaluates."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from mixnet_core.data import mindrecord
from mixnet_core.data.batches import evaluation_pixels, training_batches
from mixnet_core.data.index import open_prepared, read_index, read_manifest, read_rows
from mixnet_core.data.mindrecord import pack
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.data.reading import contents
from mixnet_core.data.shards import shard_name, shard_ranges
from mixnet_core.errors import DatasetError, IntegrityError, MachineError
from mixnet_core.processes.requests import PackedDataset, PackRequest
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.runs.values import PreparedDataset
from tests.data.samples import data, write_image_folder
from tests.slow_job import NEARLY, STALL_SECONDS, Killed, SlowJob


def in_small_shards(request: PackRequest) -> PackedDataset:
    return pack(request.model_copy(update={"shard_bytes": 2000}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    classes = {"ant": 30, "bee": 30}
    return write_image_folder(tmp_path_factory.mktemp("images"), classes, {"ant": 5, "bee": 5})


@pytest.fixture(scope="module")
def packed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    settings = data("image_folder", folder, layout="mindrecord")
    return prepare_dataset(settings, tmp_path_factory.mktemp("datasets"), pack=in_small_shards)


def test_a_shard_takes_what_fits_and_a_large_image_has_its_own() -> None:
    ranges = shard_ranges([4, 4, 4, 30, 1, 9, 1], shard_bytes=10)
    assert [list(positions) for positions in ranges] == [[0, 1], [2], [3], [4, 5], [6]]
    assert shard_ranges([7], shard_bytes=10) == [range(1)]
    million = shard_ranges([110_000] * 1_281_167)
    assert len(million) == 263
    assert sum(len(positions) for positions in million) == 1_281_167


def test_nothing_but_shards_and_indexes_is_left(packed: PreparedDataset, folder: Path) -> None:
    root = Path(packed.root)
    names = {path.name for path in root.iterdir()}
    manifest = read_manifest(root)
    listed = {shard["file"] for shards in manifest["shards"].values() for shard in shards}
    indexes = {"train.csv", "select.csv", "val.csv", "classes.txt", "duplicates.csv"}
    assert names == listed | indexes | {"manifest.json"}
    train = [name for name in listed if name.startswith("train-")]
    assert len(train) > 4
    assert {shard_name("train", 0), shard_name("train", 0) + ".db"} <= set(train)
    for shards in manifest["shards"].values():
        for shard in shards:
            content = (root / shard["file"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == shard["sha256"]


def test_they_are_the_same_images_as_in_any_other_layout(
    packed: PreparedDataset, folder: Path, tmp_path: Path
) -> None:
    linked = prepare_dataset(data("image_folder", folder), tmp_path)
    assert linked.fingerprint == packed.fingerprint
    one, other = read_index(Path(linked.root), "train"), read_index(Path(packed.root), "train")
    order = np.random.default_rng(3).permutation(len(one.paths))[:40]
    files = [content() for content in contents(one, order)]
    records = [content() for content in contents(other, order)]
    assert files == records


def batches_of(dataset: PreparedDataset) -> list[bytes]:
    changes = {
        "training.global_batch": 8,
        "devices.ranks": 1,
        "augment.crop_scale": [0.3, 1.0],
        "input.image_size": 8,
    }
    train = training_batches(
        read_index(Path(dataset.root), "train"),
        load_recipe("digits", changes),
        classes=2,
        epoch=1,
        rank=0,
        threads=2,
        first_step=2,
    )
    val = read_index(Path(dataset.root), "val")
    pixels = evaluation_pixels(
        val, val.positions, load_recipe("digits", changes), batch=4, threads=2
    )
    return [batch.images.tobytes() for batch in train] + [b.images.tobytes() for b in pixels]


def test_training_and_evaluation_read_the_same_from_shards_and_files(
    packed: PreparedDataset, folder: Path, tmp_path: Path
) -> None:
    linked = prepare_dataset(data("image_folder", folder), tmp_path)
    found = batches_of(packed)
    assert len(found) == 4 + 3
    assert found == batches_of(linked)


def test_a_dataset_that_was_moved_is_read_where_it_is(
    packed: PreparedDataset, tmp_path: Path
) -> None:
    moved = Path(packed.root).rename(tmp_path / "moved")
    try:
        assert open_prepared(moved).fingerprint == packed.fingerprint
        index = read_index(moved, "val")
        assert len(list(contents(index, np.arange(10)))) == 10
    finally:
        moved.rename(packed.root)


def test_a_shard_that_is_missing_or_cut_is_named(folder: Path, tmp_path: Path) -> None:
    settings = data("image_folder", folder, layout="mindrecord")
    root = Path(prepare_dataset(settings, tmp_path, pack=in_small_shards).root)
    shard = root / shard_name("val", 0)
    content = shard.read_bytes()
    shard.unlink()
    with pytest.raises(IntegrityError, match=r"val-00000\.mindrecord is missing"):
        open_prepared(root)
    shard.write_bytes(content[:-10])
    with pytest.raises(IntegrityError, match=rf"has {len(content) - 10} bytes, expected"):
        open_prepared(root)


def test_shards_that_do_not_hold_what_the_index_says_are_an_error(
    packed: PreparedDataset,
) -> None:
    index = read_index(Path(packed.root), "train")
    swapped = replace(index, shards=tuple(reversed(index.shards)))
    with pytest.raises(IntegrityError, match="hold another image at place 0"):
        list(contents(swapped, np.arange(20)))
    assert index.sizes is not None
    larger = replace(index, sizes=index.sizes + 1)
    with pytest.raises(IntegrityError, match="hold another image at place 7"):
        list(contents(larger, np.array([7])))


def spoilt(content: bytes) -> bytes:
    return bytes(len(content))


def cut(content: bytes) -> bytes:
    return content[:-2000]


@pytest.mark.parametrize(
    ("suffix", "damage", "reason"),
    [
        ("", None, "does not exist"),
        (".db", None, "is not exists"),
        ("", spoilt, "failed to parse header"),
        ("", cut, "Failed to read file"),
        (".db", spoilt, "not a database|malformed|verifying meta file"),
    ],
)
def test_what_mindspore_says_of_a_damaged_shard_becomes_one_line(
    packed: PreparedDataset,
    tmp_path: Path,
    suffix: str,
    damage: Callable[[bytes], bytes] | None,
    reason: str,
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(packed.root, root)
    file = root / f"{shard_name('train', 1)}{suffix}"
    content = file.read_bytes()
    file.unlink()
    if damage is not None:
        file.write_bytes(damage(content))
    index = read_index(root, "train")
    with pytest.raises(IntegrityError, match=reason) as error:
        list(contents(index, np.arange(len(index.paths))))
    assert "\n" not in str(error.value)
    assert "run `mixnet prepare` again" in str(error.value)
    assert "atomgit" not in str(error.value)


def test_an_image_that_changed_before_it_was_packed_is_named(folder: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    shutil.copytree(folder, images)

    def meddled(request: PackRequest) -> PackedDataset:
        file = images / read_rows(Path(request.folder), "select")[1].path
        file.write_bytes(file.read_bytes()[:-1] + b"x")
        return pack(request)

    settings = data("image_folder", images, layout="mindrecord")
    with pytest.raises(IntegrityError, match=r"train/ant/\d+\.png of split select .* changed"):
        prepare_dataset(settings, tmp_path / "datasets", pack=meddled)
    assert list((tmp_path / "datasets").iterdir()) == []


def test_a_disk_without_room_for_shards_is_one_line(folder: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(mount).returncode:
        pytest.skip("only root can mount a tiny disk")
    try:
        settings = data("image_folder", folder, layout="mindrecord")
        with pytest.raises(MachineError, match=r"cannot write .*: free space or") as error:
            prepare_dataset(settings, disk / "datasets", pack=pack)
        assert "\n" not in str(error.value)
        assert list((disk / "datasets").iterdir()) == []
    finally:
        # A writer that failed keeps its files open as long as its process.
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_progress_counts_each_image_written_and_read_back(
    packed: PreparedDataset, folder: Path, tmp_path: Path
) -> None:
    progress = tmp_path / "progress.jsonl"
    progress.write_text("of an earlier attempt")

    def told(request: PackRequest) -> PackedDataset:
        return pack(request.model_copy(update={"progress": str(progress)}))

    settings = data("image_folder", folder, layout="mindrecord")
    prepare_dataset(settings, tmp_path / "datasets", pack=told)
    rows = [json.loads(line) for line in progress.read_text().splitlines()]
    # Of 48, 12 and 10 images.
    assert [row["done"] for row in rows] == [48, 96, 108, 120, 130, 140]
    assert {row["total"] for row in rows} == {140}


def test_closing_early_ends_the_reading_threads(packed: PreparedDataset) -> None:
    index = read_index(Path(packed.root), "train")
    # Some threads of MindSpore stay from its first use on.
    for _ in contents(index, np.arange(2)):
        pass
    before = psutil.Process().num_threads()
    opened = psutil.Process().num_fds()
    files = contents(index, np.arange(len(index.paths)))
    next(files)
    assert psutil.Process().num_threads() > before
    files.close()
    assert psutil.Process().num_threads() <= before
    assert psutil.Process().num_fds() <= opened


FEW_FILES = """
import resource, sys
from pathlib import Path
import numpy as np
from mixnet_core.data.index import Index
from mixnet_core.data.mindrecord import record_contents
from mixnet_core.errors import MixnetError

resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
shards = tuple(Path(f"{number}.mindrecord") for number in range(1000))
try:
    list(record_contents(Index(Path(), (), np.empty(0, np.int32), None, shards), np.arange(0)))
except MixnetError as error:
    print(error, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def test_there_may_be_more_shards_than_a_process_may_open_files() -> None:
    def run(soft: int, hard: int) -> str:
        command = [sys.executable, "-c", FEW_FILES, str(soft), str(hard)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "1000 shards need 2128 open files, this process may open 2000" in run(1000, 2000)
    # For one thread that reads; it goes on to that the shards are not there.
    raised = run(1000, 2200)
    assert "0.mindrecord does not exist" in raised
    assert raised.endswith(" 2128\n")


def test_it_needs_the_process_that_packs(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="layout mindrecord is for `mixnet prepare`"):
        prepare_dataset(data("image_folder", folder, layout="mindrecord"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_images_that_are_no_files_are_packed_too(tmp_path: Path) -> None:
    settings = data("digits", layout="mindrecord", train_limit=100)
    dataset = prepare_dataset(settings, tmp_path, pack=pack)
    index = read_index(Path(dataset.root), "train")
    assert all(content().startswith(b"\x89PNG") for content in contents(index, np.arange(20)))
    assert not (Path(dataset.root) / "train").exists()


@pytest.mark.parametrize("slow", ["reading", "closing", "opening", "reading back", "hashing"])
def test_packing_on_a_slow_disk_is_no_hang(
    folder: Path, tmp_path: Path, slow_job: SlowJob, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    def slowed(owner: object, name: str, seconds: float) -> None:
        monkeypatch.setattr(owner, name, slow_job.slowed(getattr(owner, name), seconds))

    if slow == "reading":
        slowed(mindrecord, "_record", NEARLY)
    elif slow == "closing":
        slowed(mindrecord.FileWriter, "commit", 5 * STALL_SECONDS)
    elif slow == "opening":
        slowed(mindrecord.ds.MindDataset, "create_dict_iterator", 5 * STALL_SECONDS)
    elif slow == "reading back":
        slow_sha256 = slow_job.slowed(hashlib.sha256, NEARLY)
        monkeypatch.setattr(mindrecord, "hashlib", SimpleNamespace(sha256=slow_sha256))
    else:
        slowed(mindrecord, "sha256_of", NEARLY)
    settings = data("image_folder", folder, layout="mindrecord")
    dataset = prepare_dataset(settings, tmp_path, pack=in_small_shards)
    assert dataset.counts["val"] == 10
    assert slow_job.seconds > 5 * STALL_SECONDS


def test_packing_that_hangs_is_ended(
    folder: Path, tmp_path: Path, slow_job: SlowJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = slow_job.slowed(mindrecord.FileWriter.write_raw_data, STALL_SECONDS + 1)
    monkeypatch.setattr(mindrecord.FileWriter, "write_raw_data", hanging)
    settings = data("image_folder", folder, layout="mindrecord")
    with pytest.raises(Killed):
        prepare_dataset(settings, tmp_path, pack=in_small_shards)
    assert list(tmp_path.glob("image_folder-*")) == []
