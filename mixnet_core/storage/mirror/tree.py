"""A folder that looks as the prefix does: links to what was fetched, or its outline."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from mixnet_core.errors import InputError
from mixnet_core.storage.files import folder_aside, os_errors_explained
from mixnet_core.storage.mirror.pool import Pool
from mixnet_core.storage.mirror.shape import Shape
from mixnet_core.storage.storage import Listed
from mixnet_core.storage.uris import shown

# What file systems without hard links answer.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def build_tree(target: Path, name: str, shape: Shape, pool: Pool) -> None:
    """Makes `target/name/` from a pool that has all files; it appears all at once.

    Raises:
        InputError: two keys are one name here, as where letters' case does not count.
        MachineError: it cannot be written.
    """
    with folder_aside(target) as aside:
        _fill(aside / name, shape, pool.path, name)


def tree_is_whole(folder: Path, shape: Shape) -> bool:
    """Tells whether a folder still has each file with its size: people tidy up.

    Raises:
        MachineError: it cannot be looked at.
    """
    with os_errors_explained(folder, "read"):
        try:
            return all(
                os.stat(f"{folder}/{file.key}").st_size == file.bytes  # noqa: PTH116
                for file in shape.files
            ) and all((folder / path).is_dir() for path in shape.folders)
        except (FileNotFoundError, NotADirectoryError):
            return False


def build_outline(
    folder: Path, shape: Shape, pool: Pool, on_missing: Callable[[Listed, Path], None]
) -> None:
    """Fills a new folder with what is in the pool and with files without content, of their sizes.

    Args:
        on_missing: is given an object that is not in the pool, and the path of its empty file.

    Raises:
        InputError, MachineError: as `build_tree`.
    """

    def source(file: Listed) -> Path | None:
        return pool.path(file) if pool.has(file) else None

    with os_errors_explained(folder):
        _fill(folder, shape, source, str(folder), on_missing)


def _fill(
    root: Path,
    shape: Shape,
    source: Callable[[Listed], Path | None],
    where: str,
    on_missing: Callable[[Listed, Path], None] | None = None,
) -> None:
    root.mkdir(parents=True, exist_ok=True)
    made = {root}
    for path in shape.folders:
        (root / path).mkdir(parents=True, exist_ok=True)
    for file in shape.files:
        target = root / file.key
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        found = source(file)
        try:
            if found is not None:
                _link(found, target)
            else:
                with target.open("xb") as empty:
                    empty.truncate(file.bytes)
        except FileExistsError:
            raise InputError(
                f"{where} has two keys for one name of this file system, one is "
                f"{shown(file.key)!r}: rename it, or set MIXNET_CACHE to a folder on another one"
            ) from None
        if found is None and on_missing is not None:
            on_missing(file, target)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in (*_NO_LINKS, errno.EXDEV):
            raise
        target.symlink_to(source)
