"""Images that are files already: checked where they are, or linked or copied from there."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixnet_core.data.account import LINES_NAMED, several
from mixnet_core.data.inspection import Unusable, inspected
from mixnet_core.data.source import Files, ImageFile, Images
from mixnet_core.errors import DatasetError, UnusableImage
from mixnet_core.storage.files import os_errors_explained

_log = logging.getLogger(__name__)

_PUT_BACK = "put it back, or delete the folder and run `mixnet prepare imagenet` again"


def files_as_images(
    root: Path,
    paths: Sequence[str],
    names: tuple[str, ...],
    labels: NDArray[np.int32],
    known: Sequence[ImageFile] | None = None,
) -> Images:
    """Makes images of files below `root`, which are read when they are checked or written.

    Args:
        paths: from `root`, with slashes.
        names, labels: as `Images`.
        known: each file's digest and size, as a listing has them: only the size is compared; None:
            the file is read and decoded to find out.
    """

    warnings = _DecoderWarnings()

    def check(position: int) -> ImageFile:
        if known:
            return _as_listed(root / paths[position], known[position])
        return _checked(root / paths[position], warnings)[1]

    def write(position: int, target: Path) -> ImageFile:
        file, listed = root / paths[position], known[position] if known else None
        return _linked_or_copied(file, target, listed, warnings)

    # Absolute: whoever reads the prepared dataset later works in another folder.
    return Images(names, labels, write, Files(root.resolve(), tuple(paths), check))


def expect_usable(unusable: Sequence[UnusableImage], total: int) -> None:
    """Makes sure that there is no image that cannot be used.

    Args:
        total: images that were looked at.

    Raises:
        DatasetError: there are; the first are named.
    """
    if len(unusable) == 1:
        raise unusable[0]
    if unusable:
        named = [f"{image.file} ({image.reason})" for image in unusable[:LINES_NAMED]]
        raise DatasetError(
            f"{len(unusable):,} of {total:,} images cannot be used: "
            f"{several(named, len(unusable))}; replace or remove them"
        )


class _DecoderWarnings:
    """Tells what decoders say of images that they read, with the file's name; may be in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    def tell(self, file: Path, warning: str) -> None:
        """Logs a warning, or after many once that there are more."""
        with self._lock:
            self._count += 1
            count = self._count
        if count <= LINES_NAMED:
            _log.warning("%s is used, but its decoder says: %s", file, warning)
        elif count == LINES_NAMED + 1:
            _log.warning("decoders say something of more images, which are not named")


def _checked(file: Path, warnings: _DecoderWarnings) -> tuple[bytes, ImageFile]:
    with os_errors_explained(file, "read"):
        content = file.read_bytes()
    try:
        warning = inspected(content).warning
    except Unusable as error:
        raise UnusableImage(str(file), str(error)) from error
    if warning:
        warnings.tell(file, warning)
    return content, ImageFile(hashlib.sha256(content).hexdigest(), len(content))


def _as_listed(file: Path, known: ImageFile) -> ImageFile:
    try:
        size = file.stat().st_size
    except OSError as error:
        raise DatasetError(
            f"{file} is listed, but cannot be read ({error.strerror}): {_PUT_BACK}"
        ) from error
    if size != known.bytes:
        raise DatasetError(f"{file} has {size} bytes, its listing says {known.bytes}: {_PUT_BACK}")
    return known


def _linked_or_copied(
    source: Path, target: Path, known: ImageFile | None, warnings: _DecoderWarnings
) -> ImageFile:
    """Checks an image, then hard-links it, or copies it where the file system does not allow that.

    A link costs no space, but shares its content with the original: writing into the original
    later changes the prepared image as well, and its recorded digest no longer fits. Replacing the
    original by a new file, as most tools do, or deleting it leaves the prepared image as it was.
    """
    content, found = (b"", _as_listed(source, known)) if known else _checked(source, warnings)
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        if known:
            with os_errors_explained(source, "read"):
                content = source.read_bytes()
            if hashlib.sha256(content).hexdigest() != known.sha256:
                raise DatasetError(
                    f"{source} has another content than its listing says: {_PUT_BACK}"
                ) from None
        target.write_bytes(content)
    return found
