"""One object of a store as a file of this machine, by way of a mirror that has nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

from mixnet_core.storage.mirror.mirror import Mirror, OnFetched
from mixnet_core.storage.mirror.patience import OUTAGE_SECONDS
from mixnet_core.storage.open import open_object
from mixnet_core.storage.schemes.file import FileStorage
from mixnet_core.storage.storage import Listed, Objects


class OneObject:
    """Offers an object of a place as all that is there; `storage.storage.Objects`."""

    def __init__(self, objects: Objects, key: str) -> None:
        self._objects, self._key = objects, key
        self.uri, self.address = f"{objects.uri}/{key}", objects.address

    def objects(self, most: int | None = None, beginning: str = "") -> list[Listed]:
        """Lists it, if it is there."""
        found = self._objects.objects(1, self._key)
        return [item for item in found if item.key == self._key]

    def stands_at(self) -> bool:
        """Returns False: below it is nothing."""
        return False

    def receive(
        self,
        listed: Listed,
        begin: Callable[[], None],
        write: Callable[[bytes], object],
        *,
        start: int = 0,
        length: int | None = None,
    ) -> bool:
        """Reads it."""
        return self._objects.receive(listed, begin, write, start=start, length=length)


def fetched_file(uri: str, on_fetched: OnFetched, seconds: float = OUTAGE_SECONDS) -> Path:
    """Returns the path of an object's content, which is fetched unless it is here.

    Args:
        uri: s3://bucket/key, or file:///path.
        seconds: as of `Mirror.fetched`.

    Raises:
        InputError: there is no such object.
        MixnetError: as `Mirror.fetched`.
    """
    storage, key = open_object(uri)
    if isinstance(storage, FileStorage):
        return storage.root / key
    return Mirror(OneObject(cast(Objects, storage), key)).fetched(on_fetched, seconds) / key
