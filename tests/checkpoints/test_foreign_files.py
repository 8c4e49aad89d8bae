from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mixnet_core.checkpoints.file_format import read_format
from mixnet_core.checkpoints.pytorch_files import STREAM_MAGIC
from mixnet_core.errors import InputError, IntegrityError, MixnetError


class Bomb:
    """Would make a file if it were unpickled."""

    path = ""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def zipped(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return out.getvalue()


def npz() -> bytes:
    out = io.BytesIO()
    np.savez(out, a=np.ones(3), b=np.ones(2))
    return out.getvalue()


def npy() -> bytes:
    out = io.BytesIO()
    np.save(out, np.ones(3))
    return out.getvalue()


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("mixnet.ckpt"))
    return out.getvalue()


# What exporters write first: ONNX's version and producer, MindIR's version and producer.
ONNX = b"\x08\x07\x12\x07pytorch\x1a\x052.1.0:\xd8\x02" + bytes(200)
MINDIR = b"\x0a\x050.3.0\x12\x09MindSpore\x1a\x062.10.0" + bytes(200)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 16823\n"
XML = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'

FOREIGN: dict[str, tuple[Callable[[], bytes], type[MixnetError], str]] = {
    "torch": (lambda: zipped(archive__data_dot_pkl=b"x"), IntegrityError, "its pickle is damaged"),
    "torch's program": (
        lambda: zipped(a__data_dot_pkl=b"x", a__constants_dot_pkl=b"x"),
        InputError,
        "a program of PyTorch .*: save the state-dict",
    ),
    "a pickle": (lambda: pickle.dumps({"a": 1}, protocol=2), InputError, "a pickle, as Paddle"),
    "paddle": (lambda: pickle.dumps({"a": 1}, protocol=4), InputError, r"PaddlePaddle \(.pdparams"),
    "npz": (npz, InputError, "arrays of numpy"),
    "npy": (npy, InputError, "an array of numpy"),
    "zip": (lambda: zipped(mixnet_dot_ckpt=b"x"), InputError, r"an archive \(zip\).*: unpack it"),
    "tar": (tar, InputError, r"an archive \(tar\).*: unpack it"),
    "gzip": (lambda: gzip.compress(b"x" * 99), InputError, r"an archive \(gzip\)"),
    "keras": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(99), InputError, "an HDF5 file, as Keras"),
    "om": (lambda: b"IMOD" + bytes(300), InputError, "an offline model for Ascend"),
    "onnx": (lambda: ONNX, InputError, "an ONNX file, which training does not start from"),
    "mindir": (lambda: MINDIR, InputError, "an exported graph of MindSpore"),
    "tflite": (lambda: b"\x1c\x00\x00\x00TFL3" + bytes(99), InputError, "TensorFlow Lite"),
    "encrypted": (lambda: b"\xd8\x5e\x3a\x7f" + bytes(range(99)), InputError, "an encrypted check"),
    "empty": (lambda: b"", IntegrityError, r"\(it is empty\)"),
    "login": (lambda: b"\n<!DOCTYPE html><html>Log in", IntegrityError, "a page of a server"),
    "store's": (lambda: XML, IntegrityError, "a page of a server, as for a log-in or an error"),
    "lfs": (lambda: LFS, IntegrityError, "a pointer of Git LFS.*: run `git lfs pull`"),
    "json": (lambda: b'{"error": "gone"}', IntegrityError, r"text \(JSON\), not the file"),
    "text": (lambda: b"404: Not Found\n", IntegrityError, "text that begins '404: Not Found'"),
    "cut zip": (lambda: zipped(a=b"x")[:30], IntegrityError, "cut short"),
    "random": (lambda: bytes(range(256)) * 9, IntegrityError, "it does not begin as one"),
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors", ".pth"])
def test_what_is_no_checkpoint_is_named_by_its_content_in_one_line(
    name: str, suffix: str, tmp_path: Path
) -> None:
    make, error, message = FOREIGN[name]
    path = tmp_path / f"w{suffix}"
    path.write_bytes(make())
    with pytest.raises(error, match=message) as raised:
        read_format(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert type(raised.value) is error


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    Bomb.path = str(tmp_path / "ran")
    stream = STREAM_MAGIC + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    for number, (content, said) in enumerate(
        (
            (pickle.dumps(Bomb()), "never opened"),
            (
                zipped(archive__data_dot_pkl=pickle.dumps(Bomb())),
                r"holds '\w+\.open', which only run",
            ),
            (stream + pickle.dumps(Bomb(), 2), r"holds '\w+\.open', which only running"),
            (STREAM_MAGIC + pickle.dumps(Bomb(), 2), r"holds '\w+\.open', which only running"),
        )
    ):
        path = tmp_path / f"{number}.ckpt"
        path.write_bytes(content)
        with pytest.raises(InputError, match=said):
            read_format(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize(
    "start",
    [b"\x80\x00", b"\x80\x02", b"\x80\x05", b"\x1f\x8b", b"BZh", b"\x0a\x02", b"\x08\x07\x12"],
)
def test_the_length_of_safetensors_header_is_taken_for_no_other_programs_mark(
    start: bytes, cut: bool, tmp_path: Path
) -> None:
    path = tmp_path / "w.safetensors"
    header = (
        b'{"__metadata__":{"by":"MindSpore"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    )
    length = int.from_bytes(start, "little")
    content = length.to_bytes(8, "little") + header.ljust(length) + bytes(4)
    path.write_bytes(content[:100] if cut else content)
    if cut:
        with pytest.raises(IntegrityError, match="it ends after 100 bytes, within its header"):
            read_format(path)
    else:
        found = read_format(path)
        assert (found.format, found.shapes) == ("safetensors", {"a": (1,)})


def test_a_secret_in_the_text_that_came_instead_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "w.ckpt"
    path.write_bytes(b"s3://user:password@host/x is not allowed")
    with pytest.raises(IntegrityError) as raised:
        read_format(path)
    assert "password" not in str(raised.value)
