"""Numbered records in a folder of the registry: the newest counts, and none is ever changed.

    aliases/production/000001.json   000002.json   ...
    retirements/digits-1/000001.json

The next number is made by create-if-absent: of two writers that both read number 6, one makes
number 7 and the other is told. That needs no store that can replace under a condition, and what
was before stays to be read.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from mixnet_core.errors import InputError, IntegrityError, ReleaseConflict
from mixnet_core.storage.faults import faults
from mixnet_core.storage.storage import Storage
from mixnet_core.storage.trial import require_refusal
from mixnet_core.storage.uris import shown

_NAME = re.compile(r"(\d{6,9})\.json")


class Record(BaseModel):
    """Stays as it was written, and refuses keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Numbered(Generic[R]):
    """Pairs a record with its number, the first of which is 1."""

    number: int
    record: R


def newest(storage: Storage, folder: str, kind: type[R]) -> Numbered[R] | None:
    """Reads the newest record of a folder; None if it has none.

    Raises:
        IntegrityError: it is no such record.
        MixnetError: as `storage.Storage`.
    """
    numbers = _numbers(storage, folder)
    return _read(storage, folder, numbers[-1], kind) if numbers else None


def records(storage: Storage, folder: str, kind: type[R]) -> list[Numbered[R]]:
    """Reads all records of a folder, the oldest first.

    Raises:
        IntegrityError, MixnetError: as `newest`.
    """
    return [_read(storage, folder, number, kind) for number in _numbers(storage, folder)]


def add_record(storage: Storage, folder: str, after: Numbered[R] | None, record: R) -> None:
    """Adds a record after the one that was the newest when it was decided on.

    Args:
        after: that one; None where there was none.

    Raises:
        ReleaseConflict: another writer added one meanwhile.
        MachineError: the store does not refuse to overwrite, so nobody could be told.
        MixnetError: as `storage.Storage`.
    """
    key = key_of(folder, after.number + 1 if after else 1)
    text = json.dumps(record.model_dump(mode="json"), indent=2, sort_keys=True, ensure_ascii=False)
    content = f"{text}\n".encode()
    if not storage.create(key, content):
        raise ReleaseConflict(
            f"{shown(storage.uri)}/{key} was made by another writer meanwhile: look at what it "
            "says, then give the command again if it is still meant"
        )
    if not storage.single_writer:
        require_refusal(storage, key, content)


def key_of(folder: str, number: int) -> str:
    """Returns the key of a record."""
    return f"{folder}/{number:06d}.json"


def _numbers(storage: Storage, folder: str) -> list[int]:
    found = (_NAME.fullmatch(name) for name in storage.names(folder))
    return sorted(int(match[1]) for match in found if match)


def _read(storage: Storage, folder: str, number: int, kind: type[R]) -> Numbered[R]:
    key = key_of(folder, number)
    try:
        return Numbered(number, kind.model_validate_json(storage.read(key)))
    except ValidationError as error:
        raise IntegrityError(
            f"{shown(storage.uri)}/{key} is no usable record ({faults(error)}): restore it, or "
            "delete it if the one before it is to count"
        ) from None
    except InputError as error:
        raise IntegrityError(f"{error}; it was listed a moment ago") from error
