"""What people take for weights and is read by nothing here, told by its first bytes.

A pickle is named and never opened, because loading one runs what it says. Only those of PyTorch are
read, without running them (`pytorch_files`).
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mixnet_core.checkpoints.pytorch_files import STREAM_MAGIC, is_torch_archive, is_torch_script
from mixnet_core.errors import InputError, IntegrityError, MixnetError
from mixnet_core.storage.uris import shown

_CONVERT = (
    "write its parameters under MindCV's or timm's names into a .safetensors file where the "
    "program that saved it is installed"
)
_FETCH = "fetch it again and look at what the server sent"
_UNPACK = "unpack it and give the file of weights inside"
_HEAD_BYTES = 512
# What safetensors itself reads at most.
LONGEST_SAFETENSORS_HEADER = 100_000_000


@dataclass(frozen=True)
class ForeignFile:
    """Describes a file that no weights are read from.

    Attributes:
        what: it is, as in "it is ...".
        advice: what to do.
        is_damage: whether the right file went wrong on its way; else another one was meant.
    """

    what: str
    advice: str
    is_damage: bool = False

    def refused(self, path: Path) -> MixnetError:
        """Returns what to raise for it."""
        if self.is_damage:
            return IntegrityError(
                f"{shown(str(path))} is not a readable checkpoint (it is {self.what}): "
                f"{self.advice}"
            )
        return InputError(
            f"{shown(str(path))} is {self.what}, expected weights as .ckpt, .safetensors or "
            f"PyTorch's .pth: {self.advice}"
        )


_BY_HEAD: tuple[tuple[bytes, ForeignFile], ...] = (
    (
        b"version https://git-lfs",
        ForeignFile(
            "a pointer of Git LFS, not the file itself", "run `git lfs pull` where it is", True
        ),
    ),
    (
        b"\x89HDF\r\n\x1a\n",
        ForeignFile("an HDF5 file, as Keras and TensorFlow write (.h5)", _CONVERT),
    ),
    (
        b"\xd8\x5e\x3a\x7f",
        ForeignFile("an encrypted checkpoint of MindSpore", "save it without enc_key"),
    ),
    (b"IMOD", ForeignFile("an offline model for Ascend (.om)", "give the .ckpt it was made from")),
    (b"GGUF", ForeignFile("a GGUF file", _CONVERT)),
    (b"\x93NUMPY", ForeignFile("an array of numpy (.npy)", _CONVERT)),
    (b"\x1f\x8b", ForeignFile("an archive (gzip)", _UNPACK)),
    (b"BZh", ForeignFile("an archive (bzip2)", _UNPACK)),
    (b"\xfd7zXZ\x00", ForeignFile("an archive (xz)", _UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", ForeignFile("an archive (7z)", _UNPACK)),
    (b"\x28\xb5\x2f\xfd", ForeignFile("an archive (zstd)", _UNPACK)),
    (b"Rar!", ForeignFile("an archive (rar)", _UNPACK)),
)
_PICKLE = ForeignFile(
    "a pickle, as PaddlePaddle (.pdparams) and others write, not torch.save, which could run any "
    "code and is never opened",
    _CONVERT,
)
_TORCH_SCRIPT = ForeignFile(
    "a program of PyTorch (TorchScript)",
    "save the state-dict, torch.save(module.state_dict(), PATH)",
)
_ONNX = ForeignFile(
    "an ONNX file, which training does not start from",
    "`mixnet evaluate` measures it where its name ends in .onnx; for training give the .ckpt that "
    "it was exported from",
)
_MINDIR = ForeignFile("an exported graph of MindSpore (.mindir)", "give the .ckpt it was made from")
_TFLITE = ForeignFile("a TensorFlow Lite file", _CONVERT)


def begins_as_safetensors(head: bytes) -> bool:
    """Tells whether a file announces a JSON header, whose length may look like any other's magic.

    Args:
        head: its first bytes, 9 or more. Nothing is said of what follows: the file may be cut.
    """
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and 2 <= length <= LONGEST_SAFETENSORS_HEADER


def foreign_file(file: BinaryIO) -> ForeignFile | None:
    """Says what a file is if it is no weights file of a kind that is read here.

    Args:
        file: of bytes, that can be sought in.

    Returns:
        None for a file that may hold weights, and for one that is not known.
    """
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    if not head:
        return ForeignFile("empty", "fetch or save it again", is_damage=True)
    if begins_as_safetensors(head):
        return None
    for start, found in _BY_HEAD:
        if head.startswith(start):
            return found
    if head.startswith(b"PK\x03\x04") or head.startswith(b"PK\x05\x06"):
        return _zip(file)
    if head.startswith(STREAM_MAGIC):
        return None
    if head[0] == 0x80 and head[1:2] and head[1] <= 5:
        return _PICKLE
    if head[257:262] == b"ustar":
        return ForeignFile("an archive (tar)", _UNPACK)
    if head[4:8] == b"TFL3":
        return _TFLITE
    if _is_onnx(head):
        return _ONNX
    if head[:1] == b"\x0a" and b"MindSpore" in head[:64]:
        return _MINDIR
    return _text(head)


def _zip(file: BinaryIO) -> ForeignFile | None:
    """Tells archives of PyTorch and numpy from others by the names in them; None: of PyTorch."""
    try:
        names = zipfile.ZipFile(file).namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return ForeignFile("an archive (zip) that is cut short", "fetch it again", is_damage=True)
    if is_torch_archive(names):
        return _TORCH_SCRIPT if is_torch_script(names) else None
    if names and all(name.endswith(".npy") for name in names):
        return ForeignFile("arrays of numpy (.npz)", _CONVERT)
    if any(name.endswith(".weights.h5") for name in names):
        return ForeignFile("a file of Keras (.keras)", _CONVERT)
    return ForeignFile("an archive (zip)", _UNPACK)


def _is_onnx(head: bytes) -> bool:
    """Says whether it begins as ONNX's ModelProto: a version, then its producer or a graph."""
    return len(head) > 3 and head[0] == 0x08 and head[1] < 0x40 and head[2] in (0x12, 0x1A, 0x3A)


def _text(head: bytes) -> ForeignFile | None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<error", b"<script")):
        return ForeignFile(
            "a page of a server, as for a log-in or an error, not the file", _FETCH, is_damage=True
        )
    if start.startswith((b"{", b"[")) and _is_text(head):
        return ForeignFile("text (JSON), not the file", _FETCH, is_damage=True)
    if _is_text(head):
        first = shown(" ".join(head.split(b"\n")[0].decode("utf-8", "replace").split())[:40])
        return ForeignFile(f"text that begins {first!r}", "check the path", is_damage=True)
    return None


def _is_text(head: bytes) -> bool:
    whole = head[: -4 if len(head) == _HEAD_BYTES else None]
    try:
        return whole.decode("utf-8").isprintable() or not any(
            byte < 9 or 13 < byte < 32 or byte == 127 for byte in whole
        )
    except UnicodeDecodeError:
        return False
