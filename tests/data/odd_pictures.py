"""A corpus of odd pictures with the pixels that the rule says they have, and what is refused.

Where a format keeps samples exactly, the pixels are those that were written. Else they are what
Pillow's `convert("RGB")` gives. `damaged` makes more of them for a search.

Letters: H, W pixels, C samples a pixel.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from tests.data.odd_jpegs import jpegs, jpegs_with_odd_exif
from tests.data.odd_picture import (
    HEIGHT,
    ORIENTATION,
    ROUNDING,
    WIDTH,
    OddPicture,
    by_pillow,
    drawn,
    eight_bits,
    encoded,
    palette,
    photograph,
    three,
)
from tests.data.odd_pngs import pngs
from tests.data.odd_tiffs import tiffs
from tests.data.picture_writers import (
    RGB,
    bmp,
    exif,
    exif_entry,
    netpbm,
    png,
    png_chunk,
)


@functools.cache
def corpus() -> tuple[OddPicture, ...]:
    parts = (pngs, tiffs, jpegs, jpegs_with_odd_exif, _netpbms, _bmps, _others, _refused)
    pictures = tuple(picture for part in parts for picture in part())
    assert len({picture.name for picture in pictures}) == len(pictures)
    return pictures


def bombs() -> list[bytes]:
    """Files of a few bytes that claim gigabytes, by their header or a part's length."""
    named = [it.content for it in corpus() if it.name.endswith("bomb")]
    samples = drawn(3)
    plain = png(samples, 8, RGB)
    # Fewer pixels than the most that are read, and a chunk of two gigabytes.
    large = png(samples, 8, RGB, size=(9_000, 9_000))
    pixels = plain[:33] + b"\x7f\xff\xff\xff" + plain[37:]
    text = plain[:33] + b"\x7f\xff\xff\xfftEXt" + plain[33:]
    # OpenCV looks for pixels after the end too.
    late = plain[:33] + png_chunk(b"IEND", b"") + text[33:]
    return [*named, png(samples, 8, RGB, size=(60_000, 60_000)), large, pixels, text, late]


def damaged(content: bytes, random: np.random.Generator) -> bytes:
    """Flips some bytes, half of the time among the first, cuts, or repeats a part."""
    broken = bytearray(content)
    kind = random.integers(4)
    if kind == 0 and len(broken) > 1:
        return bytes(broken[: random.integers(1, len(broken))])
    if kind == 1:
        a, b = sorted(random.integers(0, len(broken) + 1, 2).tolist())
        return bytes(broken[:b] + broken[a:])
    reach = len(broken) if kind == 2 else min(len(broken), 200)
    for at in random.integers(0, reach, random.integers(1, 9)):
        broken[at] = random.choice([0, 1, 0x7F, 0x80, 0xFF, int(random.integers(256))])
    return bytes(broken)


def _netpbms() -> Iterator[OddPicture]:
    for most in (1, 15, 100, 255, 256, 1023, 4095, 65_534, 65_535):
        for channels, text, binary in ((1, 2, 5), (3, 3, 6)):
            samples = (drawn(channels, 16).astype(np.int64) * most // 65_535).astype(np.uint16)
            want = np.ascontiguousarray(
                np.broadcast_to(eight_bits(samples, most), (HEIGHT, WIDTH, 3))
            )
            words = " grey" * (channels == 1) + " 16-bit" * (most > 255)
            content = netpbm(binary, samples, most)
            yield OddPicture(f"p{binary}-{most}", content, want, notes=f"ppm{words}")
            yield OddPicture(f"p{text}-{most}", netpbm(text, samples, most), want)
    black = drawn(1, 1)
    want = three(1 - black, 1)
    for kind in (1, 4):
        content = netpbm(kind, black)
        yield OddPicture(f"p{kind}", content, want, notes="ppm grey")
    tight = b"P1 %d %d\n" % (WIDTH, HEIGHT) + bytes(black.ravel().astype(np.uint8) + ord("0"))
    yield OddPicture("p1-without-spaces", tight, want)
    samples = drawn(3)
    for name, comment in (("comment", "# a comment 12 34\n"), ("comments", "#\n# 1\n  #2\n")):
        content = netpbm(6, samples, comment=comment)
        yield OddPicture(f"p6-{name}", content, three(samples, 8))
    whole = netpbm(6, samples)
    yield OddPicture("p6-trailing", whole + whole, three(samples, 8))
    above = netpbm(5, np.array([[100, 101, 255]], np.uint8), 100)
    yield OddPicture("p5-above-its-maximum", above, np.full((1, 3, 3), 255, np.uint8))
    yield OddPicture("p6-cut", whole[:-1], reason="cut off")
    yield OddPicture("p3-cut", netpbm(3, samples)[:-400], reason="cut off")
    yield OddPicture("p5-of-nothing", b"P5 0 5 255\n", reason="0 x 5")
    yield OddPicture("p5-too-white", b"P5 1 1 65536\n\0\0\0", reason="65536")
    yield OddPicture("p5-bomb", b"P5 60000 60000 255\n" + bytes(100), reason="more than")
    yield OddPicture("p2-too-white", b"P2 1 1 10\n11\n", reason="between")
    yield OddPicture("p2-words", b"P2 1 1 10\nten\n", reason=".")
    yield OddPicture("pfm", b"Pf\n1 1\n-1.0\n" + bytes(4), reason="floating-point")


def _bmps() -> Iterator[OddPicture]:
    for bits in (1, 4, 8):
        table, samples = palette(1 << bits), drawn(1, bits)
        want, flat = table[samples[..., 0]], samples[..., 0].astype(np.uint8)
        for header in (12, 40, 124):
            content = bmp(flat, bits, palette=table, header=header)
            yield OddPicture(f"bmp-{bits}-{header}", content, want, notes="bmp palette")
        greys = np.repeat(np.linspace(0, 255, 1 << bits).astype(np.uint8)[:, None], 3, 1)
        content = bmp(flat, bits, palette=greys)
        yield OddPicture(f"bmp-{bits}-grey", content, greys[flat], notes="bmp grey")
    few = drawn(1, 4)[..., 0].astype(np.uint8)
    yield OddPicture("bmp-8-of-16-colours", bmp(few, 8, palette=palette(16)), palette(16)[few])
    samples = drawn(4).astype(np.uint8)
    colours = np.ascontiguousarray(samples[..., :3])
    for header in (12, 40, 108, 124):
        content = bmp(colours, 24, header=header)
        yield OddPicture(f"bmp-24-{header}", content, colours, notes="bmp")
    yield OddPicture("bmp-24-top-down", bmp(colours, 24, top_down=True), colours)
    red, green, blue, alpha = 0xFF0000, 0xFF00, 0xFF, 0xFF000000
    yield OddPicture("bmp-32", bmp(samples, 32), colours)
    for header in (40, 108, 124):
        content = bmp(samples, 32, header=header, masks=(red, green, blue))
        yield OddPicture(f"bmp-32-masks-{header}", content, colours)
    clear = samples.copy()
    clear[..., 3] = 0
    for name, pixels in (("alpha", samples), ("clear", clear)):
        content = bmp(pixels, 32, header=124, masks=(red, green, blue, alpha))
        yield OddPicture(f"bmp-32-{name}", content, colours)
    packed = drawn(1, 16)[..., 0]
    content = bmp(packed, 16)
    yield OddPicture("bmp-16", content, _of_bits(packed, (10, 5, 0), (5, 5, 5)), off=ROUNDING)
    content = bmp(packed, 16, masks=(0xF800, 0x7E0, 0x1F))
    yield OddPicture("bmp-16-masks", content, _of_bits(packed, (11, 5, 0), (5, 6, 5)), off=ROUNDING)
    whole = bmp(colours, 24)
    yield OddPicture("bmp-trailing", whole + b"trailing", colours)
    yield OddPicture("bmp-cut", whole[: len(whole) // 2], reason=".")
    bomb = whole[:18] + struct.pack("<ii", 50_000, 50_000) + whole[26:]
    yield OddPicture("bmp-bomb", bomb, reason="more than")


def _of_bits(
    packed: NDArray[np.uint16], shifts: Sequence[int], bits: Sequence[int]
) -> NDArray[np.uint8]:
    parts = [
        eight_bits(packed >> shift & ((1 << count) - 1), (1 << count) - 1)
        for shift, count in zip(shifts, bits, strict=True)
    ]
    return np.stack(parts, 2)


def _others() -> Iterator[OddPicture]:
    image = Image.fromarray(drawn(4).astype(np.uint8))
    colours = image.convert("RGB")
    other = colours.rotate(90)
    exact: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "": (colours, {}),
        "-alpha": (image, {"exact": True}),
        "-animated": (colours, {"save_all": True, "append_images": [other]}),
        "-animated-alpha": (
            image,
            {"exact": True, "save_all": True, "append_images": [image.rotate(90)]},
        ),
    }
    for name, (picture, options) in exact.items():
        content = encoded(picture, "WEBP", lossless=True, **options)
        # What is transparent in an animation, the encoder fills as it likes.
        want = by_pillow(content) if name == "-animated-alpha" else np.array(colours)
        yield OddPicture(f"webp-lossless{name}", content, want)
        yield OddPicture(f"webp-lossless{name}-cut", content[:-1], reason=".")
    turned = exif(exif_entry(ORIENTATION, 3, 1, struct.pack("<H", 6)))
    lossy: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "": (colours, {}),
        "-alpha": (image, {}),
        "-turned": (colours, {"exif": turned}),
        "-profile": (colours, {"icc_profile": b"nonsense"}),
    }
    for name, (picture, options) in lossy.items():
        content = encoded(picture, "WEBP", quality=80, **options)
        yield OddPicture(f"webp{name}", content, by_pillow(content))
        yield OddPicture(f"webp{name}-trailing", content + b"trailing", by_pillow(content))
    photo = encoded(photograph(), "WEBP")
    bomb = encoded(image, "WEBP")
    extended = bomb[:24] + b"\xff\x3f\0\xff\x3f\0" + bomb[30:]
    yield OddPicture("webp-bomb", extended, reason="more than")
    yield OddPicture("webp-half", photo[: len(photo) // 2], reason=".")
    flat = colours.convert("P")
    gifs: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "": (flat, {}),
        "-grey": (colours.convert("L"), {}),
        "-one-bit": (colours.convert("1"), {}),
        "-clear": (flat, {"transparency": 3}),
        "-interlaced": (flat, {"interlace": 1}),
        "-animated": (flat, {"save_all": True, "append_images": [other.convert("P")]}),
    }
    for name, (picture, options) in gifs.items():
        content = encoded(picture, "GIF", **options)
        yield OddPicture(f"gif{name}", content, np.array(picture.convert("RGB")))
        yield OddPicture(f"gif{name}-trailing", content + b"trailing", by_pillow(content))
    content = encoded(flat, "GIF")
    yield OddPicture("gif-cut", content[: len(content) // 2], reason=".")
    large = content[:6] + b"\xff\xff\xff\xff" + content[10:]
    yield OddPicture("gif-bomb", large, reason="more than")
    yield from _by_other_libraries(image, colours)


def _by_other_libraries(image: Image.Image, colours: Image.Image) -> Iterator[OddPicture]:
    if features.check("jpg_2000"):
        for picture in (colours, image, colours.convert("L")):
            content = encoded(picture, "JPEG2000")
            name = f"jpeg2000-{picture.mode}"
            yield OddPicture(name, content, np.array(picture.convert("RGB")))
            yield OddPicture(f"{name}-cut", content[:-1], reason=".")
        deep = drawn(1, 16)
        content = encoded(Image.fromarray(deep[..., 0]), "JPEG2000")
        notes = "jpeg2000 grey 16-bit"
        yield OddPicture("jpeg2000-16", content, three(deep, 16), notes=notes)
    if features.check("avif"):
        for picture in (colours, image):
            content = encoded(picture, "AVIF")
            yield OddPicture(f"avif-{picture.mode}", content, by_pillow(content))
            yield OddPicture(f"avif-{picture.mode}-cut", content[:-1], reason=".")


def _refused() -> Iterator[OddPicture]:
    image = photograph()
    contents = {
        "empty": (b"", "the file is empty"),
        "text": (b"no image at all\n", "not an image"),
        "zeros": (bytes(1000), "not an image"),
        "random": (np.random.default_rng(5).bytes(1000), "not an image"),
        "ico": (encoded(image, "ICO"), "ICO, an icon.*: convert it to JPEG or PNG"),
        "psd": (b"8BPS\0\1" + bytes(40), "PSD, a Photoshop file: convert it to JPEG or PNG"),
        "jxl": (b"\xff\x0a" + bytes(40), "JXL, JPEG XL: convert it to JPEG or PNG"),
        "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40), "."),
        "cr2": (b"II*\0\x10\0\0\0CR\2\0" + bytes(40), "raw file"),
        "cr3": (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(40), "raw file"),
        "raf": (b"FUJIFILMCCD-RAW 0201" + bytes(40), "raw file"),
        "pdf": (b"%PDF-1.7\n", "a PDF"),
        "svg": (b'<?xml version="1.0"?>\n<svg xmlns="x"/>', "SVG, a drawing"),
        "html": (b"\n<!DOCTYPE html><html>404</html>", "a web page"),
        "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        "mp4": (b"\0\0\0\x18ftypisom\0\0\2\0isommp42", "a video"),
        "avi": (b"RIFF\0\0\0\0AVI LIST", "a video"),
        "mkv": (b"\x1a\x45\xdf\xa3" + bytes(40), "a video"),
        "zip": (b"PK\3\4" + bytes(40), "an archive"),
        "gzip": (b"\x1f\x8b" + bytes(40), "an archive"),
        "npy": (b"\x93NUMPY\1\0", "NumPy"),
        "dicom": (bytes(128) + b"DICM" + bytes(40), "DICOM"),
        "hdr": (b"#?RADIANCE\n", "floating-point"),
        "exr": (b"v/1\1" + bytes(40), "floating-point"),
        "pcx": (encoded(image, "PCX"), "not read"),
        "tga": (encoded(image, "TGA"), "not an image"),
        "dds": (encoded(image, "DDS"), "not read"),
        "eps": (encoded(image, "EPS"), "PostScript"),
        "sgi": (encoded(image, "SGI"), "not read"),
    }
    for name, (content, reason) in contents.items():
        yield OddPicture(f"refused-{name}", content, reason=reason)
