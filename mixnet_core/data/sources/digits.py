"""1,797 scanned digits, 8 x 8 pixels in 17 shades of grey, that scikit-learn carries (BSD)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from mixnet_core.data.download import Fetch
from mixnet_core.data.grey_png import grey_images
from mixnet_core.data.source import DataSource, Source
from mixnet_core.errors import MachineError
from mixnet_core.recipe.sections import Data

MISSING = (
    "data.source digits needs scikit-learn, which is not installed: run `pip install scikit-learn`"
)


class Digits(DataSource):
    """Opens the digits inside scikit-learn: nothing to download, no folder to name."""

    takes_path = False
    fixed_classes = True
    images_written = 1_797

    def classes(self, data: Data) -> tuple[str, ...]:
        """Returns "0" to "9"; raises what `open_digits` does."""
        return open_digits().classes

    def described(self, data: Data) -> str:
        """Names the digits."""
        return "digits, inside scikit-learn"

    def quick(self, data: Data, datasets: Path) -> Source | None:
        """Opens the digits; raises what `open_digits` does."""
        return open_digits()

    def open(self, data: Data, datasets: Path, fetch: Fetch) -> Source:
        """Opens the digits; raises what `open_digits` does."""
        return open_digits()


SOURCE = Digits()


def open_digits() -> Source:
    """Opens the digits: classes "0" to "9", without a val split of their own.

    Raises:
        MachineError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MachineError(MISSING) from error
    bundle = load_digits()
    sixteenths = bundle.images.astype(np.uint16)
    labels = bundle.target.astype(np.int32)
    pixels = ((sixteenths * 255 + 8) // 16).astype(np.uint8)
    content = hashlib.sha256(pixels.tobytes() + labels.astype("<i4").tobytes()).hexdigest()
    return Source(
        identity={"sha256": content},
        classes=tuple(str(digit) for digit in range(10)),
        train=grey_images(pixels, labels),
        val=None,
    )
