"""Reading images that are files; `test_mindrecord` has the shards."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mixnet_core.data.index import Index, read_index
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.data.reading import contents
from mixnet_core.errors import DatasetError
from tests.data.samples import data, write_image_folder


@pytest.fixture(params=["links", "in_place"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Index:
    images = write_image_folder(tmp_path / "images", {"ant": 9, "bee": 9})
    settings = data("image_folder", images, layout=request.param)
    return read_index(Path(prepare_dataset(settings, tmp_path / "datasets").root), "train")


def test_files_come_in_the_order_asked_for_whichever_thread_reads_them(index: Index) -> None:
    order = np.array([3, 0, 3, 7])
    expected = [(index.root / index.paths[position]).read_bytes() for position in order]
    assert len(set(expected)) == 3
    with ThreadPoolExecutor(3) as pool:
        found = [pool.submit(content) for content in contents(index, order)]
        assert [future.result() for future in found] == expected


def test_a_file_is_read_when_it_is_called(index: Index) -> None:
    files = list(contents(index, np.array([1, 2])))
    (index.root / index.paths[1]).unlink()
    assert files[1]()
    with pytest.raises(DatasetError, match="No such file"):
        files[0]()


def test_a_file_of_another_size_is_refused(index: Index) -> None:
    path = index.root / index.paths[0]
    size = path.stat().st_size
    path.unlink()
    path.write_bytes(b"short")
    (content,) = contents(index, np.array([0]))
    with pytest.raises(DatasetError, match=f"it has 5 bytes, not {size} as prepared"):
        content()
    (content,) = contents(replace(index, sizes=None), np.array([0]))
    assert content() == b"short"
