"""Data that lives in a store: `data.path` is s3://bucket/prefix, and sources read a mirror of it.

Sources know folders only. What they say of the mirror's folder is said of the URI.
"""

from __future__ import annotations

import posixpath
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from mixnet_core.data.pictures import KNOWN_SUFFIXES
from mixnet_core.data.source import source_of
from mixnet_core.data.split_names import candidates
from mixnet_core.errors import DatasetError, InputError, MixnetError
from mixnet_core.recipe.sections import Data
from mixnet_core.storage.files import os_errors_explained
from mixnet_core.storage.mirror.mirror import Fetched, Mirror, OnFetched, Plan
from mixnet_core.storage.mirror.one_object import fetched_file
from mixnet_core.storage.mirror.patience import OUTAGE_SECONDS, Patience
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.schemes.file import FileStorage
from mixnet_core.storage.storage import Listed, Objects, Storage
from mixnet_core.storage.uris import refuse_credentials, shown

MOST_LOOKED_AT = 100_000
"""Objects; of more a check says only that, as listing them takes minutes."""

# Of a file that is no picture by its name: whether it is one shows in its first bytes, and lists
# are read whole. A check fetches no archives.
_MOST_READ_BYTES = 64 << 20
_MOST_READ = 200
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_TEXTS = (".csv", ".txt", ".json", ".jsonl")


def ignored(fetched: Fetched) -> None:
    """Does nothing: for callers that do not watch."""


def is_stored(path: str | None) -> bool:
    """Tells whether a path is the URI of a place, s3://bucket/prefix, and no folder's."""
    return path is not None and _URI.match(path) is not None


def canonical(path: str) -> str:
    """Returns a path of data as recipes keep it: a URI without a slash at its end, or absolute.

    Raises:
        InputError: it is the URI of no store, or holds credentials.
        MachineError: this machine's configuration for the store is broken.
    """
    refuse_credentials(path)
    if not is_stored(path):
        return str(Path(path).expanduser().absolute())
    storage = open_storage(path)
    return str(storage.root) if isinstance(storage, FileStorage) else storage.uri


def mirror_of(uri: str) -> Mirror:
    """Opens the mirror of a store's place; nothing is contacted yet.

    Raises:
        InputError, MachineError: as `canonical`.
    """
    storage = open_storage(uri)
    if not hasattr(storage, "objects"):
        raise InputError(f"data cannot be read from {shown(uri)}: expected s3://bucket/prefix")
    return Mirror(cast(Objects, storage))


@contextmanager
def local(data: Data, on_fetched: OnFetched) -> Iterator[Data]:
    """Yields a section whose path is a folder of this machine, with all that is in the store.

    Raises:
        MixnetError: as `Mirror.fetched`, and `DataSource.stored_at` and `expect_digests`; and what
            the block raises, in words of the URI.
    """
    data = _labels_here(data, on_fetched)
    if not is_stored(data.path):
        yield data
        return
    source = source_of(data)
    with _as_data():
        uri = _through(on_fetched, lambda: source.stored_at(data.path or ""))
        folder = _folder(uri)
        if folder is None:
            mirror = mirror_of(uri)
            folder = mirror.fetched(on_fetched)
            with _in_words_of(uri, folder):
                source.expect_digests(folder, mirror.digests)
    with _in_words_of(uri, folder):
        yield data.model_copy(update={"path": str(folder)})


@contextmanager
def outline(data: Data) -> Iterator[tuple[Data | None, str]]:
    """Yields a section whose path is a folder that looks as the store's, and what is to be fetched.

    Pictures have no content there. Nothing but what lists and other small files say is fetched.

    Yields:
        None instead of a section where there are too many objects to look at, or into; "" where
        all is on this machine anyway.

    Raises:
        MixnetError: as `local`.
    """
    data = _labels_here(data, ignored, seconds=0)
    if not is_stored(data.path):
        yield data, ""
        return
    with _as_data():
        uri = source_of(data).stored_at(data.path or "")
    folder = _folder(uri)
    if folder is not None:
        yield data.model_copy(update={"path": str(folder)}), ""
        return
    mirror = mirror_of(uri)
    with _as_data():
        plan = mirror.plan(MOST_LOOKED_AT)
    if plan is None:
        yield None, f"more than {MOST_LOOKED_AT:,} objects, looked at when they are prepared"
        return
    if (unnamed := _unnamed(plan)) > _MOST_READ:
        yield None, f"{plan}; what {unnamed:,} without a suffix are is looked at then"
        return
    with mirror.outlined(plan, _needed(plan)) as folder, _in_words_of(uri, folder):
        yield data.model_copy(update={"path": str(folder)}), str(plan)


@contextmanager
def glimpse(path: str) -> Iterator[Path]:
    """Yields a folder with what shows of a place by its names: enough to tell which source it is.

    Names at the top, and of folders that are splits; the content of small files at the top. A
    handful of requests, whatever there is.

    Args:
        path: a folder's, which is yielded itself, or a URI.

    Raises:
        MixnetError: as `local`.
    """
    folder = _folder(path) if is_stored(path) else Path(path)
    if folder is not None:
        yield folder
        return
    storage = open_storage(path)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / storage.uri.rpartition("/")[2]
        with os_errors_explained(root):
            _glimpsed(storage, root)
        with _in_words_of(path, root):
            yield root


@contextmanager
def glimpsed(data: Data) -> Iterator[Data]:
    """Yields a section whose path is a folder from which its source tells its classes.

    Raises:
        MixnetError: as `local`.
    """
    if not is_stored(data.path):
        yield data
        return
    with glimpse(data.path or "") as folder:
        yield data.model_copy(update={"path": str(folder)})


def _glimpsed(storage: Storage, root: Path) -> None:
    root.mkdir()
    names = [name for name in storage.names() if _is_plain(name)]
    if not names and cast(Objects, storage).stands_at():
        raise DatasetError(
            f"{shown(storage.uri)} is one object: expected the prefix that it stands below"
        )
    if not names:
        raise DatasetError(f"nothing is below {shown(storage.uri)}: check the URI")
    folders = [name.removesuffix("/") for name in names if name.endswith("/")]
    splits = {*candidates(folders, "train"), *candidates(folders, "val")}
    for name in folders:
        (root / name).mkdir()
        if name in splits:
            for inside in filter(_is_plain, storage.names(name)):
                if inside.endswith("/"):
                    (root / name / inside).mkdir()
                else:
                    (root / name / inside).touch()
    for name in names:
        if not name.endswith("/"):
            (root / name).touch()
            # IDX files say their classes in their labels.
            if posixpath.splitext(name)[1].lower() in _TEXTS or "-ubyte" in name:
                (root / name).write_bytes(storage.read(name))


def _labels_here(data: Data, on_fetched: OnFetched, seconds: float = OUTAGE_SECONDS) -> Data:
    """Fetches the file of labels where it is an object: it is small, and named by itself."""
    if not is_stored(data.val_labels):
        return data
    with _as_data():
        path = fetched_file(data.val_labels or "", on_fetched, seconds)
    return data.model_copy(update={"val_labels": str(path)})


def _through(on_fetched: OnFetched, ask: Callable[[], str]) -> str:
    """Asks a store once it answers; what is said of the waiting goes to whoever watches."""
    return Patience(OUTAGE_SECONDS, lambda line: on_fetched(Fetched(0, 0, line))).through(ask)


def _is_plain(name: str) -> bool:
    # The rest is refused when all is listed (`storage.mirror.shape`).
    return name.strip("/") not in ("", ".", "..") and "\0" not in name


def _needed(plan: Plan) -> Callable[[Listed], bool]:
    """Returns which files of a store a check has to read."""
    lists, others = set(), []
    for file in plan.missing:
        suffix = posixpath.splitext(file.key)[1].lower()
        if "/" not in file.key and suffix in _TEXTS:
            lists.add(file.key)
        elif file.bytes <= _MOST_READ_BYTES and suffix not in KNOWN_SUFFIXES:
            others.append(file.key)
    # Those that stand higher say more: IDX files, classes.
    others.sort(key=lambda key: (key.count("/"), key))
    read = lists | set(others[:_MOST_READ])
    return lambda file: file.key in read


def _unnamed(plan: Plan) -> int:
    """Counts objects that only their first bytes tell from pictures, as names have no suffix."""
    return sum(1 for file in plan.missing if not posixpath.splitext(file.key)[1])


def _folder(uri: str) -> Path | None:
    """Returns the folder of a `file://` URI; None: it is another store's."""
    storage = open_storage(uri)
    return storage.root if isinstance(storage, FileStorage) else None


@contextmanager
def _as_data() -> Iterator[None]:
    """Makes of a mistake in what was asked one in the dataset."""
    try:
        yield
    except InputError as error:
        if type(error) is not InputError:
            raise
        raise DatasetError(str(error)) from error


@contextmanager
def _in_words_of(uri: str, folder: Path) -> Iterator[None]:
    """Says what is said of a folder of the mirror of the URI."""
    names = [str(folder), str(folder.resolve())]
    try:
        yield
    except MixnetError as error:
        error.args = tuple(_replaced(part, names, shown(uri)) for part in error.args)
        for name, value in vars(error).items():
            setattr(error, name, _replaced(value, names, shown(uri)))
        raise


def _replaced(value: object, names: list[str], uri: str) -> object:
    if isinstance(value, str):
        for name in names:
            value = value.replace(name, uri)
    return value
