"""What a file is that is not read, and what to do about it, in a line."""

from __future__ import annotations

import re

_CONVERT = "convert it to JPEG or PNG"
_NAMES = {
    "JXL": "JPEG XL",
    "PSD": "a Photoshop file",
    "ICO": "an icon, which holds several pictures",
    "RAW": "a camera's raw file",
}
_PACKAGES = {"HEIC": "the package pillow-heif", "AVIF": "Pillow 11.3 or a newer one"}
_VIDEO = "a video: take pictures out of it"
_UNREAD = f"a picture of a kind that is not read: {_CONVERT}"
# What people have in folders of images, by its first bytes.
_OTHERS = tuple(
    (re.compile(start, re.DOTALL), name)
    for start, name in (
        (rb"%PDF", f"a PDF: {_CONVERT}"),
        (rb"%!PS|\xc5\xd0\xd3\xc6", f"PostScript: {_CONVERT}"),
        (rb"(?i)(\xef\xbb\xbf)?\s*(<\?xml.{,1000})?<svg", f"SVG, a drawing: {_CONVERT}"),
        (rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype html|html|head)", "a web page: its download failed"),
        (rb"version https://git-lfs", "a pointer of Git LFS: fetch the files with `git lfs pull`"),
        (rb".{4}(ftyp|moov|mdat)|\x1a\x45\xdf\xa3|RIFF.{4}AVI |\x00\x00\x01\xba|FLV\x01", _VIDEO),
        (rb"PK\x03\x04|Rar!|7z\xbc\xaf|\x1f\x8b|.{257}ustar", "an archive: unpack it"),
        (rb".{128}DICM", f"DICOM: {_CONVERT}"),
        (rb"\x93NUMPY", f"an array of NumPy: {_CONVERT}"),
        (rb"v/1\x01|#\?RADIANCE|#\?RGBE", f"a picture of floating-point numbers: {_CONVERT}"),
        (rb"P[Ff]\s", f"PFM, floating-point numbers: {_CONVERT}"),
        (rb"P7\s", f"PAM: {_CONVERT}"),
        (rb"\x89HDF\r\n\x1a\n|SIMPLE  =|DDS |BLP[12]|\x59\xa6\x6a\x95|icns", _UNREAD),
        (rb"\x01\xda[\x00\x01][\x01\x02]|\x0a[\x00-\x05]\x01[\x01\x02\x04\x08]", _UNREAD),
    )
)


def why_refused(content: bytes, found: str | None) -> str:
    """Says what the file is instead of a picture that is read.

    Args:
        found: its format by `formats.format_of`.
    """
    if found in _NAMES:
        return f"{found}, {_NAMES[found]}: {_CONVERT}"
    if found in _PACKAGES:
        return f"{found}: {_CONVERT}, or install {_PACKAGES[found]}"
    if found:
        return f"{found}: {_CONVERT}"
    return next((name for start, name in _OTHERS if start.match(content)), "not an image")
