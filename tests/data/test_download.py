"""What download adds to a transfer, against a real server on this machine."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest

from mixnet_core.data.download import check_reachable, download
from mixnet_core.errors import DatasetError, DigestMismatch, MachineError, TransientError
from tests.web_server import Server

PLAIN = b"four labels" * 1000
CONTENT = gzip.compress(PLAIN, mtime=0)
SHA256 = hashlib.sha256(PLAIN).hexdigest()
REMEDY = "; or set data.path to a folder that has the files"


@pytest.fixture(autouse=True)
def compressed(server: Server) -> None:
    server.contents = [CONTENT]


def test_a_file_with_the_right_content_arrives_as_it_is(server: Server, tmp_path: Path) -> None:
    server.answers = [503, "cut", 200]
    download(server.url, tmp_path / "new" / "file.gz", SHA256)
    assert (tmp_path / "new" / "file.gz").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "file.gz"]


@pytest.mark.parametrize(
    "got",
    [gzip.compress(b"five labels"), CONTENT[:-1], PLAIN],
    ids=["another", "incomplete", "plain"],
)
def test_other_content_is_refused_at_once_and_leaves_nothing(
    server: Server, tmp_path: Path, got: bytes
) -> None:
    server.contents = [got]
    with pytest.raises(DigestMismatch, match=f"expected {SHA256}; nothing was kept: set data"):
        download(server.url, tmp_path / "file.gz", SHA256)
    assert list(tmp_path.iterdir()) == []
    assert len(server.asked) == 1


def test_a_refused_download_leaves_the_old_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.gz").write_bytes(b"old")
    with pytest.raises(DigestMismatch, match=f"has content sha256 {SHA256}, expected {'0' * 64}"):
        download(server.url, tmp_path / "file.gz", "0" * 64)
    assert (tmp_path / "file.gz").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("answer", "error", "cause", "asked"),
    [
        (404, DatasetError, "answered 404, expected 200: check the URL", 1),
        (503, TransientError, "it answered 503, 5 attempts in all; check the network", 5),
        ("cut", TransientError, "were missing, 5 attempts in all; check the network", 5),
    ],
)
def test_a_failed_transfer_says_how_to_do_without_and_leaves_nothing(
    server: Server,
    tmp_path: Path,
    answer: int | str,
    error: type[Exception],
    cause: str,
    asked: int,
) -> None:
    server.answers = [answer]
    with pytest.raises(error) as caught:
        download(server.url, tmp_path / "file.gz", SHA256)
    assert type(caught.value) is error
    assert cause in str(caught.value)
    assert str(caught.value).endswith(REMEDY)
    assert "\n" not in str(caught.value)
    assert len(server.asked) == asked
    assert list(tmp_path.iterdir()) == []


def test_a_fault_of_this_machine_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(MachineError, match=f"nobody.*{REMEDY}$"):
        download("s3://bucket/file.gz", tmp_path / "file.gz", SHA256)
    with pytest.raises(MachineError, match=f"nobody.*{REMEDY}$"):
        check_reachable("s3://bucket/file.gz")
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MachineError, match="a part of the path is a file"):
        download(server.url, tmp_path / "file" / "folder" / "file.gz", SHA256)
    assert server.asked == []


@pytest.mark.parametrize(("status", "error"), [(503, TransientError), (403, DatasetError)])
def test_reachability_is_asked_for_and_transfers_nothing(
    server: Server, status: int, error: type[Exception]
) -> None:
    check_reachable(server.url)
    server.answers = [status]
    with pytest.raises(error, match=f"answered {status}.*{REMEDY}$"):
        check_reachable(server.url)
    assert [line.split()[0] for line in server.asked] == ["HEAD", "HEAD", "GET"]
