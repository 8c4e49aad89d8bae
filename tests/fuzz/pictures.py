"""Small files that people have in their datasets: pictures, sound and not, and what is none."""

from __future__ import annotations

import functools
import io
import zipfile

import numpy as np
from hypothesis import strategies as st
from PIL import Image

SIDE = 6
SOUND = ("JPEG", "PNG", "BMP", "PPM", "TIFF")
# Some versions read them, others say that they do not.
SOMETIMES = ("GIF", "WEBP", "MPO", "JPEG2000")
_CUT = "cut "
_OTHERS = {
    "empty": b"",
    "text": b"three of them\n",
    "page": b"<!doctype html><title>Moved</title>",
    "null": bytes(64),
    "video": b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(40),
    "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40),
    "photoshop": b"8BPS\0\1" + bytes(40),
    "icon": b"\0\0\1\0\1\0\x10\x10" + bytes(40),
    "raw": b"II*\0\x10\0\0\0CR\2\0" + bytes(40),
    "jpeg's head": b"\xff\xd8\xff\xe0\0\x10JFIF\0\1",
    "png's head": b"\x89PNG\r\n\x1a\n",
}

names = st.one_of(
    st.builds("{} {}".format, st.sampled_from(SOUND), st.integers(0, 40)),
    st.builds("{} {}".format, st.sampled_from([*SOUND, *SOMETIMES]), st.integers(0, 40)),
    st.sampled_from(list(_OTHERS)),
    st.builds("cut {} {}".format, st.sampled_from(SOUND), st.integers(0, 5)),
)
"""What a file holds: "JPEG 7" is the seventh picture of that format, "cut PNG 1" half of one."""


@functools.cache
def content(name: str) -> bytes:
    """The bytes of a file that holds what the name says."""
    if name in _OTHERS:
        return _OTHERS[name]
    if name == "archive":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("1.jpg", content("JPEG 1"))
        return packed.getvalue()
    if name.startswith(_CUT):
        whole = content(name.removeprefix(_CUT))
        return whole[: len(whole) // 2]
    form, _, number = name.partition(" ")
    pixels = np.random.default_rng(int(number)).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def is_sound(name: str) -> bool:
    """Whether it is a picture that every version reads."""
    return name.partition(" ")[0] in SOUND
