from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from mixnet_core.data.idx import read_idx
from mixnet_core.errors import DatasetError, MachineError
from tests.data.samples import idx_bytes

PIXELS = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("compressed", [True, False])
def test_an_array_comes_back_with_the_digest_of_the_plain_content(
    tmp_path: Path, compressed: bool
) -> None:
    content = idx_bytes(PIXELS)
    path = tmp_path / ("images.gz" if compressed else "images")
    path.write_bytes(gzip.compress(content) if compressed else content)
    array, digest = read_idx(path, 3)
    assert np.array_equal(array, PIXELS)
    assert digest == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with nothing"),
        (b"\x00\x00\x08\x03\x00\x00", "it is not an IDX file"),
        (b"\x00\x00\x0d\x03" + bytes(12), "starts with 00000d03, expected 00000803"),
        (idx_bytes(np.zeros(30, np.uint8)), "starts with 00000801, expected 00000803"),
        (idx_bytes(PIXELS)[:-1], r"has 39 bytes, expected 40 for its shape \(2, 3, 4\)"),
        (idx_bytes(PIXELS) + b"\0", "has 41 bytes, expected 40"),
        (idx_bytes(np.zeros((0, 3, 4), np.uint8)), "expected no size 0"),
        # Sizes whose product overflows 64 bits must not come out as a small number.
        (b"\x00\x00\x08\x03" + b"\xff" * 12, "has 16 bytes, expected 792281624589241"),
    ],
)
def test_a_malformed_file_is_named_with_what_was_expected(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=message) as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["cut", "flipped", "plain"])
def test_a_damaged_gzip_file_is_named(tmp_path: Path, damage: str) -> None:
    content = bytearray(gzip.compress(idx_bytes(PIXELS)))
    if damage == "cut":
        del content[-10:]
    elif damage == "flipped":
        content[len(content) // 2] ^= 0xFF
    else:
        content = bytearray(idx_bytes(PIXELS))
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="is not a complete gzip file") as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_a_machine_error(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="cannot read"):
        read_idx(tmp_path / "images.gz", 3)
