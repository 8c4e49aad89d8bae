"""Odd JPEGs, and what cameras and programs put into them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from PIL import Image

from tests.data.odd_picture import (
    ORIENTATION,
    ROUNDING,
    OddPicture,
    by_pillow,
    encoded,
    photograph,
)
from tests.data.picture_writers import (
    exif,
    exif_entry,
    with_segment,
)


def jpegs() -> Iterator[OddPicture]:
    photo = photograph()
    ways: dict[str, tuple[str, dict[str, Any]]] = {
        "444": ("RGB", {"subsampling": 0, "quality": 90}),
        "422": ("RGB", {"subsampling": 1, "quality": 90}),
        "420": ("RGB", {"subsampling": 2, "quality": 90}),
        "411": ("RGB", {"subsampling": "4:1:1", "quality": 90}),
        "quality-1": ("RGB", {"quality": 1}),
        "progressive": ("RGB", {"progressive": True}),
        "restart-blocks": ("RGB", {"restart_marker_blocks": 1}),
        "restart-rows": ("RGB", {"restart_marker_rows": 1}),
        "rgb-inside": ("RGB", {"keep_rgb": True}),
        "optimized": ("RGB", {"optimize": True}),
        "grey": ("L", {}),
        "cmyk": ("CMYK", {}),
        "cmyk-progressive": ("CMYK", {"progressive": True}),
    }
    notes = {"grey": "grey", "cmyk": "cmyk", "cmyk-progressive": "cmyk"}
    for name, (mode, options) in ways.items():
        content = encoded(photo.convert(mode), "JPEG", **options)
        off = ROUNDING if mode == "CMYK" else 0
        want = by_pillow(content)
        yield OddPicture(f"jpeg-{name}", content, want, off, notes=notes.get(name, ""))
        for cut in (1, 2, 10, len(content) // 2):
            yield OddPicture(f"jpeg-{name}-cut-{cut}", content[:-cut], reason=".")
        yield OddPicture(f"jpeg-{name}-trailing", content + b"trailing" * 9, want, off)
    ycck = _ycck(photo)
    yield OddPicture("jpeg-ycck", ycck, by_pillow(ycck), ROUNDING, notes="cmyk")
    plain = encoded(photo, "JPEG")
    want = by_pillow(plain)
    for side in (1, 7, 8, 9):
        content = encoded(photo.resize((side, side)), "JPEG")
        yield OddPicture(f"jpeg-of-{side}", content, by_pillow(content))
    garbage = plain[:20] + b"\0garbage" + plain[20:]
    yield OddPicture("jpeg-garbage-between-segments", garbage, want)
    yield OddPicture("jpeg-filled-up", plain[:2] + b"\xff" * 9 + plain[2:], want)
    segments = {
        "comment": (0xFE, b"\xff\xfe not ASCII \x80"),
        "comment-empty": (0xFE, b""),
        "profile-of-nonsense": (0xE2, b"ICC_PROFILE\0\1\1nonsense"),
        "profile-part-of-many": (0xE2, b"ICC_PROFILE\0\7\3" + bytes(100)),
        "pictures-of-nonsense": (0xE2, b"MPF\0nonsense"),
        "pictures-cut": (0xE2, b"MPF\0II*\0\x08\0\0\0\xff\xff"),
        "pictures-huge": (0xE2, b"MPF\0" + exif(exif_entry(0xB001, 4, 1, b"\xff\xff\xff\x7f"))),
        "xmp-of-nonsense": (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><broken \xff"),
        "photoshop-of-nonsense": (0xED, b"Photoshop 3.0\08BIM\4\4\0\0\xff\xff\xff\xff"),
        "photoshop-cut": (0xED, b"Photoshop 3.0\08BIM\3\xed\0\0\0\0\0\x10\0"),
        "jfif-cut": (0xE0, b"JFIF\0"),
        "jfif-odd": (0xE0, b"JFIF\0\x09\x09\x09\0\0\0\0\0\0"),
        "flashpix": (0xE2, b"FPXR\0nonsense"),
    }
    for name, (marker, inside) in segments.items():
        yield OddPicture(f"jpeg-{name}", with_segment(plain, marker, inside), want)
    two = encoded(photo, "MPO", save_all=True, append_images=[photo.rotate(90)])
    yield OddPicture("jpeg-mpo", two, by_pillow(two), notes="mpo")
    frame = plain.index(b"\xff\xc0")
    deep = plain[: frame + 4] + b"\x0c" + plain[frame + 5 :]
    yield OddPicture("jpeg-12-bits", deep, reason="12 bits")
    bomb = plain[: frame + 5] + b"\xff\xff\xff\xff" + plain[frame + 9 :]
    yield OddPicture("jpeg-bomb", bomb, reason="more than")
    yield OddPicture("jpeg-leading-garbage", b"garbage" + plain, reason="not an image")
    yield OddPicture("jpeg-header-only", plain[:frame], reason="cut off")
    yield OddPicture("jpeg-3-bytes", plain[:3], reason="cut off")


def _ycck(photo: Image.Image) -> bytes:
    """Says of four inks that the first three are YCbCr, as Photoshop stores them."""
    content = encoded(photo.convert("CMYK"), "JPEG", quality=95)
    at = content.index(b"Adobe") + 11
    return content[:at] + b"\2" + content[at + 1 :]


def jpegs_with_odd_exif() -> Iterator[OddPicture]:
    plain = encoded(photograph(), "JPEG")
    want = by_pillow(plain)
    six = struct.pack("<H", 6)
    pair = struct.pack("<II", 6, 1)
    nothing = struct.pack("<II", 0, 0)

    def one(kind: int, count: int, value: bytes) -> bytes:
        return exif(exif_entry(ORIENTATION, kind, count, value))

    def apart(kind: int, count: int, value: bytes) -> bytes:
        entry = exif_entry(ORIENTATION, kind, count, struct.pack("<I", 26))
        return exif(entry, after=value)

    blocks = {
        "short": (one(3, 1, six), "orientation-6"),
        "byte": (one(1, 1, b"\6"), None),
        "text": (one(2, 4, b"top\0"), ""),
        "text-of-a-number": (one(2, 2, b"6\0"), None),
        "long": (one(4, 1, six), "orientation-6"),
        "rational": (apart(5, 1, pair), None),
        "rational-of-nothing": (apart(5, 1, nothing), ""),
        "signed-rational-of-nothing": (apart(10, 1, nothing), ""),
        "signed": (one(8, 1, b"\xff\xff"), ""),
        "undefined": (one(7, 1, b"\6"), None),
        "undefined-four": (one(7, 4, b"\6\0\0\0"), None),
        "float": (one(11, 1, struct.pack("<f", 6)), None),
        "not-a-number": (one(11, 1, struct.pack("<f", float("nan"))), ""),
        "double-infinite": (apart(12, 1, struct.pack("<d", float("inf"))), ""),
        "array": (one(3, 2, six * 2), None),
        "empty": (one(3, 0, b""), ""),
        "unknown-type": (one(99, 1, six), ""),
        "zero": (one(3, 1, b"\0\0"), ""),
        "nine": (one(3, 1, b"\x09\0"), ""),
        "value-not-there": (one(5, 1, struct.pack("<I", 1 << 30)), ""),
        "huge-count": (one(3, 0xFFFFFFFF, six), ""),
        "huge-count-text": (one(2, 0x7FFFFFFF, b"\x1a\0\0\0"), ""),
        "many-entries": (exif(exif_entry(ORIENTATION, 3, 1, six), 65_535), None),
        "directory-cut": (exif(exif_entry(ORIENTATION, 3, 1, six))[:15], None),
        "header-only": (b"II*\0", ""),
        "nothing": (b"", ""),
        "nonsense": (b"nonsense and more of it", ""),
        "directory-not-there": (b"II*\0" + struct.pack("<I", 1 << 30), ""),
        "loop": (b"II*\0" + struct.pack("<IHI", 8, 0, 8), ""),
        "loop-of-directories": (exif(exif_entry(0x8769, 4, 1, struct.pack("<I", 8))), ""),
        "loop-of-interoperability": (exif(exif_entry(0xA005, 4, 1, struct.pack("<I", 8))), ""),
        "big-endian": (
            exif(exif_entry(ORIENTATION, 3, 1, struct.pack(">H", 6), ">"), order=">"),
            "orientation-6",
        ),
        "thumbnail-broken": (
            exif(
                exif_entry(0x0201, 4, 1, struct.pack("<I", 1 << 20))
                + exif_entry(0x0202, 4, 1, struct.pack("<I", 1 << 20))
            ),
            "",
        ),
    }
    for name, (block, notes) in blocks.items():
        content = with_segment(plain, 0xE1, b"Exif\0\0" + block)
        yield OddPicture(f"jpeg-exif-{name}", content, want, notes=notes)
    turned = with_segment(plain, 0xE1, b"Exif\0\0" + one(3, 1, six))
    yield OddPicture(
        "jpeg-exif-twice", with_segment(turned, 0xE1, b"Exif\0\0" + one(3, 1, six)), want
    )
