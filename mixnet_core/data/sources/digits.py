"""1,797 scanned digits, 8 x 8 pixels in 17 shades of grey, that scikit-learn carries (BSD)."""

from __future__ import annotations

import hashlib

import numpy as np

from mixnet_core.data.sources.grey_png import grey_images
from mixnet_core.data.sources.source import Source
from mixnet_core.errors import MachineError

MISSING = (
    "data.source digits needs scikit-learn, which is not installed: pip install 'mixnet[demo]'"
)


def open_digits() -> Source:
    """Classes "0" to "9"; no val split of its own.

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
