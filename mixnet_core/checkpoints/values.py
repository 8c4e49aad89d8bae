"""The values in a file of weights, as arrays; MindSpore is needed for its own `.ckpt` only."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixnet_core.checkpoints.file_format import WeightsFile, expect_checksum, unreadable
from mixnet_core.checkpoints.pickled import BrokenPickle
from mixnet_core.checkpoints.pytorch_files import read_values as values_of_pytorch
from mixnet_core.checkpoints.torch_tensors import as_float32
from mixnet_core.storage.files import os_errors_explained
from mixnet_core.storage.uris import shown, shown_words

Array = NDArray[Any]

# safetensors' names of types -> NumPy's, or "bfloat16".
_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "bfloat16",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U8": "<u1",
    "BOOL": "?",
}


def read_values(file: WeightsFile, names: Collection[str] | None = None) -> dict[str, Array]:
    """Reads values, floating ones as float32.

    float16 and bfloat16 become the same numbers; float64 is rounded.

    Args:
        names: which of `file.shapes`; None: all.

    Returns:
        Name as in `file.shapes` -> values.

    Raises:
        IntegrityError: they are not those of their checksum, of an unknown type, or cut short.
        MachineError: the file cannot be read.
    """
    expect_checksum(file)
    wanted = {file.stored(name): name for name in (file.shapes if names is None else names)}
    if file.format == "ckpt":
        found = {name: values for name, values in _ckpt(file).items() if name in wanted}
    else:
        with os_errors_explained(file.path, "read"):
            found = _pytorch(file, wanted) if file.format == "pytorch" else _safe(file, wanted)
    return {wanted[name]: values for name, values in found.items()}


def expect_floating(file: WeightsFile, floating: Mapping[str, bool]) -> None:
    """Makes sure that what a network computes with are floating-point numbers.

    Args:
        floating: MindCV's name -> whether its values are.

    Raises:
        IntegrityError: some are whole ones, as of a network in eight bits, whose scales are lost.
    """
    whole = [name for name, is_floating in floating.items() if not is_floating]
    if whole:
        raise unreadable(
            file.path,
            f"{len(whole)} parameters in it are whole numbers, the first is "
            f"{file.names.said(whole[0])}: expected floating-point ones",
        )


def write_safetensors(path: Path, values: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Writes float32 values as a .safetensors file; equal ones give equal bytes.

    The form is that of https://github.com/huggingface/safetensors: a header's length, the header,
    all values in one piece.

    Args:
        path: of the file, over what is there: give a path aside.
        values: name -> float32.
        metadata: texts.

    Raises:
        MachineError: it cannot be written.
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for name, array in values.items():
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    # Values begin at a multiple of 8 bytes.
    text += b" " * (-len(text) % 8)
    with os_errors_explained(path), path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in values.values():
            file.write(np.ascontiguousarray(array, "<f4").tobytes())


@contextmanager
def with_suffix(path: Path, suffix: str) -> Iterator[Path]:
    """Yields a path of this file with a suffix: MindSpore goes by it."""
    if path.suffix == suffix:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, f"weights{suffix}")
        link.symlink_to(path.absolute())
        yield link


def _ckpt(file: WeightsFile) -> dict[str, Array]:
    import mindspore

    try:
        with with_suffix(file.path, ".ckpt") as path:
            read = mindspore.load_checkpoint(str(path))
        return {name: _float32(parameter) for name, parameter in read.items()}
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise unreadable(file.path, shown_words(reason)) from error


def _float32(parameter: Any) -> Array:
    if str(parameter.dtype) == "BFloat16":
        parameter = parameter.float()
    values: Array = parameter.asnumpy()
    return values.astype(np.float32) if values.dtype.kind == "f" else values


def _pytorch(file: WeightsFile, wanted: Collection[str]) -> dict[str, Array]:
    with file.path.open("rb") as content:
        try:
            return values_of_pytorch(file.path, content, wanted)
        except BrokenPickle as error:
            raise unreadable(file.path, str(error)) from None


def _safe(file: WeightsFile, wanted: Collection[str]) -> dict[str, Array]:
    found: dict[str, Array] = {}
    with file.path.open("rb") as content:
        length = int.from_bytes(content.read(8), "little")
        header = json.loads(content.read(length))
        for name in wanted:
            row = header[name]
            kind, shape, (begin, end) = row["dtype"], tuple(row["shape"]), row["data_offsets"]
            dtype = _TYPES.get(kind)
            if dtype is None:
                raise unreadable(
                    file.path, f"{shown(name)!r} in it has values of the unknown type {shown(kind)}"
                )
            raw = np.dtype("<u2" if dtype == "bfloat16" else dtype)
            if end - begin != math.prod(shape) * raw.itemsize:
                raise unreadable(
                    file.path,
                    f"{shown(name)!r} in it has {end - begin:,} bytes of values, its shape {shape} "
                    f"of {kind} has {math.prod(shape) * raw.itemsize:,}",
                )
            content.seek(8 + length + begin)
            values = np.frombuffer(content.read(end - begin), raw).reshape(shape)
            found[name] = as_float32(values, dtype)
    return found
