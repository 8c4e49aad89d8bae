"""Odd PNGs."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from tests.data.odd_picture import (
    HEIGHT,
    ORIENTATION,
    WIDTH,
    OddPicture,
    drawn,
    palette,
    three,
)
from tests.data.picture_writers import (
    GREY,
    GREY_ALPHA,
    PALETTE,
    RGB,
    RGBA,
    exif,
    exif_entry,
    png,
    png_chunk,
)

TRANSPARENT = (GREY, RGB)


def pngs() -> Iterator[OddPicture]:
    depths = {GREY: (1, 2, 4, 8, 16), RGB: (8, 16), GREY_ALPHA: (8, 16), RGBA: (8, 16)}
    channels = {GREY: 1, RGB: 3, GREY_ALPHA: 2, RGBA: 4}
    words = {GREY: " grey", RGB: "", GREY_ALPHA: " grey alpha", RGBA: " alpha"}
    for colours, found in depths.items():
        for depth in found:
            samples = drawn(channels[colours], depth)
            want = three(samples, depth)
            notes = f"png{words[colours]}{' 16-bit' * (depth == 16)}"
            for interlaced in (False, True):
                name = f"png-{colours}-{depth}{'-interlaced' * interlaced}"
                content = png(samples, depth, colours, interlaced=interlaced)
                yield OddPicture(name, content, want, notes=notes)
            name = f"png-{colours}-{depth}"
            if colours in TRANSPARENT:
                clear = b"".join(struct.pack(">H", int(v)) for v in samples[1, 1])
                before = png_chunk(b"tRNS", clear)
                yield OddPicture(f"{name}-clear", png(samples, depth, colours, before=before), want)
            gamma = png_chunk(b"gAMA", struct.pack(">I", 100_000))
            behind = gamma + png_chunk(b"bKGD", bytes([0, 1]) * (1 if colours in (0, 4) else 3))
            yield OddPicture(
                f"{name}-gamma-background", png(samples, depth, colours, before=behind), want
            )
    for depth in (1, 2, 4, 8):
        table, samples = palette(1 << depth), drawn(1, depth)
        want = table[samples[..., 0]]
        before = png_chunk(b"PLTE", table.tobytes())
        clear = before + png_chunk(b"tRNS", bytes(range(len(table))))
        name = f"png-palette-{depth}"
        yield OddPicture(
            name, png(samples, depth, PALETTE, before=before), want, notes="png palette"
        )
        yield OddPicture(f"{name}-clear", png(samples, depth, PALETTE, before=clear), want)
        content = png(samples, depth, PALETTE, before=clear, interlaced=True)
        yield OddPicture(f"{name}-clear-interlaced", content, want)
    # A camera's 12 bits in a file that says 16: dark, as the file says.
    dark = drawn(1, 12)
    yield OddPicture("png-12-in-16", png(dark, 16, GREY), three(dark, 16))
    samples = drawn(4)
    want, plain = three(samples, 8), png(samples, 8, RGBA)
    chunks = {
        "profile-of-nonsense": (b"iCCP", b"odd\0\0" + zlib.compress(b"no profile")),
        "profile-not-packed": (b"iCCP", b"odd\0\0not packed"),
        "text-not-packed": (b"zTXt", b"Comment\0\0not packed"),
        "text-without-end": (b"tEXt", b"Comment without an end"),
        "text-huge": (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1 << 22))),
        "exif-of-nonsense": (b"eXIf", b"nonsense"),
        "xmp-of-nonsense": (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta><broken"),
        "time-too-short": (b"tIME", b"\0"),
        "unknown": (b"quXx", b"whatever"),
    }
    for name, (kind, inside) in chunks.items():
        content = png(samples, 8, RGBA, before=png_chunk(kind, inside))
        yield OddPicture(f"png-{name}", content, want)
    wrong = bytearray(png_chunk(b"tEXt", b"Comment\0text"))
    wrong[-1] ^= 1
    yield OddPicture("png-text-with-wrong-sum", png(samples, 8, RGBA, before=bytes(wrong)), want)
    turned = png_chunk(b"eXIf", exif(exif_entry(ORIENTATION, 3, 1, struct.pack("<H", 6))))
    yield OddPicture(
        "png-turned", png(samples, 8, RGBA, before=turned), want, notes="png alpha orientation-6"
    )
    yield OddPicture("png-many-chunks", png(samples, 8, RGBA, idat_bytes=11), want)
    yield OddPicture("png-trailing", plain + b"trailing" * 50, want)
    yield OddPicture("png-twice", plain * 2, want)
    packed = zlib.compress(
        b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in drawn(4, 8, 1))
    )
    animated = png_chunk(b"acTL", struct.pack(">II", 2, 0))
    later = png_chunk(b"fdAT", struct.pack(">I", 2) + packed)
    for blend in (0, 1):
        first = animated + _frame(0, blend)
        content = png(samples, 8, RGBA, before=first, after=_frame(1, blend) + later)
        yield OddPicture(f"png-animated-{blend}", content, want)
    apart = _frame(0, 1) + png_chunk(b"fdAT", struct.pack(">I", 1) + packed)
    content = png(samples, 8, RGBA, before=animated, after=apart + _frame(2, 0))
    yield OddPicture("png-animated-apart-from-its-picture", content, want)
    for cut in (1, 12, 13, 40, len(plain) // 2):
        yield OddPicture(f"png-cut-{cut}", plain[:-cut], reason=".")
    broken = bytearray(plain)
    broken[-20] ^= 1
    yield OddPicture("png-broken", bytes(broken), reason=".")
    yield OddPicture("png-without-header", plain[:12] + b"CgBI" + plain[16:], reason="first chunk")


def _frame(number: int, blend: int) -> bytes:
    at = struct.pack(">IIIIIHHBB", number, WIDTH, HEIGHT, 0, 0, 1, 10, 0, blend)
    return png_chunk(b"fcTL", at)
