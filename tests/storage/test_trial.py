"""What a trial finds before the work: stores that do other things than they say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mixnet_core.errors import InputError, IntegrityError, MachineError, TransientError
from mixnet_core.storage.schemes.file import FileStorage
from mixnet_core.storage.trial import require_refusal, try_publishing


class Overwriting(FileStorage):
    def create(self, key: str, content: bytes) -> bool:
        self._path(key).write_bytes(content)
        return True


class Forgetting(FileStorage):
    def read(self, key: str) -> bytes:
        return b"something else"


class Mixing(FileStorage):
    def create(self, key: str, content: bytes) -> bool:
        super().create(key, b"another's")
        return super().create(key, content)


class Down(FileStorage):
    def create(self, key: str, content: bytes) -> bool:
        raise TransientError("no answer")

    def remove(self, key: str) -> None:
        raise TransientError("no answer either")


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        (Overwriting, MachineError, "does not refuse to overwrite .it wrote over what was there"),
        (Forgetting, IntegrityError, "reads back as sha256"),
        (Mixing, IntegrityError, "is there with other content, though its name is new"),
    ],
)
def test_a_store_that_cannot_be_published_to_is_told_and_left_empty(
    kind: type[FileStorage], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        try_publishing(kind(tmp_path), joined_by="/")
    assert files(tmp_path) == []


def test_the_first_error_is_told_where_nothing_can_be_deleted_either(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match=r"^no answer$"):
        try_publishing(Down(tmp_path), joined_by="/")


def test_one_object_that_cannot_be_deleted_keeps_no_other(tmp_path: Path) -> None:
    class Keeping(FileStorage):
        def remove(self, key: str) -> None:
            if key.endswith("upload"):
                raise MachineError("may not delete")
            super().remove(key)

    with pytest.raises(MachineError, match="may not delete"):
        try_publishing(Keeping(tmp_path), joined_by="-")
    (left,) = files(tmp_path)
    assert left.name.endswith("-upload")


def test_what_only_one_kind_of_store_has_is_tried_before_anything_is_deleted(
    tmp_path: Path,
) -> None:
    seen: list[tuple[str, int]] = []
    more: Callable[[str], None] = lambda key: seen.append((key, len(files(tmp_path))))  # noqa: E731
    try_publishing(FileStorage(tmp_path), joined_by="-", more=more)
    ((key, count),) = seen
    assert key.endswith("-more")
    assert count == 2
    assert files(tmp_path) == []


def test_a_store_that_refuses_passes(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path)
    storage.create("key", b"content")
    require_refusal(storage, "key", b"content")
    with pytest.raises(MachineError, match="--single-writer"):
        require_refusal(storage, "other", b"content")


def test_a_file_in_place_of_the_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is a file: expected a folder"):
        FileStorage(tmp_path / "file").names()
    with pytest.raises(MachineError, match="a part of the path is a file"):
        FileStorage(tmp_path / "file").check_writable()
