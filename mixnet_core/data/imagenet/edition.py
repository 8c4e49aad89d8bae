"""ILSVRC2012 as it was published: how many images, and the digests of its archives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Role = Literal["train", "val", "devkit"]


@dataclass(frozen=True)
class Edition:
    """Describes what was published.

    Attributes:
        images: split -> how many.
        md5: role of an archive -> hex digest of the file.
    """

    images: Mapping[str, int]
    md5: Mapping[Role, str]


# Counts: Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, table 2
# (arXiv:1409.0575). Digests: of ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and
# ILSVRC2012_devkit_t12.tar.gz, as torchvision checks them (torchvision/datasets/imagenet.py).
ILSVRC2012 = Edition(
    images={"train": 1_281_167, "val": 50_000},
    md5={
        "train": "1d675b47d978889d74fa0da5fadfb00e",
        "val": "29b22e2961454d5413ddabcf34fc5622",
        "devkit": "fa75699e90414af021442c21a62c3abf",
    },
)
