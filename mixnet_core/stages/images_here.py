"""Whether a host that joins a training sees the images that another one prepared."""

from __future__ import annotations

from pathlib import Path

from mixnet_core.data.index import images_root, read_manifest, read_rows
from mixnet_core.errors import InputError
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.runs.values import PreparedDataset


def expect_images_here(dataset: PreparedDataset, ranks: HostRanks) -> None:
    """Makes sure that a dataset's folder, and the first image of val, are here.

    The others are not looked at: whoever prepared them has done that, and they are on one disk.

    Raises:
        InputError: they are not.
        MixnetError: the dataset is damaged, as `data.index.read_rows`.
    """
    missing = _missing(dataset)
    if missing is not None:
        raise InputError(
            f"{ranks.named} does not see {missing}, which host 0 prepared: workspace and images, "
            "and MIXNET_CACHE where they came from a store, have to be on a disk that all hosts "
            "share, at the same path without links to another one"
        )


def _missing(dataset: PreparedDataset) -> Path | None:
    root = Path(dataset.root)
    if not root.is_dir():
        return root
    manifest = read_manifest(root)
    if manifest["layout"] == "mindrecord":
        first = root / manifest["shards"]["val"][0]["file"]
    else:
        first = images_root(root, manifest) / read_rows(root, "val")[0].path
    # A link that leads nowhere here is none.
    return None if first.exists() else first
