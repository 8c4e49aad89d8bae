"""Odd TIFFs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from tests.data.odd_picture import (
    OddPicture,
    by_pillow,
    drawn,
    encoded,
    palette,
    three,
)
from tests.data.picture_writers import (
    tiff,
)


def tiffs() -> Iterator[OddPicture]:
    # Photometric, samples, what the last ones are.
    kinds: dict[str, tuple[int, int, Sequence[int]]] = {
        "grey": (1, 1, ()),
        "white-is-zero": (0, 1, ()),
        "grey-alpha": (1, 2, (2,)),
        "grey-and-one": (1, 2, (0,)),
        "grey-and-unsaid": (1, 2, ()),
        "rgb": (2, 3, ()),
        "rgb-alpha": (2, 4, (2,)),
        "rgb-infrared": (2, 4, (0,)),
        "rgb-unsaid": (2, 4, ()),
    }
    ways: dict[str, dict[str, Any]] = {
        "": {},
        "-big-endian": {"order": ">"},
        "-planes": {"planar": True},
        "-tiles": {"tile": 16},
        "-tiles-packed": {"tile": 32, "deflated": True, "order": ">"},
        "-planes-tiles-packed": {"tile": 16, "deflated": True, "planar": True},
        "-strips-packed": {"rows_per_strip": 4, "deflated": True},
        "-bigtiff": {"big": True},
        "-bigtiff-big-endian": {"big": True, "order": ">"},
    }
    for bits in (8, 16):
        for kind, (photometric, channels, extra) in kinds.items():
            samples = drawn(channels, bits)
            seen = ((1 << bits) - 1 - samples) if photometric == 0 else samples
            want = three(seen, bits)
            for way, how in ways.items():
                content = tiff(samples, bits, photometric, extra=extra, **how)
                yield OddPicture(f"tiff-{kind}-{bits}{way}", content, want)
    for bits in (1, 2, 4, 12):
        for photometric in (0, 1):
            samples = drawn(1, bits)
            seen = ((1 << bits) - 1 - samples) if photometric == 0 else samples
            content = tiff(samples, bits, photometric)
            yield OddPicture(f"tiff-{bits}-bits-{photometric}", content, three(seen, bits))
    yield OddPicture("tiff-12-bit-colours", tiff(drawn(3, 12), 12, 2), three(drawn(3, 12), 12))
    yield from _tiffs_with_associated_alpha()
    yield from _tiffs_withpalette()
    yield from _tiffs_by_pillow()
    for bits in (8, 16):
        samples = drawn(4, bits).astype(np.uint8 if bits == 8 else np.uint16)
        for way in ("", "-big-endian", "-tiles-packed", "-planes-tiles-packed", "-strips-packed"):
            # Without packing the tag would say nothing.
            how = ways[way] | {"deflated": True}
            content = tiff(samples, bits, 2, extra=(2,), differences=True, **how)
            yield OddPicture(f"tiff-differences-{bits}{way}", content, three(samples, bits))
    samples = drawn(3)
    want, plain = three(samples, 8), tiff(samples, 8, 2)
    pages = tiff(samples, 8, 2, more_pages=[drawn(3, 8, 1)])
    yield OddPicture("tiff-two-pages", pages, want)
    yield OddPicture("tiff-trailing", plain + b"trailing" * 50, want)
    odd: dict[str, tuple[int, int, Sequence[Any]]] = {
        "orientation-as-text": (274, 2, b"top\0"),
        "resolution-of-nothing": (282, 5, [0, 0]),
        "profile-of-nonsense": (34_675, 7, list(b"nonsense")),
        "unknown-tag": (65_000, 7, list(b"whatever")),
        "text-without-end": (270, 2, b"endless"),
        "exif-that-is-not-there": (34_665, 4, [1 << 30]),
    }
    for name, tag in odd.items():
        yield OddPicture(f"tiff-{name}", tiff(samples, 8, 2, tags=[tag]), want)
    for orientation in range(1, 10):
        for bits, deep in ((8, samples), (16, drawn(3, 16))):
            content = tiff(deep, bits, 2, tags=[(274, 3, [orientation])], deflated=True)
            turned = by_pillow(content)
            yield OddPicture(
                f"tiff-turned-{orientation}-{bits}",
                content,
                turned,
                notes=f"tiff{' 16-bit' * (bits == 16)}",
            )
    for cut in (30, len(plain) // 2):
        yield OddPicture(f"tiff-cut-{cut}", plain[:-cut], reason=".")
    sixteen = tiff(drawn(2, 16), 16, 1, extra=(2,), deflated=True)
    yield OddPicture("tiff-16-cut", sixteen[: len(sixteen) - 60], reason="cut off")
    inside = bytearray(sixteen)
    inside[200:260] = bytes(60)
    yield OddPicture("tiff-16-broken", bytes(inside), reason=".")
    for order in ("<", ">"):
        numbers = drawn(1, 16)[..., 0].astype(np.float32) / 65_535
        content = tiff(numbers, 32, 1, order=order, sample_format=3)
        yield OddPicture(f"tiff-floating-{order}", content, reason="floating-point")
    wide = drawn(1, 16).astype(np.uint32)
    yield OddPicture("tiff-32-bits", tiff(wide, 32, 1), reason="32 bits")
    yield OddPicture("tiff-signed", tiff(drawn(1, 15), 16, 1, sample_format=2), reason="signed")
    yield OddPicture("tiff-lab", tiff(samples, 8, 8), reason="CIELAB")
    yield OddPicture("tiff-filter-array", tiff(drawn(1, 16), 16, 32_803), reason="raw file")
    preview = [(254, 4, [1]), (330, 4, [8])]
    yield OddPicture("tiff-preview-of-raw", tiff(samples, 8, 2, tags=preview), reason="raw file")
    dng = tiff(samples, 8, 2, tags=[(50_706, 1, [1, 4, 0, 0])])
    yield OddPicture("tiff-dng", dng, reason="raw file")
    bomb = tiff(samples, 8, 2, tags=[(256, 4, [60_000]), (257, 4, [60_000])])
    yield OddPicture("tiff-bomb", bomb, reason="more than")


def _tiffs_with_associated_alpha() -> Iterator[OddPicture]:
    for bits in (8, 16):
        for channels in (2, 4):
            plain = drawn(channels, bits).astype(np.int64)
            most = (1 << bits) - 1
            # Below that nothing much is left of a colour.
            plain[..., -1] = np.maximum(plain[..., -1], most // 2)
            stored = plain.copy()
            stored[..., :-1] = (plain[..., :-1] * plain[..., -1:] + most // 2) // most
            for order in ("<", ">"):
                content = tiff(
                    stored.astype(np.uint16), bits, channels // 2, extra=(1,), order=order
                )
                name = f"tiff-associated-{channels}-{bits}-{order}"
                yield OddPicture(name, content, three(plain, bits), off=2 if bits == 8 else 1)


def _tiffs_withpalette() -> Iterator[OddPicture]:
    for bits in (1, 2, 4, 8):
        table, samples = palette(1 << bits), drawn(1, bits)
        want = table[samples[..., 0]]
        wide = (320, 3, (table.T.astype(int) * 257).ravel().tolist())
        for order in ("<", ">"):
            content = tiff(samples, bits, 3, order=order, tags=[wide])
            yield OddPicture(f"tiff-palette-{bits}-{order}", content, want)
    narrow = (320, 3, table.T.ravel().tolist())
    yield OddPicture("tiff-palette-of-8-bits", tiff(samples, 8, 3, tags=[narrow]), want)
    with_alpha = np.concatenate([samples, drawn(1, 8, 1)], 2)
    content = tiff(with_alpha, 8, 3, extra=(2,), tags=[wide])
    yield OddPicture("tiff-palette-alpha", content, want)


def _tiffs_by_pillow() -> Iterator[OddPicture]:
    image = Image.fromarray(drawn(4).astype(np.uint8))
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"):
        of_mode = image.convert("RGB").convert(mode) if mode != "RGBA" else image
        for packing in (None, "tiff_lzw", "packbits", "tiff_adobe_deflate"):
            content = encoded(of_mode, "TIFF", compression=packing)
            yield OddPicture(f"tiff-pillow-{mode}-{packing}", content, by_pillow(content))
    # Only what LZW and its like packed may be differences; elsewhere the tag says nothing.
    for packing in (None, "packbits", "tiff_lzw", "tiff_adobe_deflate"):
        for predictor in (2, 3) if packing in (None, "packbits") else (2,):
            content = encoded(
                image.convert("RGB"), "TIFF", compression=packing, tiffinfo={317: predictor}
            )
            name = f"tiff-pillow-predictor-{predictor}-{packing}"
            yield OddPicture(name, content, np.array(image.convert("RGB")))
    for packing in ("group3", "group4"):
        content = encoded(image.convert("1"), "TIFF", compression=packing)
        yield OddPicture(f"tiff-pillow-1-{packing}", content, by_pillow(content))
    for mode in ("L", "RGB", "CMYK"):
        content = encoded(image.convert("RGB").convert(mode), "TIFF", compression="jpeg")
        yield OddPicture(f"tiff-pillow-{mode}-jpeg", content, by_pillow(content), off=2)
    sixteen = drawn(1, 16)
    content = encoded(Image.fromarray(sixteen[..., 0]), "TIFF", compression="tiff_lzw")
    yield OddPicture("tiff-pillow-16-lzw", content, three(sixteen, 16))
    content = encoded(
        Image.fromarray(sixteen[..., 0]), "TIFF", compression="tiff_lzw", tiffinfo={317: 2}
    )
    yield OddPicture("tiff-pillow-16-lzw-differences", content, three(sixteen, 16))
