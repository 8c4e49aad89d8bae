"""Tars made by hand, with exactly the members that a test needs."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

Entry = tuple[str, bytes] | tarfile.TarInfo


def photo(number: int = 0, format: str = "JPEG", mode: str = "RGB") -> bytes:
    """A small image; another number is another content."""
    noise = random.Random(number).randbytes(24 * 18)
    image = Image.frombytes("L", (24, 18), noise).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, format)
    return buffer.getvalue()


def tar(entries: Iterable[Entry]) -> bytes:
    """Files by name and content, or anything else as a TarInfo."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as file:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                file.addfile(entry)
            else:
                info = tarfile.TarInfo(entry[0])
                info.size = len(entry[1])
                file.addfile(info, io.BytesIO(entry[1]))
    return buffer.getvalue()


def special(name: str, type: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = type, target
    return info


def train_tar(path: Path, classes: dict[str, list[bytes]]) -> Path:
    """wnid -> contents of its images, named <wnid>_1.JPEG and so on."""
    inner = {
        wnid: tar((f"{wnid}_{i}.JPEG", content) for i, content in enumerate(contents, 1))
        for wnid, contents in classes.items()
    }
    path.write_bytes(tar((f"{wnid}.tar", content) for wnid, content in inner.items()))
    return path


def val_tar(path: Path, contents: list[bytes]) -> Path:
    names = (f"ILSVRC2012_val_{i:08d}.JPEG" for i in range(1, len(contents) + 1))
    path.write_bytes(tar(zip(names, contents, strict=True)))
    return path
