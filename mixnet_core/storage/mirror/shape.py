"""What objects below a prefix are as files and folders; which keys cannot be any."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from mixnet_core.errors import InputError
from mixnet_core.storage.storage import Listed
from mixnet_core.storage.uris import shown

# Of Linux; what stands before a path here is shorter than the rest of 4,096.
_NAME_BYTES = 255
_PATH_BYTES = 3000
# A key is quoted up to here: one that is too long is too long to be read.
_SHOWN = 100


@dataclass(frozen=True)
class Shape:
    """Lists what a prefix holds.

    Attributes:
        files: by key, which is a file's path from the prefix.
        folders: paths of markers, objects without bytes that some tools leave for a folder.
    """

    files: tuple[Listed, ...]
    folders: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """Returns the size of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def digest(self) -> str:
        """Returns hex sha256 of what is where: another one as soon as an object changed."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{file.key}\0{file.bytes}\0{file.version}\0".encode())
        digest.update("\0".join(("", *self.folders)).encode())
        return digest.hexdigest()


def shape_of(uri: str, objects: Iterable[Listed]) -> Shape:
    """Tells files from folders.

    Raises:
        InputError: keys cannot be paths; none is left out in silence, or put where it leads.
    """
    files: list[Listed] = []
    folders: list[str] = []
    refused: list[tuple[str, str]] = []
    for item in objects:
        is_marker = item.key.endswith("/")
        path = item.key.removesuffix("/") if is_marker else item.key
        why = _why_none(path) or ("a folder's with bytes" if is_marker and item.bytes else "")
        if why:
            refused.append((item.key, why))
        elif is_marker:
            folders.append(path)
        else:
            files.append(item)
    names = {file.key for file in files}
    above = {part for path in (*names, *folders) for part in _above(path)}
    both = sorted(names & (above | set(folders)))
    refused += [(key, "a file and a folder at once") for key in both]
    if refused:
        key, why = refused[0]
        more = f", as are {len(refused) - 1:,} more" if len(refused) > 1 else ""
        raise InputError(
            f"{shown(uri)} has a key that is no file's name here, {_short(key)!r} ({why}){more}: "
            "rename it, or name a prefix without it"
        )
    return Shape(tuple(files), tuple(sorted(folders)))


def _why_none(path: str) -> str:
    """Says why a key is no path below a folder; "" where it is one."""
    parts = path.split("/")
    if path.startswith("/"):
        return "a slash comes first"
    if "" in parts:
        return "two slashes follow each other"
    if "." in parts or ".." in parts:
        return "it leads elsewhere"
    if "\0" in path:
        return "it has a NUL"
    if any(len(part.encode()) > _NAME_BYTES for part in parts):
        return f"a name of more than {_NAME_BYTES} bytes"
    if len(path.encode()) > _PATH_BYTES:
        return f"more than {_PATH_BYTES:,} bytes"
    return ""


def _above(path: str) -> Iterable[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _short(key: str) -> str:
    return shown(key) if len(key) <= _SHOWN else f"{shown(key[:_SHOWN])}..."
