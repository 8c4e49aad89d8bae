from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
import pytest
from mindspore import Parameter, Tensor
from safetensors import SafetensorError, safe_open

from mixnet_core.checkpoints.file_format import WeightsFile, read_format
from mixnet_core.checkpoints.store import read_parameters
from mixnet_core.errors import InputError, IntegrityError

SHAPES = {"body.weight": (4, 3), "body.bias": (4,), "global_step": (1,), "scale_sense": ()}


pytestmark = pytest.mark.usefixtures("eager")


def write(path: Path, *, kind: str = "ckpt", crc: bool = False) -> Path:
    rows = [
        {"name": name, "data": Parameter(Tensor(np.ones(shape, np.float32)))}
        for name, shape in SHAPES.items()
    ]
    stem = path.with_suffix("") if kind == "safetensors" else path
    mindspore.save_checkpoint(rows, str(stem), format=kind, crc_check=crc)
    path.chmod(0o644)
    return path


def outcome(path: Path) -> tuple[WeightsFile | None, str]:
    """What is read, or what is said of why not."""
    try:
        return read_format(path), ""
    except (InputError, IntegrityError) as error:
        return None, str(error)


@pytest.mark.parametrize("kind", ["ckpt", "safetensors"])
def test_names_and_shapes_are_those_that_mindspore_reads(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"w.{kind}", kind=kind)
    found = read_format(path)
    assert found.format == kind
    assert found.shapes == SHAPES
    read = mindspore.load_checkpoint(str(path), format=kind)
    assert {name: tuple(p.shape) for name, p in read.items()} == SHAPES


@pytest.mark.parametrize(
    "row",
    [
        {"shape": [-1, 3], "data_offsets": [0, 0]},
        {"shape": [2.0], "data_offsets": [0, 8]},
        {"shape": [True], "data_offsets": [0, 4]},
        {"shape": [1], "data_offsets": [0, "4"]},
        {"shape": [1], "data_offsets": [0, -4]},
        {"shape": "12", "data_offsets": [0, 4]},
    ],
)
def test_a_header_with_odd_numbers_is_none(row: dict[str, object], tmp_path: Path) -> None:
    text = json.dumps({"body.weight": row}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    found, said = outcome(path)
    assert found is None
    assert "its header is not one of safetensors" in said


def field(number: int, content: bytes) -> bytes:
    length = len(content)
    head = bytes([length]) if length < 128 else bytes([length & 127 | 128, length >> 7])
    return bytes([number << 3 | 2]) + head + content


def tensor(*dims: int, kind: bytes = b"Float32", count: int) -> bytes:
    sides = b"".join(bytes([8, side]) for side in dims)
    return sides + field(2, kind) + field(3, bytes(count))


def parameter(name: bytes, *tensors: bytes) -> bytes:
    return field(1, field(1, name) + b"".join(field(2, found) for found in tensors))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\n\0", "it has a parameter without a name"),
        (b"\n\3\n\1w", "it has a parameter without values"),
        (b"\n\2\x12\0", "it has a parameter without a name"),
        (parameter(b"w", tensor(2, count=1000)), r"'w' in it has 1,000 bytes of values, its shape"),
        (parameter(b"w", tensor(4, 3, count=4)), r"shape \(4, 3\) of Float32 has 48"),
        (parameter(b"w", tensor(2, kind=b"Float16", count=8)), "shape .* of Float16 has 4"),
        (parameter(b"w", tensor(2, kind=b"Float128", count=8)), "the unknown type Float128"),
        (parameter(b"w", tensor(count=3)), r"its shape \(\) of Float32 has 4"),
        (
            parameter(b"v", tensor(2, count=12)) + parameter(b"w", tensor(2, count=8)),
            "'v' in it has 12 bytes",
        ),
        (
            parameter(b"w", tensor(2, count=4)) + parameter(b"w", tensor(2, count=8)),
            "'w' in it has 12 bytes",
        ),
        (parameter(b"w", tensor(9, count=36), tensor(2, count=8)), "does not begin as one"),
        (parameter(b"w", tensor(2, count=8) + field(3, bytes(4))), "'w' in it is no parameter"),
        (parameter(b"w", tensor(2, count=8) + field(2, b"Int8")), "'w' in it is no parameter"),
    ],
)
def test_a_parameter_has_a_name_and_the_values_of_its_shape(
    content: bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "w.ckpt"
    path.write_bytes(content)
    assert re.search(said, outcome(path)[1])
    with pytest.raises(IntegrityError):
        read_parameters(path)


@pytest.mark.parametrize(
    ("kind", "size"),
    [("Int8", 1), ("Bool", 1), ("Int16", 2), ("Float16", 2), ("Int32", 4), ("Float64", 8)],
)
def test_values_of_each_type_are_counted_as_mindspore_does(
    kind: str, size: int, tmp_path: Path
) -> None:
    path = tmp_path / "w.ckpt"
    path.write_bytes(parameter(b"w", tensor(2, 3, kind=kind.encode(), count=6 * size)))
    assert read_format(path).shapes == {"w": (2, 3)}
    values = read_parameters(path)["w"].asnumpy()
    assert (values.itemsize, values.shape) == (size, (2, 3))


def test_a_header_of_thousands_of_brackets_is_none(tmp_path: Path) -> None:
    text = b'{"a": ' + b"[" * 100_000
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    assert "its header is not one of safetensors" in outcome(path)[1]


def test_a_parameter_in_several_slices_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mindspore.train import serialization

    monkeypatch.setattr(serialization, "SLICE_SIZE", 1)
    big = Tensor(np.ones((300, 7), np.float32))
    path = tmp_path / "w.ckpt"
    mindspore.save_checkpoint([{"name": "big", "data": big}], str(path))
    assert path.read_bytes().count(b"big") > 1
    assert read_format(path).shapes == {"big": (300, 7)}


@pytest.mark.parametrize(("kind", "other"), [("ckpt", "safetensors"), ("safetensors", "ckpt")])
def test_the_content_counts_not_the_suffix(kind: str, other: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"w.{kind}", kind=kind)
    for name in (f"renamed.{other}", "w.bin", "none"):
        renamed = Path(shutil.copy(path, tmp_path / name))
        assert read_format(renamed).format == kind
        assert set(read_parameters(renamed)) == set(SHAPES)


def test_mindspores_checksum_is_compared(tmp_path: Path) -> None:
    path = write(tmp_path / "w.ckpt", crc=True)
    assert read_format(path).has_checksum
    assert set(read_parameters(path)) == set(SHAPES)
    content = bytearray(path.read_bytes())
    content[content.index(np.float32(1).tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="not those of its own checksum"):
        read_parameters(path)


@pytest.mark.parametrize("kind", ["ckpt", "safetensors"])
def test_a_file_cut_anywhere_is_refused_or_holds_whole_parameters(
    kind: str, tmp_path: Path
) -> None:
    whole = write(tmp_path / f"w.{kind}", kind=kind).read_bytes()
    refused = 0
    for length in range(len(whole)):
        path = tmp_path / f"cut.{kind}"
        path.write_bytes(whole[:length])
        found, said = outcome(path)
        if found is None:
            refused += 1
            assert said.startswith(f"{path} is not a readable checkpoint (")
            assert "\n" not in said
        else:
            # Between two parameters: loading then names those that are missing.
            assert kind == "ckpt"
            assert found.shapes.items() < SHAPES.items()
    assert refused >= len(whole) - len(SHAPES)


def test_bytes_flipped_anywhere_end_in_no_other_error(tmp_path: Path) -> None:
    for kind in ("ckpt", "safetensors"):
        whole = write(tmp_path / f"w.{kind}", kind=kind).read_bytes()
        for place in range(len(whole)):
            content = bytearray(whole)
            content[place] ^= 0xFF
            path = tmp_path / "flipped"
            path.write_bytes(content)
            assert "\n" not in outcome(path)[1]


def test_a_missing_file_and_a_folder_are_said(tmp_path: Path) -> None:
    for path in (tmp_path / "none.ckpt", tmp_path):
        with pytest.raises(InputError, match=r"no checkpoint file at .*: check the path; expected"):
            read_format(path)


@pytest.mark.parametrize(
    "change",
    [
        {"data_offsets": [-4, 0]},
        {"data_offsets": [8, 12]},
        {"data_offsets": ["0", 4]},
        {"data_offsets": [0]},
        {"dtype": ["F32"]},
        {"dtype": None},
    ],
)
def test_a_header_that_safetensors_refuses_is_refused(
    change: dict[str, Any], tmp_path: Path
) -> None:
    rows: dict[str, Any] = {
        name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * place, 4 * place + 4]}
        for place, name in enumerate("abc")
    }
    rows["b"] |= change
    header = json.dumps(rows).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(12))
    with pytest.raises(SafetensorError):
        safe_open(path, "np").__enter__()
    with pytest.raises(IntegrityError, match=r"overlap|header"):
        read_format(path)
