"""ILSVRC2012's tar archives, read in place and strictly: nothing of them is written to find out.

ILSVRC2012_img_train.tar holds one tar per class, <wnid>.tar, of images <wnid>_*.JPEG;
ILSVRC2012_img_val.tar holds the images themselves. Python's tarfile reads the headers; data is read
by its place in the archive, so that threads share no position.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mixnet_core.data.imagenet.classes import label_of, wnids
from mixnet_core.errors import DatasetError, InputError, IntegrityError
from mixnet_core.storage.files import os_errors_explained

_BLOCK = tarfile.BLOCKSIZE
_MOST_HEADER_BYTES = 1 << 20
# A plain file name: letters, digits and what ImageNet's names have besides; no leading dot.
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}")
# The largest of ILSVRC2012 has 15 MB. An image is read whole.
_MOST_IMAGE_BYTES = 1 << 28
_VAL_IMAGE = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG")
_FETCH = "fetch the archive again"


class Member(NamedTuple):
    """Describes a regular file in an archive.

    Attributes:
        name: of the file.
        offset: of its data, bytes from the archive's beginning.
        size: of its data, bytes.
    """

    name: str
    offset: int
    size: int


class Identity(NamedTuple):
    """Tells without reading whether a file is still the same one."""

    size: int
    mtime_ns: int
    inode: int


class Archive:
    """Reads an open tar file; use it as a context.

    Attributes:
        path: as it was given.
        identity: of the file when it was opened.

    Raises:
        InputError: there is no such file.
        MachineError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise InputError(f"no archive at {path}: check the path")
        self.path = path
        with os_errors_explained(path, "read"):
            self._handle = os.open(path, os.O_RDONLY)
            status = os.fstat(self._handle)
        self.identity = Identity(status.st_size, status.st_mtime_ns, status.st_ino)

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def expect_unchanged(self) -> None:
        """Makes sure that the file is the one that was opened.

        Raises:
            IntegrityError: it is another one by now.
            MachineError: it cannot be looked at.
        """
        with os_errors_explained(self.path, "read"):
            status = self.path.stat()
        if Identity(status.st_size, status.st_mtime_ns, status.st_ino) != self.identity:
            raise IntegrityError(
                f"{self.path} changed while it was read: wait until it is complete, then try again"
            )

    def read(self, offset: int, size: int) -> bytes:
        """Reads `size` bytes from `offset`, fewer only at the end; safe in several threads.

        Raises:
            MachineError: it cannot be read.
        """
        with os_errors_explained(self.path, "read"):
            content = os.pread(self._handle, size, offset)
            while 0 < len(content) < size:
                more = os.pread(self._handle, size - len(content), offset + len(content))
                if not more:
                    break
                content += more
        return content

    def read_into(self, offset: int, buffer: bytearray) -> int:
        """Reads into a buffer that is used again and stays in the processor's cache.

        Returns:
            How many bytes there were; 0 only at the end.

        Raises:
            MachineError: it cannot be read.
        """
        with os_errors_explained(self.path, "read"):
            return os.preadv(self._handle, [buffer], offset)

    def content(self, member: Member) -> bytes:
        """Reads a member's data.

        Raises:
            IntegrityError: the archive became shorter meanwhile.
            MachineError: it cannot be read.
        """
        content = self.read(member.offset, member.size)
        if len(content) != member.size:
            raise _cut(f"{self.path}", member.name, len(content), member.size)
        return content


def classes_in(archive: Archive, *, subset: bool) -> list[Member]:
    """Lists the inner tars of the train archive, in its order; all headers are read, no data.

    Args:
        subset: whether classes may be missing.

    Raises:
        DatasetError: a member that is no tar of one of the 1,000 classes, a class twice or missing.
        IntegrityError: the archive is cut off or damaged.
        MachineError: it cannot be read.
    """
    found: dict[str, Member] = {}
    for member in _members(archive, str(archive.path), 0, archive.identity.size):
        wnid = member.name.removesuffix(".tar")
        if wnid == member.name or wnid not in label_of():
            raise DatasetError(
                f"{archive.path} has {member.name!r}, which is none of the 1,000 classes: expected "
                "<wnid>.tar, as n01440764.tar"
            )
        if wnid in found:
            raise DatasetError(f"{archive.path} has {member.name} twice: {_FETCH}")
        found[wnid] = member
    missing = [wnid for wnid in wnids() if wnid not in found]
    if not found:
        raise DatasetError(f"{archive.path} is empty: expected one tar per class, as n01440764.tar")
    if missing and not subset:
        raise DatasetError(
            f"{archive.path} lacks {len(missing)} of the 1,000 classes, the first is "
            f"{missing[0]}.tar: expected the whole of ILSVRC2012; --subset for a part of it"
        )
    return list(found.values())


def images_of_class(archive: Archive, inner: Member) -> Iterator[Member]:
    """Yields the images in one of `classes_in`, in its order.

    Raises:
        DatasetError: a member that is no image of this class, or is there twice.
        IntegrityError: the inner tar is cut off or damaged.
        MachineError: it cannot be read.
    """
    wnid = inner.name.removesuffix(".tar")
    where = f"{inner.name} in {archive.path}"
    seen: set[str] = set()
    for member in _members(archive, where, inner.offset, inner.size):
        if not (member.name.startswith(f"{wnid}_") and member.name.endswith(".JPEG")):
            raise DatasetError(
                f"{where} has {member.name!r}, which is no image of this class: expected "
                f"{wnid}_<number>.JPEG"
            )
        _check_image(where, member, seen)
        yield member
    if not seen:
        raise DatasetError(f"{where} has no images: {_FETCH}")


def val_images(archive: Archive) -> Iterator[Member]:
    """Yields the images of the val archive, in its order.

    Raises:
        DatasetError: a member that is no image, or is there twice.
        IntegrityError: the archive is cut off or damaged.
        MachineError: it cannot be read.
    """
    where = str(archive.path)
    seen: set[str] = set()
    for member in _members(archive, where, 0, archive.identity.size):
        if not _VAL_IMAGE.fullmatch(member.name):
            raise DatasetError(
                f"{where} has {member.name!r}, which is no image of val: expected "
                "ILSVRC2012_val_<8 digits>.JPEG"
            )
        _check_image(where, member, seen)
        yield member
    if not seen:
        raise DatasetError(f"{where} has no images: expected ILSVRC2012_val_<8 digits>.JPEG")


def val_name(number: int) -> str:
    """Returns the name of the val image of that number, from 1."""
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def _check_image(where: str, member: Member, seen: set[str]) -> None:
    if member.name in seen:
        raise DatasetError(f"{where} has {member.name} twice: {_FETCH}")
    seen.add(member.name)
    if member.size > _MOST_IMAGE_BYTES:
        raise DatasetError(
            f"{where} has {member.name} of {member.size:,} bytes: refused, no image of ImageNet is "
            f"larger than {_MOST_IMAGE_BYTES:,}"
        )


def _members(archive: Archive, where: str, start: int, size: int) -> Iterator[Member]:
    """Yields the regular files of the tar that fills `size` bytes from `start`.

    tarfile takes a damaged header, and a file that ends after a member's data, for the end of the
    tar. So its end is looked at here: a tar that is whole ends with a block of zeros.
    """
    window = _Window(archive, start, size)
    last = ""
    try:
        tar = tarfile.TarFile(fileobj=window, mode="r", encoding="utf-8")
        while True:
            info = tar.next()
            if info is None:
                break
            _expect_plain_file(where, info)
            if info.offset_data + info.size > size:
                raise _cut(where, info.name, max(0, size - info.offset_data), info.size)
            yield Member(info.name, start + info.offset_data, info.size)
            last = info.name
        end = archive.read(start + tar.offset, _BLOCK) if tar.offset + _BLOCK <= size else b""
    except tarfile.TarError as error:
        after = f" after {last}" if last else ""
        raise IntegrityError(f"{where} is cut off or no tar{after} ({error}): {_FETCH}") from error
    if len(end) < _BLOCK:
        raise IntegrityError(f"{where} is cut off after {last or 'its beginning'}: {_FETCH}")
    if any(end):
        raise IntegrityError(f"{where} is damaged after {last or 'its beginning'}: {_FETCH}")


def _expect_plain_file(where: str, info: tarfile.TarInfo) -> None:
    """Makes sure that nothing that is written later goes, or leads, anywhere else."""
    if info.name.startswith("/") or ".." in info.name.split("/"):
        raise DatasetError(f"{where} has the path {info.name!r}, which leads out: refused")
    if info.issym() or info.islnk():
        raise DatasetError(
            f"{where} has the link {info.name!r} to {info.linkname!r}: refused, expected files only"
        )
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.issparse():
        kind = "folder" if info.isdir() else "special file"
        raise DatasetError(f"{where} has the {kind} {info.name!r}: refused, expected files only")
    if not _PLAIN.fullmatch(info.name):
        raise DatasetError(
            f"{where} has {info.name!r}, which is no plain file name: refused, expected files "
            "directly in the archive"
        )
    if info.size < 0:
        raise IntegrityError(f"{where} is damaged: {info.name} has a negative size; {_FETCH}")


def _cut(where: str, name: str, present: int, size: int) -> IntegrityError:
    return IntegrityError(
        f"{where} is cut off within {name}: {present:,} of its {size:,} bytes are there; {_FETCH}"
    )


class _Window(io.RawIOBase):
    """Offers a part of an archive as a file of its own, for tarfile."""

    def __init__(self, archive: Archive, start: int, size: int) -> None:
        self._archive, self._start, self._size = archive, start, size
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._position)
        wanted = left if size < 0 else min(size, left)
        # A header that claims gigabytes for a long name would have them read.
        if wanted > _MOST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {wanted:,} bytes")
        content = self._archive.read(self._start + self._position, wanted) if wanted else b""
        self._position += len(content)
        return content

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        assert whence == io.SEEK_SET
        self._position = offset
        return offset

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
