"""What kind of picture a file is, by its first bytes: its name may say anything, or nothing."""

from __future__ import annotations

import re
from pathlib import Path

# So many bytes decide.
HEAD_BYTES = 32

# Cameras' own formats are TIFF inside, which would give the preview: here the name has to tell.
_RAW_SUFFIXES = frozenset(
    [
        ".3fr",
        ".arw",
        ".cr2",
        ".cr3",
        ".dng",
        ".erf",
        ".kdc",
        ".mef",
        ".mos",
        ".mrw",
        ".nef",
        ".nrw",
        ".orf",
        ".pef",
        ".raf",
        ".raw",
        ".rw2",
        ".sr2",
        ".srf",
        ".srw",
        ".x3f",
    ]
)
_STARTS = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\xff\x0a", "JXL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JXL"),
    (b"8BPS", "PSD"),
    (b"\0\0\1\0", "ICO"),
)
# ISO media files say after "ftyp" what they hold; videos are of that family too.
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevm", b"hevs"), "HEIC"),
    **dict.fromkeys((b"mif1", b"msf1"), "HEIC"),
}
# Programs put their name into a comment, which may be longer than the head.
_PPM = re.compile(rb"P[1-6](?:\s+\d|\s*#)")
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)


def format_of(head: bytes, name: str = "") -> str | None:
    """Names the format of a picture.

    Args:
        head: the file's first bytes, `HEAD_BYTES` of them or the whole file.
        name: the file's, which tells a camera's own format from the TIFF that it is built of.

    Returns:
        As Pillow names it: JPEG, PNG, GIF, TIFF, WEBP, BMP, PPM, JPEG2000, AVIF, HEIC, JXL, PSD,
        ICO; RAW for a camera's own; None: it is no picture of a kind that is known.
    """
    if (found := _start(head)) == "TIFF":
        raw = head[8:10] == b"CR" or Path(name).suffix.lower() in _RAW_SUFFIXES
        return "RAW" if raw else "TIFF"
    return found


def _start(head: bytes) -> str | None:
    for start, found in _STARTS:
        if head.startswith(start):
            return found
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        return "RAW" if head[8:12] == b"crx " else _brand(head)
    if head[:15] == b"FUJIFILMCCD-RAW":
        return "RAW"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    return "PPM" if _PPM.match(head) else None


def _brand(head: bytes) -> str | None:
    # The first brand may be a general one; what it is compatible with follows.
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, len(head) - 3, 4))]
    found = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
    return ("AVIF" if "AVIF" in found else found[0]) if found else None
