"""Looking into images: what is noted, what is refused, and that it is what cannot be decoded."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest

from mixnet_core.data.formats import HEAD_BYTES, format_of
from mixnet_core.data.headers import FORMATS
from mixnet_core.data.inspection import WARNED, Inspected, Unusable, header, inspected
from mixnet_core.data.pixels import decoded
from tests.data.odd_picture import OddPicture
from tests.data.odd_pictures import corpus, damaged

USED = [pytest.param(it, id=it.name) for it in corpus() if it.pixels is not None]
REFUSED = [pytest.param(it, id=it.name) for it in corpus() if it.pixels is None]
SECONDS = 20.0


def plain_notes(found: Inspected) -> str:
    return " ".join(word for word in found.notes.split() if word != WARNED)


@pytest.mark.parametrize("picture", USED)
def test_what_is_decoded_is_not_refused(picture: OddPicture) -> None:
    found = inspected(picture.content)
    assert picture.pixels is not None
    assert (found.height, found.width) == picture.pixels.shape[:2]
    if picture.notes is not None:
        assert plain_notes(found) == picture.notes
    # Without decoding it says the same.
    assert header(picture.content) == found._replace(notes=plain_notes(found), warning="")


@pytest.mark.parametrize("picture", REFUSED)
def test_what_cannot_be_decoded_is_refused_in_a_line(picture: OddPicture) -> None:
    with pytest.raises(Unusable) as caught:
        inspected(picture.content)
    said = str(caught.value)
    assert re.search(picture.reason, said), said
    assert "\n" not in said
    assert " object at " not in said


def test_every_format_that_is_read_is_in_the_corpus() -> None:
    used = {format_of(it.content[:HEAD_BYTES]) for it in corpus() if it.pixels is not None}
    assert used == set(FORMATS) - {"HEIC"}


@pytest.mark.parametrize("seed", range(4))
def test_damaged_pictures_are_refused_exactly_where_decoding_does(seed: int) -> None:
    random = np.random.default_rng(seed)
    pictures = [it for it in corpus() if it.content]
    for _ in range(400):
        picture = pictures[random.integers(len(pictures))]
        content = damaged(picture.content, random)
        began = time.monotonic()
        try:
            shape: tuple[int, ...] | None = decoded(content).shape
        except ValueError:
            shape = None
        try:
            found = inspected(content)
            assert shape == (found.height, found.width, 3), picture.name
        except Unusable:
            assert shape is None, picture.name
        assert time.monotonic() - began < SECONDS, picture.name


def test_where_no_frame_follows_the_search_for_it_ends() -> None:
    # The last 0xFF is where a frame no longer fits.
    for content in (b"\xff\xd8\xff\xe0\0\2" + bytes(50) + b"\xff\0\0", b"\xff\xd8" + b"\xff" * 50):
        with pytest.raises(Unusable, match="without a picture"):
            inspected(content)


def test_a_note_that_cannot_be_made_is_left_out() -> None:
    assert {it.notes for it in corpus() if it.name.startswith("jpeg-exif-rational")} == {"", None}
