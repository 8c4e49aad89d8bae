"""A host that does not see the images says so, before the others wait for its ranks."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.errors import InputError
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.stages.images_here import expect_images_here
from tests.data.samples import data, write_image_folder

HERE = HostRanks(each=1, hosts=2, host=1)


@pytest.mark.parametrize("layout", ["links", "in_place"])
def test_what_a_host_does_not_see_is_named(tmp_path: Path, layout: str) -> None:
    images = write_image_folder(tmp_path / "images", {"ant": 6, "bee": 4}, {"bee": 2})
    section = data("image_folder", images).model_copy(update={"layout": layout})
    dataset = prepare_dataset(section, tmp_path / "datasets")
    expect_images_here(dataset, HERE)
    # As a mirror on another host's own disk: links lead to it, or the manifest does.
    gone = images / "val" if layout == "in_place" else Path(dataset.root) / "val"
    gone.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=rf"host 1 of 2 does not see {gone}/.*MIXNET_CACHE"):
        expect_images_here(dataset, HERE)
    mounted = dataset.model_copy(update={"root": "/mnt/other/datasets/d"})
    with pytest.raises(InputError, match="does not see /mnt/other/datasets/d, which host 0 prep"):
        expect_images_here(mounted, HERE)
