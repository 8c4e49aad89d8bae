"""Files of weights, whatever their bytes: read, or refused in a line, and alike by everything."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from mixnet_core.checkpoints.file_format import WeightsFile, expect_checksum, read_format
from mixnet_core.errors import CheckpointMismatch, InputError, IntegrityError
from mixnet_core.release.local_weights import local_weights
from tests.fuzz.bounds import ended, expect_one_line, place, within
from tests.fuzz.documents import changed, damaged_bytes
from tests.fuzz.searching import rule

SECONDS, MEGABYTES = 1.0, 300
SHAPES = {"body.weight": (4, 3), "body.bias": (4,), "global_step": (1,), "a.b.c": (2, 1, 1, 2)}
_REFUSALS = (InputError, IntegrityError, CheckpointMismatch)


def ckpt(shapes: dict[str, tuple[int, ...]], *, checksum: bool = False) -> bytes:
    """A file as MindSpore writes it: protobuf, a message for each parameter."""
    content = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, _tensor(shape)))
        for name, shape in shapes.items()
    )
    if checksum:
        content += b"crc_num" + zlib.crc32(content).to_bytes(10, "big")
    return content


def _tensor(shape: tuple[int, ...]) -> bytes:
    dims = b"".join(b"\x08" + _varint(side) for side in shape)
    return dims + _field(2, b"Float32") + _field(3, np.ones(shape, np.float32).tobytes())


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def header(shapes: dict[str, tuple[int, ...]]) -> dict[str, object]:
    rows: dict[str, object] = {"__metadata__": {"format": "np"}}
    at = 0
    for name, shape in shapes.items():
        size = 4 * int(np.prod(shape))
        rows[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    return rows


def safetensors(rows: object) -> bytes:
    text = json.dumps(rows).encode()
    values = b"".join(np.ones(shape, np.float32).tobytes() for shape in SHAPES.values())
    return len(text).to_bytes(8, "little") + text + values


_whole = st.sampled_from([ckpt(SHAPES), ckpt(SHAPES, checksum=True), safetensors(header(SHAPES))])
_files = st.one_of(
    _whole.flatmap(damaged_bytes),
    _whole.flatmap(damaged_bytes),
    changed(header(SHAPES)).map(safetensors),
    st.builds(bytes.__add__, st.sampled_from([b"\x0a", b"\x0a\x7f", bytes(8) + b"{"]), st.binary()),
    st.binary(max_size=60),
    st.builds(lambda length: b"\xff" * length + b"{", st.integers(0, 12)),
    st.just(safetensors(header(SHAPES))[:8] + b"{" + b'"a":{' * 20_000),
)


@rule(few=300, content=_files, name=st.sampled_from(["w.ckpt", "w.safetensors", "w.onnx", "w"]))
def test_a_file_of_weights_is_read_or_refused(content: bytes, name: str) -> None:
    with place() as folder:
        file = folder / name
        file.write_bytes(content)
        with within(seconds=SECONDS, megabytes=MEGABYTES):
            found = ended(read_format, file)
            looked_at = ended(local_weights, file)
            held = None if found.error else ended(expect_checksum, found.value)
    for came in (found, looked_at, held):
        if came is not None and came.error is not None:
            assert isinstance(came.error, _REFUSALS), type(came.error)
            expect_one_line(came.error)
    # None of them is a MixNet's.
    assert looked_at.error is not None
    if found.error is None:
        assert found.value.shapes
        assert all(side >= 0 for shape in found.value.shapes.values() for side in shape)


def _import() -> None:
    """Takes seconds, once for all cases."""
    import mindspore

    assert mindspore.__version__


@rule(few=0, before=_import, content=_files, name=st.sampled_from(["w.ckpt", "w.safetensors"]))
def test_the_values_of_a_file_are_read_or_refused(content: bytes, name: str) -> None:
    from mixnet_core.checkpoints.store import read_parameters

    with place() as folder:
        file = folder / name
        file.write_bytes(content)
        found, read = ended(read_format, file), ended(read_parameters, file)
    if read.error is not None:
        assert isinstance(read.error, _REFUSALS), type(read.error)
        expect_one_line(read.error)
    else:
        assert {name: tuple(p.shape) for name, p in read.value.items()} == found.value.shapes


def test_the_files_are_whole_before_they_are_damaged(tmp_path: Path) -> None:
    for content in (ckpt(SHAPES), ckpt(SHAPES, checksum=True), safetensors(header(SHAPES))):
        file = tmp_path / "w"
        file.write_bytes(content)
        found = read_format(file)
        assert isinstance(found, WeightsFile)
        assert found.shapes == SHAPES
        expect_checksum(found)
