"""Tensors in a file that `torch.save` wrote, without PyTorch and without running its pickle.

    archive (since 1.6)      NAME/data.pkl       a pickle; tensors refer to storages by key
                             NAME/data/KEY       a storage's bytes, not compressed
                             NAME/byteorder      "little" or "big"
    stream (before 1.6)      magic number, protocol, facts of the machine, the same pickle, the list
                             of keys: five pickles; then each storage: number of values, bytes

Both hold a state-dict, or a training's dict with one in it, and another with moving averages beside
it. Of everything else only how many tensors there are is counted.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from mixnet_core.checkpoints.pickled import MOST_BYTES, BrokenPickle, RefusedName, read_pickle
from mixnet_core.checkpoints.torch_states import find_state
from mixnet_core.checkpoints.torch_tensors import (
    KNOWN,
    Array,
    Shape,
    TorchStorage,
    item_bytes,
    stored_outside,
)
from mixnet_core.errors import InputError
from mixnet_core.storage.uris import shown

STREAM_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e"
"""How a file in the older form begins: its magic number, as a pickle."""
# What zipfile raises for an archive that is none, encrypted, or of another kind than stored.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


@dataclass(frozen=True)
class PytorchTensors:
    """Describes the tensors of a file.

    Attributes:
        shapes: name -> shape, in the file's order. Moving averages have `ema.` before it.
        left_out: what else was recognised: what it is -> how many tensors.
    """

    shapes: Mapping[str, Shape]
    left_out: Mapping[str, int]


def is_torch_archive(names: Collection[str]) -> bool:
    """Tells by the names in an archive whether `torch.save` wrote it."""
    return any(name == "data.pkl" or name.endswith("/data.pkl") for name in names)


def is_torch_script(names: Collection[str]) -> bool:
    """Tells whether such an archive holds a program, not a dict."""
    return any(name.endswith("constants.pkl") for name in names)


def read_tensors(path: Path, file: BinaryIO) -> PytorchTensors:
    """Reads names and shapes; the values stay on the disk.

    Args:
        path: for errors.
        file: of bytes, that can be sought in.

    Raises:
        BrokenPickle: it is damaged or cut short.
        InputError: it holds what is no plain data, or no state-dict.
        OSError: it cannot be read.
    """
    content = _opened(path, file)
    state = find_state(path, content.top)
    for name, tensor in state.tensors.items():
        tensor.check(name, content.bytes_of(tensor.storage))
    return PytorchTensors({n: t.shape for n, t in state.tensors.items()}, state.left_out)


def read_values(path: Path, file: BinaryIO, names: Collection[str]) -> dict[str, Array]:
    """Reads values of tensors, floating ones as float32.

    Args:
        path, file: as `read_tensors`.
        names: which of its names.

    Raises:
        BrokenPickle, InputError, OSError: as `read_tensors`.
    """
    content = _opened(path, file)
    tensors = {n: t for n, t in find_state(path, content.top).tensors.items() if n in names}
    # Not by its key alone: under one key a file may state several sizes.
    by_storage: dict[TorchStorage, list[str]] = {}
    for name, tensor in tensors.items():
        tensor.check(name, content.bytes_of(tensor.storage))
        by_storage.setdefault(tensor.storage, []).append(name)
    found: dict[str, Array] = {}
    # A storage at a time: many tensors may share one that is as large as all of them.
    for storage, same in by_storage.items():
        data = content.read(storage)
        found |= {name: tensors[name].values(data) for name in same}
    return {name: found[name] for name in tensors}


class _Content(Protocol):
    """An opened file: what its pickle holds, and where the storages are."""

    top: Any

    def bytes_of(self, storage: TorchStorage) -> int | None:
        """Returns how many bytes of a storage the file has; None: it has no such storage."""

    def read(self, storage: TorchStorage) -> bytes:
        """Returns a storage's bytes, as many as it states."""


def _opened(path: Path, file: BinaryIO) -> _Content:
    file.seek(0)
    is_stream = file.read(len(STREAM_MAGIC)) == STREAM_MAGIC
    file.seek(0)
    try:
        return _Stream(file) if is_stream else _Archive(file)
    except RefusedName as error:
        raise InputError(
            f"{shown(str(path))} holds {shown(error.name)!r}, which only running "
            "its pickle could make, and no pickle is run here: save the state-dict alone, "
            "torch.save(model.state_dict(), PATH)"
        ) from None
    except _DAMAGED:
        raise BrokenPickle("its archive is damaged or cut short") from None


class _Archive:
    def __init__(self, file: BinaryIO) -> None:
        self.zip = zipfile.ZipFile(file)
        if any(info.header_offset < 0 for info in self.zip.infolist()):
            raise zipfile.BadZipFile
        names = self.zip.namelist()
        if len(set(names)) != len(names):
            # PyTorch takes the first of a name, Python the last.
            raise BrokenPickle("its archive has two files of one name")
        pickles = [name for name in names if is_torch_archive([name])]
        if len(pickles) != 1:
            raise BrokenPickle(f"it has {len(pickles)} pickles, expected one")
        self.root = pickles[0].removesuffix("data.pkl")
        order = self.root + "byteorder"
        if order in names and self._whole(order, 16).strip() != b"little":
            raise BrokenPickle("its values are big-endian, expected little-endian ones")
        content = io.BytesIO(self._whole(pickles[0], MOST_BYTES))
        self.top = read_pickle(content, KNOWN, stored_outside)

    def _whole(self, name: str, most: int) -> bytes:
        info = self.zip.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED:
            raise BrokenPickle("its archive is compressed, as torch.save compresses none")
        if info.file_size > most:
            raise BrokenPickle(f"{shown(name)!r} in it is longer than {most:,} bytes")
        return self.zip.read(info)

    def _info(self, storage: TorchStorage) -> zipfile.ZipInfo | None:
        try:
            return self.zip.getinfo(f"{self.root}data/{storage.key}")
        except KeyError:
            return None

    def bytes_of(self, storage: TorchStorage) -> int | None:
        info = self._info(storage)
        if info is None:
            return None
        if info.compress_type != zipfile.ZIP_STORED:
            raise BrokenPickle("its archive is compressed, as torch.save compresses none")
        return min(info.file_size, info.compress_size)

    def read(self, storage: TorchStorage) -> bytes:
        try:
            # To its end, where the archive's checksum is compared.
            return self.zip.read(f"{self.root}data/{storage.key}")[: storage.size]
        except (*_DAMAGED, KeyError):
            raise BrokenPickle("its archive is damaged or cut short") from None


class _Stream:
    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        read_pickle(file, {})
        read_pickle(file, {})
        machine = read_pickle(file, {})
        if not isinstance(machine, dict) or machine.get("little_endian") is not True:
            raise BrokenPickle("its values are big-endian, expected little-endian ones")
        storages: dict[str, TorchStorage] = {}

        def stored(identity: Any) -> TorchStorage:
            found = stored_outside(identity)
            return storages.setdefault(found.key, found)

        self.top = read_pickle(file, KNOWN, stored)
        keys = read_pickle(file, {})
        if not isinstance(keys, list):
            raise BrokenPickle("it names no storages")
        end = os.fstat(file.fileno()).st_size
        self.places: dict[str, tuple[int, int]] = {}
        for key in keys:
            if not isinstance(key, str):
                raise BrokenPickle("it names no storages")
            count = int.from_bytes(file.read(8), "little")
            storage = storages.get(key)
            if storage is None or file.tell() + count * item_bytes(storage.dtype or "<u1") > end:
                raise BrokenPickle(f"it ends after {end:,} bytes, cut short")
            size = count * item_bytes(storage.dtype or "<u1")
            self.places[key] = (file.tell(), size)
            file.seek(size, os.SEEK_CUR)

    def bytes_of(self, storage: TorchStorage) -> int | None:
        found = self.places.get(storage.key)
        return found[1] if found else None

    def read(self, storage: TorchStorage) -> bytes:
        place, size = self.places[storage.key]
        self.file.seek(place)
        return self.file.read(min(size, storage.size))
