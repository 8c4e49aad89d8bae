"""Images that are files: what is told of those that decoders warn of."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mixnet_core.data.account import LINES_NAMED
from mixnet_core.data.file_images import files_as_images
from tests.data.odd_pictures import corpus

BY_NAME = {picture.name: picture.content for picture in corpus()}


def told(
    root: Path, contents: list[bytes], caplog: pytest.LogCaptureFixture, threads: int = 4
) -> list[str]:
    """What is logged while all of them are checked."""
    names = tuple(f"{i:03d}.jpg" for i in range(len(contents)))
    for name, content in zip(names, contents, strict=True):
        (root / name).write_bytes(content)
    images = files_as_images(root, names, names, np.zeros(len(names), np.int32))
    assert images.files is not None
    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(threads) as pool:
        list(pool.map(images.files.check, range(len(names))))
    return [record.getMessage() for record in caplog.records]


def test_an_image_that_its_decoder_warns_of_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    contents = [BY_NAME["jpeg-420"], BY_NAME["jpeg-garbage-between-segments"]]
    (line,) = told(tmp_path, contents, caplog)
    assert line.startswith(f"{tmp_path / '001.jpg'} is used, but its decoder says: Corrupt JPEG")
    assert "Corrupt" not in capfd.readouterr().err


def test_of_many_images_with_warnings_the_first_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = told(tmp_path, [BY_NAME["jpeg-jfif-odd"]] * (LINES_NAMED + 5), caplog)
    assert len(lines) == LINES_NAMED + 1
    assert sum("not named" in line for line in lines) == 1
