"""What C libraries print while an image is decoded."""

from __future__ import annotations

import ctypes
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from mixnet_core.data.decoder_words import heard_from_decoders
from mixnet_core.data.inspection import WARNED, Unusable, inspected
from tests.data.odd_picture import OddPicture
from tests.data.odd_pictures import corpus

BY_NAME = {picture.name: picture for picture in corpus()}
NOISY = BY_NAME["jpeg-garbage-between-segments"]
BAD_PROFILE = BY_NAME["png-profile-of-nonsense"]


def say(words: bytes) -> None:
    """Prints as a C library does."""
    library = ctypes.CDLL(None)
    stream = ctypes.c_void_p.in_dll(library, "stderr")
    library.fputs(words, stream)


@pytest.mark.parametrize(
    ("picture", "words"), [(NOISY, "Corrupt JPEG data"), (BAD_PROFILE, "libpng warning: iCCP")]
)
def test_a_decoders_warning_is_the_images(
    picture: OddPicture, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    found = inspected(picture.content)
    assert words in found.warning
    assert "\n" not in found.warning
    assert WARNED in found.notes.split()
    assert capfd.readouterr().err == ""


def test_nothing_of_the_corpus_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    for picture in corpus():
        with suppress(Unusable):
            inspected(picture.content)
    assert capfd.readouterr().err == ""


def test_in_threads_a_line_belongs_to_the_image_of_its_thread() -> None:
    quiet = BY_NAME["png-6-8"]
    pictures = [NOISY, quiet, BAD_PROFILE, quiet] * 100
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda it: inspected(it.content).warning, pictures))
    expected = [inspected(it.content).warning for it in pictures[:4]]
    assert found == expected * 100
    assert [bool(words) for words in expected] == [True, False, True, False]


def test_other_threads_and_python_print_as_ever(capfd: pytest.CaptureFixture[str]) -> None:
    with heard_from_decoders() as said:
        other = threading.Thread(target=say, args=(b"of another thread\n",))
        other.start()
        other.join()
        say(b"of this one\n")
        sys.stderr.write("of Python\n")
    assert said == ["of this one"]
    assert capfd.readouterr().err.splitlines() == ["of another thread", "of Python"]


def test_afterwards_c_prints_as_ever(capfd: pytest.CaptureFixture[str]) -> None:
    usual = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "stderr").value
    with heard_from_decoders():
        assert ctypes.c_void_p.in_dll(ctypes.CDLL(None), "stderr").value != usual
    assert ctypes.c_void_p.in_dll(ctypes.CDLL(None), "stderr").value == usual
    say(b"later\n")
    assert capfd.readouterr().err == "later\n"


def test_an_error_of_the_decoder_goes_through(capfd: pytest.CaptureFixture[str]) -> None:
    heard: list[list[str]] = []

    def fail() -> None:
        with heard_from_decoders() as said:
            heard.append(said)
            say(b"before\n")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert heard == [["before"]]
    assert capfd.readouterr().err == ""
