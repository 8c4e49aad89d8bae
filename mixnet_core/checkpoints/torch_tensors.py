"""Tensors as PyTorch's pickles refer to them: where their values are, of which type, in what order.

`KNOWN` is all that such a pickle may ask for by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixnet_core.checkpoints.pickled import BrokenPickle, Inert, Known
from mixnet_core.storage.uris import shown

Shape = tuple[int, ...]
Array = NDArray[Any]

_MOST_DIMENSIONS = 16

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
class TorchStorage:
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
        return self.count * item_bytes(self.dtype or "<u1")


@dataclass(frozen=True)
class TorchTensor:
    """Refers to a tensor's values.

    Attributes:
        offset, shape, strides: in values of `dtype`, within the storage.
    """

    storage: TorchStorage
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
        item = item_bytes(self.dtype)
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


def item_bytes(dtype: str) -> int:
    return 2 if dtype == _BFLOAT16 else np.dtype(dtype).itemsize


def _product(shape: Shape) -> int:
    found = 1
    for side in shape:
        found *= side
    return found


def stored_outside(identity: Any) -> TorchStorage:
    """Reads what a pickle says of values outside of it."""
    if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
        raise BrokenPickle("its pickle refers to what is no tensor's values")
    _, kind, key, _, count, *view = identity
    if not isinstance(kind, Known) or kind.name not in _STORAGE_NAMES:
        raise BrokenPickle("its pickle refers to values of an unknown type")
    # The text of a list that holds itself many times over has no end.
    if not isinstance(key, str):
        raise BrokenPickle("its pickle refers to what is no tensor's values")
    if view and view[0] is not None:
        raise BrokenPickle("its tensors share values in the way of PyTorch 0.x")
    return TorchStorage(key, _STORAGE_NAMES[kind.name], _whole_number(count))


def _whole_number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BrokenPickle("its pickle has a tensor of odd numbers")
    return value


def _sides(values: Any) -> Shape:
    if not isinstance(values, tuple) or len(values) > _MOST_DIMENSIONS:
        raise BrokenPickle("its pickle has a tensor of odd numbers")
    return tuple(_whole_number(value) for value in values)


def _tensor(arguments: tuple[Any, ...]) -> TorchTensor:
    storage, offset, shape, strides = arguments[:4]
    notes = arguments[6] if len(arguments) > 6 else None
    if isinstance(notes, dict) and notes.get("neg"):
        raise BrokenPickle("its pickle has a tensor that is to be negated")
    return _made(storage, getattr(storage, "dtype", None), offset, shape, strides)


def _typed_tensor(arguments: tuple[Any, ...]) -> TorchTensor:
    storage, offset, shape, strides, _, _, dtype = arguments[:7]
    if not isinstance(dtype, Known):
        raise BrokenPickle("its pickle has a tensor of an unknown type")
    return _made(storage, _DTYPES.get(dtype.name.removeprefix("torch.")), offset, shape, strides)


def _made(storage: Any, dtype: str | None, offset: Any, shape: Any, strides: Any) -> TorchTensor:
    if not isinstance(storage, TorchStorage) or dtype is None:
        raise BrokenPickle("its pickle has a tensor of an unknown type")
    sides, steps = _sides(shape), _sides(strides)
    if len(sides) != len(steps):
        raise BrokenPickle("its pickle has a tensor of odd numbers")
    return TorchTensor(storage, dtype, _whole_number(offset), sides, steps)


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
KNOWN = _known()
