"""The job's files: the list of pictures, and features of a number that is known at the end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mixnet_core.data.named_pictures import NamedPicture
from mixnet_core.evaluate.picture_list import read_list, write_list
from mixnet_core.evaluate.predicting import FeatureFile


def test_a_list_gives_back_what_was_written_whatever_the_names_are(tmp_path: Path) -> None:
    pictures = [NamedPicture(f"{'x' * 300}/{i}.png", "why not" * (i % 3)) for i in range(1000)]
    pictures += [NamedPicture("two\nlines\t.png"), NamedPicture("caf\udce9.png", "a reason")]
    told: list[int] = []
    assert write_list(tmp_path / "list", iter(pictures), told.append) == len(pictures)
    assert told == list(range(1, 1003))
    assert list(read_list(tmp_path / "list")) == pictures


@pytest.mark.parametrize("count", [1, 7, 12345])
def test_features_are_an_array_that_numpy_reads_and_maps(tmp_path: Path, count: int) -> None:
    features = np.random.default_rng(1).normal(size=(count, 24)).astype(np.float32)
    file = FeatureFile(tmp_path / "f.npy")
    for first in range(0, count, 500):
        file.add(features[first : first + 500])
    file.close()
    np.testing.assert_array_equal(np.load(tmp_path / "f.npy"), features)
    mapped = np.load(tmp_path / "f.npy", mmap_mode="r")
    assert (mapped.shape, mapped.dtype, mapped.offset % 64) == ((count, 24), np.float32, 0)
