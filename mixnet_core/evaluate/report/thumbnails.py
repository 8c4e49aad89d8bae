"""Small pictures of a few images, as `data:` URIs for a page that stands alone."""

from __future__ import annotations

import base64
from collections.abc import Iterable

import cv2
import numpy as np

from mixnet_core.data.index import Index
from mixnet_core.data.pixels import decoded
from mixnet_core.data.reading import contents
from mixnet_core.errors import DatasetError

_SIDE = 160
_QUALITY = 80


def thumbnails(index: Index, positions: Iterable[int]) -> dict[str, str]:
    """Makes small pictures of the images at these positions.

    An image that cannot be read any more is left out: a report does not fail for a picture.

    Returns:
        path -> `data:` URI of a JPEG whose longer side has 160 pixels, or of a PNG where the image
        has no more.
    """
    wanted = sorted(set(positions))
    files = contents(index, np.array(wanted, np.int64))
    found = {}
    for position, content in zip(wanted, files, strict=True):
        try:
            found[index.paths[position]] = _thumbnail(content())
        except (DatasetError, ValueError):
            continue
    return found


def _thumbnail(content: bytes) -> str:
    image = decoded(content)
    height, width = image.shape[:2]
    scale = _SIDE / max(height, width)
    kind, options = "png", []
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        kind, options = "jpeg", [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    _, encoded = cv2.imencode(f".{kind}", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    return f"data:image/{kind};base64,{base64.b64encode(encoded.tobytes()).decode()}"
