"""Names and shapes in a file of weights, read from its structure; its values stay on the disk.

What a file is shows in its bytes, not in its suffix. Nothing in it is run, and MindSpore, which
takes seconds to load, is not needed. Names that are timm's are given as MindCV's.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

from mixnet_core.checkpoints.conventions import Renamed, renamed
from mixnet_core.checkpoints.foreign_files import (
    LONGEST_SAFETENSORS_HEADER,
    begins_as_safetensors,
    foreign_file,
)
from mixnet_core.checkpoints.pickled import BrokenPickle
from mixnet_core.checkpoints.pytorch_files import STREAM_MAGIC, read_tensors
from mixnet_core.errors import InputError, IntegrityError
from mixnet_core.storage.files import os_errors_explained
from mixnet_core.storage.storage import CHUNK_BYTES
from mixnet_core.storage.uris import shown

FormatName = Literal["ckpt", "safetensors", "pytorch"]
Shape = tuple[int, ...]

# MindSpore's checksum at the end of a file: this word and ten bytes.
_CHECKSUM, _CHECKSUM_BYTES = b"crc_num", 17
# Of protobuf: how a field's value is laid out.
_VARINT, _LENGTH = 0, 2
# Of MindSpore's Checkpoint, Checkpoint.Value and TensorProto.
_VALUE = 1
_TAG, _TENSOR = 1, 2
_DIMS, _TYPE, _CONTENT = 1, 2, 3
# MindSpore's names of types -> bytes of a value; a text's shape says nothing.
_ITEM_BYTES = {
    **dict.fromkeys(("Int8", "UInt8", "Bool"), 1),
    **dict.fromkeys(("Int16", "UInt16", "Float16", "BFloat16"), 2),
    **dict.fromkeys(("Int32", "UInt32", "Float32"), 4),
    **dict.fromkeys(("Int64", "UInt64", "Float64"), 8),
}
_TEXT = "str"
_LONGEST_NAME = 4096


@dataclass(frozen=True)
class WeightsFile:
    """Describes a file of weights.

    Attributes:
        format: how it is written, whatever its suffix says.
        shapes: parameter's name, MindCV's where the file has timm's -> shape, in the file's order.
        has_checksum: whether MindSpore's own checksum stands at its end.
        names: whose names the file has, and which ones.
        metadata: what a .safetensors file says beside its tensors: texts.
        left_out: what else a file of PyTorch holds: what it is -> how many tensors.
    """

    path: Path
    format: FormatName
    shapes: Mapping[str, Shape]
    has_checksum: bool = False
    names: Renamed = field(default_factory=lambda: Renamed("mindcv", {}, {}))
    metadata: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def suffix(self) -> str:
        """Returns the suffix that its format has."""
        return ".pth" if self.format == "pytorch" else f".{self.format}"

    def stored(self, name: str) -> str:
        """Returns the name in the file of one in `shapes`."""
        return self.names.stored.get(name, name)


def read_format(path: Path) -> WeightsFile:
    """Reads what a file of MindSpore (.ckpt), safetensors or PyTorch (.pth, .pt, .bin) holds.

    Raises:
        InputError: there is no such file, it is another program's, as ONNX or an archive, or it is
            PyTorch's and holds more than plain data.
        IntegrityError: it is damaged, or no file of weights at all.
        MachineError: it cannot be read.
    """
    if not path.is_file():
        raise InputError(
            f"no checkpoint file at {shown(str(path))}: check the path; expected a file .ckpt, "
            ".safetensors, .pth or .onnx"
        )
    with os_errors_explained(path, "read"), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        foreign = foreign_file(file)
        if foreign is not None:
            raise foreign.refused(path)
        try:
            found = _read(path, file, size)
        except (_Broken, BrokenPickle) as error:
            raise unreadable(path, str(error)) from None
    if not found.shapes:
        raise unreadable(path, "it holds no parameter")
    return _named(found)


def unreadable(path: Path, reason: str) -> IntegrityError:
    """Returns what to raise for a file that is no whole checkpoint."""
    return IntegrityError(
        f"{shown(str(path))} is not a readable checkpoint ({reason}): fetch or save it again"
    )


def expect_checksum(file: WeightsFile) -> None:
    """Holds a file to the checksum that MindSpore wrote at its end, if it did.

    Raises:
        IntegrityError: the bytes before it are others.
        MachineError: it cannot be read.
    """
    if not file.has_checksum:
        return
    found = 0
    with os_errors_explained(file.path, "read"), file.path.open("rb") as content:
        left = os.fstat(content.fileno()).st_size - _CHECKSUM_BYTES
        while left > 0 and (chunk := content.read(min(left, CHUNK_BYTES))):
            found = zlib.crc32(chunk, found)
            left -= len(chunk)
        stated = int.from_bytes(content.read()[len(_CHECKSUM) :], "big")
    if found != stated:
        raise unreadable(file.path, "its bytes are not those of its own checksum")


class _Broken(Exception):
    """Says in a few words what is wrong with a file."""


def _read(path: Path, file: BinaryIO, size: int) -> WeightsFile:
    file.seek(0)
    head = file.read(9)
    if head[:1] == b"\x0a" and not begins_as_safetensors(head):
        return _ckpt(path, file, size)
    if head[8:] == b"{":
        return _safetensors(path, file, size)
    if head.startswith((b"PK", STREAM_MAGIC[: len(head)])):
        tensors = read_tensors(path, file)
        return WeightsFile(path, "pytorch", tensors.shapes, left_out=tensors.left_out)
    raise _Broken("it does not begin as one")


def _named(file: WeightsFile) -> WeightsFile:
    """Gives a file MindCV's names."""
    names = renamed(file.shapes)
    ours = {stored: name for name, stored in names.stored.items()}
    shapes = {ours.get(name, name): shape for name, shape in file.shapes.items()}
    if len(shapes) != len(file.shapes):
        raise unreadable(file.path, "it has parameters under MindCV's names and under timm's")
    return replace(file, names=names, shapes=shapes)


def _safetensors(path: Path, file: BinaryIO, size: int) -> WeightsFile:
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > min(size - 8, LONGEST_SAFETENSORS_HEADER):
        raise _Broken(f"it ends after {size:,} bytes, within its header")
    try:
        header = json.loads(file.read(length))
        metadata = header.pop("__metadata__", None) or {}
        said = {str(key): value for key, value in metadata.items() if isinstance(value, str)}
        shapes = {name: tuple(map(_size, row["shape"])) for name, row in header.items()}
        places = sorted(_place(row) for row in header.values())
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise _Broken("its header is not one of safetensors") from None
    end = 0
    for begin, behind in places:
        # As safetensors' own reader holds: what overlaps is one tensor's values read as another's.
        if begin != end or behind < begin:
            raise _Broken("the places of its values overlap or leave gaps")
        end = behind
    if 8 + length + end > size:
        raise _Broken(f"it ends after {size:,} bytes of {8 + length + end:,}")
    return WeightsFile(path, "safetensors", shapes, metadata=said)


def _place(row: Mapping[str, Any]) -> tuple[int, int]:
    begin, end = row["data_offsets"]
    if not isinstance(row["dtype"], str):
        raise TypeError(row["dtype"])
    return _size(begin), _size(end)


def _size(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(value)
    return value


def _ckpt(path: Path, file: BinaryIO, size: int) -> WeightsFile:
    end = size
    if size > _CHECKSUM_BYTES:
        file.seek(size - _CHECKSUM_BYTES)
        if file.read(len(_CHECKSUM)) == _CHECKSUM:
            end -= _CHECKSUM_BYTES
    file.seek(0)
    shapes: dict[str, Shape] = {}
    last: str | None = None
    values, held = _Values((), "", 0), 0
    while file.tell() < end:
        number, _, length = _field(file, end, last)
        if number != _VALUE or length is None:
            raise _Broken("it does not continue as one" if shapes else "it does not begin as one")
        name, found = _value(file, file.tell() + length, last)
        if last is not None and name != last:
            _expect_as_many(last, values, held)
            held = 0
        # What is too large for one message is in several of one name, each with the whole shape.
        last, values, held = name, found, held + found.bytes
        shapes[name] = found.shape
    if last is not None:
        _expect_as_many(last, values, held)
    return WeightsFile(path, "ckpt", shapes, has_checksum=end < size)


class _Values(NamedTuple):
    """Describes the values in one message.

    Attributes:
        type: as MindSpore names it.
        bytes: of the values.
    """

    shape: Shape
    type: str
    bytes: int


def _expect_as_many(name: str, values: _Values, held: int) -> None:
    """Holds a parameter's values to its shape: MindSpore copies them wherever they fit or not.

    More of them write over its memory, of fewer the rest is what stood in memory before.
    """
    if values.type == _TEXT:
        return
    if values.type not in _ITEM_BYTES:
        raise _Broken(f"{shown(name)!r} in it has values of the unknown type {shown(values.type)}")
    expected = math.prod(values.shape) * _ITEM_BYTES[values.type]
    if held != expected:
        raise _Broken(
            f"{shown(name)!r} in it has {held:,} bytes of values, its shape "
            f"{values.shape} of {values.type} has {expected:,}"
        )


def _value(file: BinaryIO, end: int, last: str | None) -> tuple[str, _Values]:
    """Reads one parameter; the file stands behind it afterwards."""
    name = ""
    values: _Values | None = None
    while file.tell() < end:
        number, _, length = _field(file, end, last)
        # Of what stands twice protobuf makes one, from both.
        if number == _TAG and not name and length is not None and length <= _LONGEST_NAME:
            name = _text(file, length)
        elif number == _TENSOR and values is None and length is not None:
            values = _tensor(file, file.tell() + length, name)
        else:
            raise _Broken("it does not continue as one" if last else "it does not begin as one")
    if not name or values is None:
        raise _Broken(f"it has a parameter without {'values' if name else 'a name'}")
    return name, values


def _tensor(file: BinaryIO, end: int, name: str) -> _Values:
    dims: list[int] = []
    kind, held = "", None
    while file.tell() < end:
        number, value, length = _field(file, end, name)
        if number == _DIMS and length is None:
            dims.append(value)
        elif number == _TYPE and not kind and length is not None and length <= _LONGEST_NAME:
            kind = _text(file, length)
        elif number == _CONTENT and held is None and length is not None:
            held = length
            file.seek(length, os.SEEK_CUR)
        else:
            raise _Broken(f"{shown(name)!r} in it is no parameter")
    # MindSpore writes a single number as one dimension of 0.
    return _Values(() if dims == [0] else tuple(dims), kind, held or 0)


def _text(file: BinaryIO, length: int) -> str:
    try:
        return file.read(length).decode()
    except UnicodeDecodeError:
        raise _Broken("it does not begin as one") from None


def _field(file: BinaryIO, end: int, last: str | None) -> tuple[int, int, int | None]:
    """Reads a field's head: its number, its value, and its length if it has one.

    Args:
        end: where what it belongs to ends; it may not reach beyond.
        last: the parameter that was read before, for people.
    """
    key = _varint(file)
    if key & 7 == _VARINT:
        return key >> 3, _varint(file), None
    if key & 7 != _LENGTH:
        raise _Broken("it does not continue as one" if last else "it does not begin as one")
    length = _varint(file)
    if file.tell() + length > end:
        behind = f" behind {shown(last)}" if last else ""
        raise _Broken(f"it ends in the middle of a parameter{behind}, cut short")
    return key >> 3, 0, length


def _varint(file: BinaryIO) -> int:
    value = 0
    for place in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise _Broken("it ends in the middle of a parameter, cut short")
        value |= (byte[0] & 0x7F) << place
        if byte[0] < 0x80:
            return value
    raise _Broken("it does not continue as one")
