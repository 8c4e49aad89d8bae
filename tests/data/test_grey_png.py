from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mixnet_core.data.grey_png import grey_images, grey_png


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (28, 28), (5, 9), (300, 411)])
def test_pillow_reads_back_every_pixel(shape: tuple[int, int]) -> None:
    plane = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    image = Image.open(io.BytesIO(grey_png(plane)))
    assert image.mode == "L"
    assert np.array_equal(np.asarray(image), plane)


def test_the_bytes_are_the_same_on_every_machine() -> None:
    plane = np.arange(64, dtype=np.uint8).reshape(8, 8)
    digest = hashlib.sha256(grey_png(plane)).hexdigest()
    assert digest == "b0eb4945328da0f6a155a9246905713af8277632e60ed7ee9bca9bcdf82977de"


def test_an_image_is_written_under_its_number_with_its_digest(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (11, 4, 4), dtype=np.uint8)
    images = grey_images(pixels, np.zeros(11, np.int32))
    assert images.names[0] == "00.png"
    assert images.names[10] == "10.png"
    found = images.write(10, tmp_path / "ten.png")
    content = (tmp_path / "ten.png").read_bytes()
    assert found == (hashlib.sha256(content).hexdigest(), len(content))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "ten.png")), pixels[10])
