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
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from mixnet_core.checkpoints.pickled import (
    MOST_BYTES,
    BrokenPickle,
    Inert,
    Known,
    RefusedName,
    read_pickle,
)
from mixnet_core.checkpoints.training_state import AVERAGES_SLOT, COUNTERS, OPTIMIZER
from mixnet_core.errors import InputError
from mixnet_core.storage.uris import shown

Shape = tuple[int, ...]
Array = NDArray[Any]

STREAM_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e"
"""How a file in the older form begins: its magic number, as a pickle."""
OTHERS = "other tensors"


# What training programs call the dicts: timm, torchvision, fairseq, Lightning, MMEngine, BasicSR.
_WEIGHTS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "params")
_AVERAGES = ("state_dict_ema", "model_ema", "model_ema_state_dict", "ema_state_dict", "params_ema")
_AVERAGES_TOO = ("ema_model", "ema")
_OPTIMIZERS = ("optimizer", "optimizers", "optimizer_states", "optimizer_state_dict", "optim")
# torch.optim.swa_utils' count of what it averaged.
_COUNT = "n_averaged"
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
_MOST_DIMENSIONS = 16
_MOST_TENSORS = 1_000_000

# A storage's class -> type of its values. NumPy lacks bfloat16, the upper half of float32.
_BFLOAT16 = "bfloat16"
_STORAGES = {
    "Float": "<f4",
    "Double": "<f8",
    "Half": "<f2",
    "BFloat16": _BFLOAT16,
    "Long": "<i8",
    "Int": "<i4",
    "Short": "<i2",
    "Char": "<i1",
    "Byte": "<u1",
    "Bool": "?",
}
_DTYPES = {
    "float32": "<f4",
    "float": "<f4",
    "float64": "<f8",
    "double": "<f8",
    "float16": "<f2",
    "half": "<f2",
    "bfloat16": _BFLOAT16,
    "int64": "<i8",
    "long": "<i8",
    "int32": "<i4",
    "int16": "<i2",
    "int8": "<i1",
    "uint8": "<u1",
    "bool": "?",
}
# Of no use here, and without effect where they are made: options, dates, paths, single numbers.
_INERT = """
    argparse.Namespace types.SimpleNamespace collections.Counter _codecs.encode
    numpy.dtype numpy.ndarray numpy.core.multiarray.scalar numpy._core.multiarray.scalar
    numpy.core.multiarray._reconstruct numpy._core.multiarray._reconstruct
    numpy.core.numeric._frombuffer numpy._core.numeric._frombuffer
    pathlib.Path pathlib.PosixPath pathlib.PurePosixPath pathlib.WindowsPath pathlib.PureWindowsPath
    pathlib._local.PosixPath pathlib._local.WindowsPath
    datetime.datetime datetime.date datetime.timedelta datetime.timezone
    torch.Size torch.device torch.torch_version.TorchVersion torch.serialization._get_layout
    builtins.set builtins.frozenset builtins.list builtins.tuple builtins.int builtins.float
    builtins.bool builtins.str builtins.complex builtins.bytearray builtins.slice
    __builtin__.set __builtin__.frozenset __builtin__.list __builtin__.int __builtin__.float
    __builtin__.bool __builtin__.str __builtin__.unicode __builtin__.bytearray
"""


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
    state = _state(path, content.top)
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
    tensors = {n: t for n, t in _state(path, content.top).tensors.items() if n in names}
    by_storage: dict[str, list[str]] = {}
    for name, tensor in tensors.items():
        tensor.check(name, content.bytes_of(tensor.storage))
        by_storage.setdefault(tensor.storage.key, []).append(name)
    found: dict[str, Array] = {}
    # A storage at a time: many tensors may share one that is as large as all of them.
    for same in by_storage.values():
        data = content.read(tensors[same[0]].storage)
        found |= {name: tensors[name].values(data) for name in same}
    return {name: found[name] for name in tensors}


def as_float32(values: Array, dtype: str) -> Array:
    """Returns values as float32 if they are floating, otherwise as they are; always a copy.

    Args:
        values: of bfloat16 as uint16.
        dtype: NumPy's, or "bfloat16".
    """
    if dtype == _BFLOAT16:
        wide: Array = (values.astype(np.uint32) << 16).view(np.float32)
        return wide
    return values.astype(np.float32 if values.dtype.kind == "f" else values.dtype.newbyteorder("="))


@dataclass(frozen=True)
class _Storage:
    """Refers to values.

    Attributes:
        key: in the file.
        dtype: NumPy's or "bfloat16"; None: bytes whose type the tensor says.
        count: of values; of bytes where they have no type.
    """

    key: str
    dtype: str | None
    count: int

    @property
    def size(self) -> int:
        """Returns how many bytes it has."""
        return self.count * _item_bytes(self.dtype or "<u1")


@dataclass(frozen=True)
class _Tensor:
    """Refers to a tensor's values.

    Attributes:
        offset, shape, strides: in values of `dtype`, within the storage.
    """

    storage: _Storage
    dtype: str
    offset: int
    shape: Shape
    strides: Shape

    def check(self, name: str, held: int | None) -> None:
        """Makes sure that its values lie within its storage, and the storage in the file.

        Args:
            held: bytes of the storage that the file has; None: it has no such storage.

        Raises:
            BrokenPickle: they do not.
        """
        if held is None:
            raise BrokenPickle(f"the values of {shown(name)!r} are not in it")
        item = _item_bytes(self.dtype)
        last = self.offset + sum(
            (side - 1) * stride for side, stride in zip(self.shape, self.strides, strict=True)
        )
        needed = 0 if 0 in self.shape else (last + 1) * item
        if min(held, self.storage.size) < needed:
            raise BrokenPickle(
                f"{shown(name)!r} in it has {min(held, self.storage.size):,} bytes of values, its "
                f"shape {self.shape} needs {needed:,}"
            )
        # Values that stand once and count often, as torch.expand makes them.
        if _product(self.shape) * item > max(self.storage.size, 1 << 20):
            raise BrokenPickle(
                f"{shown(name)!r} in it has the shape {self.shape}, and values for less of it"
            )

    def values(self, data: bytes) -> Array:
        """Returns its values, given its storage's bytes."""
        raw = "<u2" if self.dtype == _BFLOAT16 else self.dtype
        item = np.dtype(raw).itemsize
        flat: Array = np.frombuffer(data, raw, count=len(data) // item)
        if 0 in self.shape:
            return as_float32(np.zeros(self.shape, raw), self.dtype)
        strides = tuple(stride * item for stride in self.strides)
        seen = np.lib.stride_tricks.as_strided(flat[self.offset :], self.shape, strides)
        return np.ascontiguousarray(as_float32(seen, self.dtype)).reshape(self.shape)


@dataclass(frozen=True)
class _State:
    tensors: dict[str, _Tensor]
    left_out: Counter[str] = field(default_factory=Counter)


def _item_bytes(dtype: str) -> int:
    return 2 if dtype == _BFLOAT16 else np.dtype(dtype).itemsize


def _product(shape: Shape) -> int:
    found = 1
    for side in shape:
        found *= side
    return found


class _Content(Protocol):
    """An opened file: what its pickle holds, and where the storages are."""

    top: Any

    def bytes_of(self, storage: _Storage) -> int | None:
        """Returns how many bytes of a storage the file has; None: it has no such storage."""

    def read(self, storage: _Storage) -> bytes:
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
            " its pickle could make, and no pickle is run here: save the state-dict alone, "
            "torch.save(model.state_dict(), PATH)"
        ) from None
    except _DAMAGED:
        raise BrokenPickle("its archive is damaged or cut short") from None


class _Archive:
    def __init__(self, file: BinaryIO) -> None:
        self.zip = zipfile.ZipFile(file)
        if any(info.header_offset < 0 for info in self.zip.infolist()):
            raise zipfile.BadZipFile
        pickles = [name for name in self.zip.namelist() if is_torch_archive([name])]
        if len(pickles) != 1:
            raise BrokenPickle(f"it has {len(pickles)} pickles, expected one")
        self.root = pickles[0].removesuffix("data.pkl")
        order = self.root + "byteorder"
        if order in self.zip.namelist() and self._whole(order, 16).strip() != b"little":
            raise BrokenPickle("its values are big-endian, expected little-endian ones")
        content = io.BytesIO(self._whole(pickles[0], MOST_BYTES))
        self.top = read_pickle(content, _KNOWN, _storage)

    def _whole(self, name: str, most: int) -> bytes:
        info = self.zip.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED:
            raise BrokenPickle("its archive is compressed, as torch.save compresses none")
        if info.file_size > most:
            raise BrokenPickle(f"{shown(name)!r} in it is longer than {most:,} bytes")
        return self.zip.read(info)

    def _info(self, storage: _Storage) -> zipfile.ZipInfo | None:
        try:
            return self.zip.getinfo(f"{self.root}data/{storage.key}")
        except KeyError:
            return None

    def bytes_of(self, storage: _Storage) -> int | None:
        info = self._info(storage)
        if info is None:
            return None
        if info.compress_type != zipfile.ZIP_STORED:
            raise BrokenPickle("its archive is compressed, as torch.save compresses none")
        return min(info.file_size, info.compress_size)

    def read(self, storage: _Storage) -> bytes:
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
        storages: dict[str, _Storage] = {}

        def stored(identity: Any) -> _Storage:
            found = _storage(identity)
            return storages.setdefault(found.key, found)

        self.top = read_pickle(file, _KNOWN, stored)
        keys = read_pickle(file, {})
        if not isinstance(keys, list):
            raise BrokenPickle("it names no storages")
        end = os.fstat(file.fileno()).st_size
        self.places: dict[str, tuple[int, int]] = {}
        for key in keys:
            count = int.from_bytes(file.read(8), "little")
            storage = storages.get(str(key))
            if storage is None or file.tell() + count * _item_bytes(storage.dtype or "<u1") > end:
                raise BrokenPickle(f"it ends after {end:,} bytes, cut short")
            size = count * _item_bytes(storage.dtype or "<u1")
            self.places[str(key)] = (file.tell(), size)
            file.seek(size, os.SEEK_CUR)

    def bytes_of(self, storage: _Storage) -> int | None:
        found = self.places.get(storage.key)
        return found[1] if found else None

    def read(self, storage: _Storage) -> bytes:
        place, size = self.places[storage.key]
        self.file.seek(place)
        return self.file.read(min(size, storage.size))


def _storage(identity: Any) -> _Storage:
    """Reads what a pickle says of values outside of it."""
    if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
        raise BrokenPickle("its pickle refers to what is no tensor's values")
    _, kind, key, _, count, *view = identity
    if not isinstance(kind, Known) or kind.name not in _STORAGE_NAMES:
        raise BrokenPickle("its pickle refers to values of an unknown type")
    if view and view[0] is not None:
        raise BrokenPickle("its tensors share values in the way of PyTorch 0.x")
    return _Storage(str(key), _STORAGE_NAMES[kind.name], _whole_number(count))


def _whole_number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BrokenPickle("its pickle has a tensor of odd numbers")
    return value


def _sides(values: Any) -> Shape:
    if not isinstance(values, tuple) or len(values) > _MOST_DIMENSIONS:
        raise BrokenPickle("its pickle has a tensor of odd numbers")
    return tuple(_whole_number(value) for value in values)


def _tensor(arguments: tuple[Any, ...]) -> _Tensor:
    storage, offset, shape, strides = arguments[:4]
    return _made(storage, getattr(storage, "dtype", None), offset, shape, strides)


def _typed_tensor(arguments: tuple[Any, ...]) -> _Tensor:
    storage, offset, shape, strides, _, _, dtype = arguments[:7]
    if not isinstance(dtype, Known):
        raise BrokenPickle("its pickle has a tensor of an unknown type")
    return _made(storage, _DTYPES.get(dtype.name.removeprefix("torch.")), offset, shape, strides)


def _made(storage: Any, dtype: str | None, offset: Any, shape: Any, strides: Any) -> _Tensor:
    if not isinstance(storage, _Storage) or dtype is None:
        raise BrokenPickle("its pickle has a tensor of an unknown type")
    sides, steps = _sides(shape), _sides(strides)
    if len(sides) != len(steps):
        raise BrokenPickle("its pickle has a tensor of odd numbers")
    return _Tensor(storage, dtype, _whole_number(offset), sides, steps)


def _first(arguments: tuple[Any, ...]) -> Any:
    return arguments[0]


def _of_type(arguments: tuple[Any, ...]) -> Any:
    function, _, inner = arguments[:3]
    if not isinstance(function, Known) or function.make is None or not isinstance(inner, tuple):
        raise BrokenPickle("its pickle calls what is not to be called")
    return function.make(inner)


def _dict(arguments: tuple[Any, ...]) -> dict[str | int, Any]:
    rows = arguments[0] if arguments and isinstance(arguments[0], list) else ()
    return {row[0]: row[1] for row in rows if isinstance(row[0], str | int)}


def _inert(name: str) -> Callable[[tuple[Any, ...]], Inert]:
    return lambda _: Inert(name)


def _known() -> dict[str, Known]:
    makers: dict[str, Callable[[tuple[Any, ...]], Any]] = {
        "collections.OrderedDict": _dict,
        "collections.defaultdict": lambda _: {},
        "builtins.dict": _dict,
        "__builtin__.dict": _dict,
        "torch._utils._rebuild_tensor": _tensor,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_tensor_v3": _typed_tensor,
        "torch._utils._rebuild_parameter": _first,
        "torch._utils._rebuild_parameter_with_state": _first,
        "torch._tensor._rebuild_from_type_v2": _of_type,
        **{name: _inert(name) for name in _INERT.split()},
    }
    markers = ["torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"]
    markers += [f"torch.{name}" for name in _DTYPES]
    return {name: Known(name, make) for name, make in makers.items()} | {
        name: Known(name) for name in (*markers, *_STORAGE_NAMES)
    }


_STORAGE_NAMES: dict[str, str | None] = {
    **{f"torch.{name}Storage": dtype for name, dtype in _STORAGES.items()},
    **{f"torch.cuda.{name}Storage": dtype for name, dtype in _STORAGES.items()},
    "torch.storage.UntypedStorage": None,
    "torch.UntypedStorage": None,
}
_KNOWN = _known()


def _state(path: Path, top: Any) -> _State:
    """Finds the state-dict, and the averages beside it."""
    if not isinstance(top, dict):
        raise InputError(
            f"{shown(str(path))} holds {_what(top)}, expected a state-dict: save it as "
            "torch.save(model.state_dict(), PATH)"
        )
    state = _State({})
    if _is_state(top):
        _add(state, top, "")
        return state
    weights = next((key for key in _WEIGHTS if _is_state(top.get(key))), None)
    known = (*_AVERAGES, *_AVERAGES_TOO)
    averages = next((key for key in known if _is_state(top.get(key))), None)
    if weights is None and averages is None:
        keys = ", ".join(shown(str(key)[:40]) for key in list(top)[:8])
        raise InputError(
            f"{shown(str(path))} holds no state-dict: expected tensors by name, or a dict with "
            f"them under {', '.join(_WEIGHTS[:3])}; it has {keys or 'nothing'}"
        )
    if weights is not None:
        _add(state, top[weights], "")
    if averages is not None:
        # The only network in a file is what is meant.
        _add(state, top[averages], f"{AVERAGES_SLOT}." if weights is not None else "")
    for key, value in top.items():
        if key not in (weights, averages):
            what = OPTIMIZER if key in _OPTIMIZERS else OTHERS
            state.left_out[what] += sum(1 for _ in _tensors(value))
    return _State(state.tensors, +state.left_out)


def _is_state(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(item, _Tensor) for item in value.values())


def _add(state: _State, values: dict[Any, Any], before: str) -> None:
    for name, value in values.items():
        if name == _COUNT:
            state.left_out[COUNTERS] += 1
        elif isinstance(value, _Tensor) and isinstance(name, str) and name:
            state.tensors[before + name] = value
        else:
            state.left_out[OTHERS] += sum(1 for _ in _tensors(value))


def _tensors(value: Any) -> Iterator[_Tensor]:
    """Yields the tensors in nested data, each object once: it may hold itself."""
    waiting: list[Any] = [value]
    seen: set[int] = set()
    while waiting and len(seen) < _MOST_TENSORS:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, _Tensor):
            yield item
        elif isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list | tuple):
            waiting += item


def _what(value: Any) -> str:
    if isinstance(value, Inert):
        return f"a {value.name}"
    return "one tensor" if isinstance(value, _Tensor) else f"a {type(value).__name__}"
