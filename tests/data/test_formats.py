"""Formats by content, held to what Pillow and real headers say."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from mixnet_core.data.formats import HEAD_BYTES, format_of


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "JPEG2000", "ICO", "MPO", "AVIF"]
)
def test_what_pillow_writes_is_known_by_its_first_bytes(kind: str) -> None:
    if kind not in Image.SAVE and kind not in (Image.init() and Image.SAVE):
        pytest.skip("Pillow here does not write it")
    for mode in ("RGB", "L"):
        content = io.BytesIO()
        Image.new(mode, (16, 16), 7).save(content, kind)
        expected = "JPEG" if kind == "MPO" else kind
        assert format_of(content.getvalue()[:HEAD_BYTES], "x") == expected


@pytest.mark.parametrize(
    ("head", "name", "expected"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a.jpg", "HEIC"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0avifmif1miaf", "a", "AVIF"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "a.heic", None),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "a.cr3", "RAW"),
        (b"II*\0\x08\0\0\0", "a.DNG", "RAW"),
        (b"II*\0\x08\0\0\0", "a.tif", "TIFF"),
        (b"P5\n# a comment\n24 7\n15\n", "a", "PPM"),
        (b"P5 stands for grey", "a.txt", None),
        (b"BMW is a make of cars, and this a text", "a.txt", None),
        (b"GIF8", "a.gif", None),
        (b"%PDF-1.7", "a.png", None),
        (b"", "a.jpg", None),
    ],
)
def test_content_decides_not_the_name(head: bytes, name: str, expected: str | None) -> None:
    assert format_of(head, name) == expected
