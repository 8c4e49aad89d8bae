"""ImageNet's tars, whole and otherwise."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from mixnet_core.data.imagenet.archives import (
    Archive,
    classes_in,
    images_of_class,
    val_images,
)
from mixnet_core.errors import DatasetError, InputError, IntegrityError, MixnetError
from tests.data.imagenet.tars import Entry, special, tar, train_tar, val_tar

TENCH, GOLDFISH = "n01440764", "n01443537"
INNER = tar([(f"{TENCH}_1.JPEG", b"one"), (f"{TENCH}_2.JPEG", b"two" * 500)])


def read_train(path: Path) -> dict[str, bytes]:
    with Archive(path) as archive:
        return {
            member.name: archive.content(member)
            for inner in classes_in(archive, subset=True)
            for member in images_of_class(archive, inner)
        }


def read_val(path: Path) -> dict[str, bytes]:
    with Archive(path) as archive:
        return {member.name: archive.content(member) for member in val_images(archive)}


def test_images_are_read_out_of_the_tars_in_a_tar(tmp_path: Path) -> None:
    path = train_tar(tmp_path / "train.tar", {TENCH: [b"a", b"b" * 1000], GOLDFISH: [b"c" * 512]})
    assert read_train(path) == {
        f"{TENCH}_1.JPEG": b"a",
        f"{TENCH}_2.JPEG": b"b" * 1000,
        f"{GOLDFISH}_1.JPEG": b"c" * 512,
    }


def test_images_of_val_are_read(tmp_path: Path) -> None:
    path = val_tar(tmp_path / "val.tar", [b"x", b""])
    assert read_val(path) == {
        "ILSVRC2012_val_00000001.JPEG": b"x",
        "ILSVRC2012_val_00000002.JPEG": b"",
    }


def test_the_whole_has_all_classes(tmp_path: Path) -> None:
    path = train_tar(tmp_path / "train.tar", {TENCH: [b"a"]})
    with Archive(path) as archive:
        assert [inner.name for inner in classes_in(archive, subset=True)] == [f"{TENCH}.tar"]
        with pytest.raises(DatasetError, match=r"lacks 999 of the 1,000 .* n01443537\.tar"):
            classes_in(archive, subset=False)


# test_bad_inputs has links and paths that lead out at once.
BAD_MEMBERS: list[tuple[Entry, str]] = [
    (("a/../../n01440764_3.JPEG", b""), "leads out"),
    (special("n01440764_3.JPEG", tarfile.FIFOTYPE), "special file 'n01440764_3.JPEG'"),
    (special("n01440764_3.JPEG", tarfile.BLKTYPE), "special file 'n01440764_3.JPEG'"),
    (special("n01440764_3.JPEG", tarfile.CONTTYPE), "special file 'n01440764_3.JPEG'"),
    (special("n01440764_3.JPEG", tarfile.DIRTYPE), "folder 'n01440764_3.JPEG'"),
    (("sub/n01440764_3.JPEG", b""), "no plain file name"),
    ((".n01440764_3.JPEG", b""), "no plain file name"),
    (("n01440764_\n3.JPEG", b""), "no plain file name"),
    (("n01443537_3.JPEG", b""), "no image of this class"),
    (("n01440764_3.txt", b""), "no image of this class"),
    (("n01440764_1.JPEG", b""), "n01440764_1.JPEG twice"),
]


@pytest.mark.parametrize(("entry", "fault"), BAD_MEMBERS)
def test_a_member_that_is_no_image_of_its_class_is_refused_by_name(
    tmp_path: Path, entry: Entry, fault: str
) -> None:
    inner = tar([(f"{TENCH}_1.JPEG", b"one"), entry])
    path = tmp_path / "train.tar"
    path.write_bytes(tar([(f"{TENCH}.tar", inner)]))
    with pytest.raises(DatasetError) as caught:
        read_train(path)
    assert f"n01440764.tar in {path}" in str(caught.value)
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        (("n01443537.txt", b""), "none of the 1,000 classes"),
        (("n01440764.tar", INNER), "n01440764.tar twice"),
    ],
)
def test_a_member_that_is_no_class_is_refused_by_name(
    tmp_path: Path, entry: Entry, fault: str
) -> None:
    path = tmp_path / "train.tar"
    path.write_bytes(tar([(f"{TENCH}.tar", INNER), entry]))
    with pytest.raises(DatasetError, match=fault):
        read_train(path)


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        (("val_1.JPEG", b""), "no image of val"),
        (("ILSVRC2012_val_00000001.JPEG", b""), "ILSVRC2012_val_00000001.JPEG twice"),
        (special("ILSVRC2012_val_00000009.JPEG", tarfile.SYMTYPE, "x"), "the link"),
    ],
)
def test_a_member_that_is_no_image_of_val_is_refused_by_name(
    tmp_path: Path, entry: Entry, fault: str
) -> None:
    path = tmp_path / "val.tar"
    path.write_bytes(tar([("ILSVRC2012_val_00000001.JPEG", b"x"), entry]))
    with pytest.raises(DatasetError, match=fault):
        read_val(path)


# Of the outer tar: header, data of the first class, header and data of the second, end.
OUTER = tar([(f"{TENCH}.tar", INNER), (f"{GOLDFISH}.tar", INNER.replace(b"01440764", b"01443537"))])
SECOND = 512 + len(INNER)


@pytest.mark.parametrize(
    ("size", "fault"),
    [
        (0, "cut off or no tar"),
        (300, "cut off or no tar"),
        (512 + 700, r"cut off within n01440764.tar: 700 of its 10,240 bytes"),
        (SECOND, r"cut off after n01440764.tar"),
        (SECOND + 100, r"cut off after n01440764.tar"),
        (SECOND + 512 + 10_000, r"cut off within n01443537.tar"),
        (SECOND + 512 + 10_240, r"cut off after n01443537.tar"),
    ],
)
def test_wherever_a_tar_is_cut_off_the_member_is_named(
    tmp_path: Path, size: int, fault: str
) -> None:
    path = tmp_path / "train.tar"
    path.write_bytes(OUTER[:size])
    with pytest.raises(IntegrityError, match=fault):
        read_train(path)


@pytest.mark.parametrize(
    ("size", "fault"),
    [
        (512 + 2, r"cut off within n01440764_1.JPEG: 2 of its 3 bytes"),
        (512 + 3, r"cut off .*after n01440764_1.JPEG"),
        (1024, r"cut off after n01440764_1.JPEG"),
        (1024 + 512 + 1499, r"cut off within n01440764_2.JPEG"),
        (1024 + 512 + 1536, r"cut off after n01440764_2.JPEG"),
    ],
)
def test_wherever_an_inner_tar_is_cut_off_the_member_is_named(
    tmp_path: Path, size: int, fault: str
) -> None:
    path = tmp_path / "train.tar"
    path.write_bytes(tar([(f"{TENCH}.tar", INNER[:size])]))
    with pytest.raises(IntegrityError, match=rf"n01440764.tar in .*{fault}"):
        read_train(path)


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    path = tmp_path / "train.tar"
    damaged = bytearray(INNER)
    damaged[1024 + 20] ^= 1
    path.write_bytes(tar([(f"{TENCH}.tar", bytes(damaged))]))
    with pytest.raises(IntegrityError, match=r"is damaged after n01440764_1.JPEG"):
        read_train(path)


def test_a_header_that_claims_gigabytes_does_not_have_them_read(tmp_path: Path) -> None:
    long_name = special("n01440764_3.JPEG", tarfile.GNUTYPE_LONGNAME)
    long_name.size = 3 << 20
    content = long_name.tobuf(tarfile.GNU_FORMAT) + bytes(4 << 20)
    path = tmp_path / "val.tar"
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="a header of 3,145,728 bytes"):
        read_val(path)


def test_an_image_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    image = tarfile.TarInfo("ILSVRC2012_val_00000001.JPEG")
    image.size = 2 << 30
    path = tmp_path / "val.tar"
    with path.open("wb") as file:
        file.write(image.tobuf(tarfile.GNU_FORMAT))
        file.truncate(512 + (2 << 30) + 1024)
    with pytest.raises(DatasetError, match=r"_00000001.JPEG of 2,147,483,648 bytes: refused"):
        read_val(path)


def test_a_sparse_file_is_refused_for_its_data_are_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "val.tar"
    info = tarfile.TarInfo("ILSVRC2012_val_00000001.JPEG")
    info.size = 1
    info.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": "100"}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as file:
        file.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(DatasetError, match=r"the special file 'ILSVRC2012_val_00000001.JPEG'"):
        read_val(path)


@pytest.mark.parametrize("content", [b"no tar at all" * 100, tar([])])
def test_what_is_no_tar_or_an_empty_one_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.tar"
    path.write_bytes(content)
    for read in (read_train, read_val):
        with pytest.raises(MixnetError, match=r"file\.tar (is cut off or no tar|is empty|has no)"):
            read(path)


def test_a_missing_archive_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no archive at"):
        Archive(tmp_path / "none.tar")


def test_an_archive_that_changes_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    path = val_tar(tmp_path / "val.tar", [b"x"])
    with Archive(path) as archive:
        archive.expect_unchanged()
        with path.open("ab") as file:
            file.write(bytes(512))
        with pytest.raises(IntegrityError, match="changed while it was read"):
            archive.expect_unchanged()
