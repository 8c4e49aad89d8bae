"""On a folder and on a real S3 server alike."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mixnet_core.errors import InputError, IntegrityError, ReleaseConflict, TransientError
from mixnet_core.release import aliases, deletion_marks
from mixnet_core.release.aliases import alias_history, all_aliases, find_alias
from mixnet_core.release.catalog import find_release, resolved_name, stands_for
from mixnet_core.release.initial import find_initial
from mixnet_core.release.manifest import PublishedRelease
from mixnet_core.release.promotion import bring_back, demote, promote, retire
from mixnet_core.release.publish import publish_release
from mixnet_core.release.registry import read_release, release_names
from mixnet_core.release.retirements import FOLDER as RETIREMENTS
from mixnet_core.release.standing import standings
from mixnet_core.release.start import find_start
from mixnet_core.storage.open import open_storage
from tests.registries import keys, make_release, overwrite


def test_an_alias_is_found_wherever_a_name_is_and_what_is_found_has_its_own_name(
    to: str, tmp_path: Path
) -> None:
    first = make_release("digits-1", to, tmp_path)
    assert promote("production", "digits-1", to)
    for found in (
        find_release("production", to),
        find_release(f"{to}/production", to),
        find_initial("production", to),
        read_release(f"{to}/production"),
    ):
        assert isinstance(found, PublishedRelease)
        assert (found.name, found.uri) == ("digits-1", first.uri)
    assert resolved_name("production", to) == "digits-1"
    assert resolved_name(f"{to}/production", to) == first.uri
    assert stands_for("digits-1", first) is None
    # What a run writes into its recipe.
    assert find_start("production", to).stands_for == "digits-1"
    assert find_start("digits-1", to).stands_for is None
    assert release_names(to) == ["digits-1"]


def test_it_goes_over_to_another_release_and_keeps_what_it_stood_for(
    to: str, tmp_path: Path
) -> None:
    for name in ("digits-1", "digits-2"):
        make_release(name, to, tmp_path)
    assert promote("production", "digits-1", to)
    assert not promote("production", "digits-1", to)
    assert promote("production", "digits-2", to)
    # Of an alias: of what it stands for.
    assert promote("candidate", "production", to)
    assert demote("production", to).release == "digits-2"
    storage = open_storage(to)
    assert [
        (item.number, item.record.release) for item in alias_history(storage, "production")
    ] == [(1, "digits-1"), (2, "digits-2"), (3, None)]
    assert [(item.alias, item.release) for item in all_aliases(storage)] == [
        ("candidate", "digits-2")
    ]
    with pytest.raises(InputError, match="no release 'production'"):
        find_release("production", to)
    with pytest.raises(InputError, match=r"no alias 'production' at .*: expected one of candidate"):
        demote("production", to)
    # A removed one's name is free for a release.
    make_release("production", to, tmp_path)
    assert find_release("production", to).name == "production"


def test_names_of_releases_aliases_and_catalog_entries_never_meet(to: str, tmp_path: Path) -> None:
    make_release("digits-1", to, tmp_path)
    for name, why in (
        ("digits-1", "is a release at"),
        ("mixnet_s-910v2", "is a catalog entry"),
        ("revalidations", "is a folder of the registry's own"),
        ("Production", "not a usable name"),
        ("../up", "not a usable name"),
    ):
        with pytest.raises(InputError, match=why):
            promote(name, "digits-1", to)
    with pytest.raises(InputError, match=r"no release 'digits-l'.* \(did you mean digits-1\?\)"):
        promote("production", "digits-l", to)
    promote("production", "digits-1", to)
    before = keys(to)
    with pytest.raises(InputError, match=r"'production' is an alias at .*of digits-1"):
        make_release("production", to, tmp_path)
    for folder in ("aliases", "retirements", "deletions", "revalidations"):
        with pytest.raises(InputError, match="a folder of the registry's own"):
            make_release(folder, to, tmp_path)
    assert keys(to) == before


def test_an_alias_does_not_follow_the_name_to_another_release(to: str, tmp_path: Path) -> None:
    first = make_release("digits-1", to, tmp_path)
    promote("production", "digits-1", to)
    for file in ("manifest.json", *(file.name for file in first.files.values())):
        overwrite(to, f"digits-1/{file}", None)
    with pytest.raises(InputError, match="stands for release digits-1, which is not at"):
        read_release(f"{to}/production")
    make_release("digits-1", to, tmp_path, weights=b"others")
    with pytest.raises(IntegrityError, match="alias production was set to release digits-1 with"):
        find_release("production", to)
    assert find_release("digits-1", to).name == "digits-1"


def test_of_24_writers_that_set_it_at_once_each_is_told_whether_it_did(
    to: str, tmp_path: Path
) -> None:
    names = [f"digits-{number}" for number in range(24)]
    releases = [make_release(name, to, tmp_path) for name in names]
    start = threading.Barrier(24)

    def set_it(release: PublishedRelease) -> bool:
        start.wait(30)
        try:
            return aliases.set_alias(open_storage(to), "production", release)
        except ReleaseConflict:
            return False

    with ThreadPoolExecutor(24) as pool:
        done = list(pool.map(set_it, releases))
    history = [item.record.release for item in alias_history(open_storage(to), "production")]
    assert sorted(str(name) for name in history) == sorted(
        name for name, is_done in zip(names, done, strict=True) if is_done
    )
    found = find_alias(open_storage(to), "production")
    assert found is not None
    assert found.release == history[-1]


def test_a_release_that_is_being_deleted_is_not_promoted_and_the_alias_is_as_before(
    to: str, tmp_path: Path
) -> None:
    for name in ("digits-1", "digits-2"):
        make_release(name, to, tmp_path)
    promote("production", "digits-1", to)
    storage = open_storage(to)
    with (
        deletion_marks.marked(storage, "digits-2"),
        pytest.raises(TransientError, match="digits-2 is being deleted: nothing was changed"),
    ):
        promote("production", "digits-2", to)
    found = find_alias(storage, "production")
    assert found is not None
    assert found.release == "digits-1"
    assert promote("production", "digits-2", to)


def test_a_broken_record_is_named_and_hides_nothing_else(to: str, tmp_path: Path) -> None:
    make_release("digits-1", to, tmp_path)
    promote("production", "digits-1", to)
    for content in (b"{", b'{"format": 2}', b'{"format":1,"alias":"production","release":"../x"'):
        overwrite(to, "aliases/production/000001.json", content)
        with pytest.raises(IntegrityError, match=r"aliases/production/000001\.json is no usable"):
            find_release("production", to)
    assert find_release("digits-1", to).name == "digits-1"
    assert [item.release.name for item in standings(to)] == ["digits-1"]


def test_a_record_of_another_alias_is_not_followed_and_setting_it_again_mends_that(
    to: str, tmp_path: Path
) -> None:
    for alias, name in (("staging", "digits-1"), ("production", "digits-2")):
        make_release(name, to, tmp_path)
        promote(alias, name, to)
    record = open_storage(to).read("aliases/staging/000001.json")
    overwrite(to, "aliases/production/000002.json", record)
    with pytest.raises(IntegrityError, match="is a record of alias staging, not of production"):
        read_release(f"{to}/production")
    promote("production", "digits-2", to)
    assert read_release(f"{to}/production").name == "digits-2"


def test_starting_from_a_retired_release_warns_with_the_reason_until_it_is_taken_back(
    to: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_release("digits-1", to, tmp_path)
    make_release("digits-2", to, tmp_path)
    promote("production", "digits-1", to)
    with caplog.at_level(logging.WARNING):
        assert retire("digits-1", to, why="labels of 3 and 5 were swapped")
        assert "alias production still stands for digits-1" in caplog.text
        assert not retire("digits-1", to, why="labels of 3 and 5 were swapped")
        caplog.clear()
        find_release("digits-2", to)
        assert caplog.messages == []
        find_release("production", to)
    (said,) = caplog.messages
    assert said.endswith(
        "digits-1 is retired (labels of 3 and 5 were swapped): better start from another one"
    )
    with pytest.raises(InputError, match=r"digits-1 is retired \(labels of 3 and 5 were swapped\)"):
        promote("candidate", "digits-1", to)
    bring_back("digits-1", to, why="they were not")
    assert promote("candidate", "digits-1", to)
    with pytest.raises(InputError, match="digits-1 is not retired"):
        bring_back("digits-1", to, why="again")
    assert open_storage(to).names(f"{RETIREMENTS}/digits-1") == ["000001.json", "000002.json"]


@pytest.mark.parametrize(
    "why", ["", "  ", "two\nlines", "x" * 501, "see s3://key:secret@bucket/report"]
)
def test_a_reason_is_one_line_without_secrets(why: str, tmp_path: Path) -> None:
    to = (tmp_path / "r").as_uri()
    make_release("digits-1", to, tmp_path)
    with pytest.raises(InputError) as caught:
        retire("digits-1", to, why=why)
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "r" / RETIREMENTS).exists()


def test_a_retirement_is_of_one_manifest(tmp_path: Path) -> None:
    to = (tmp_path / "r").as_uri()
    make_release("digits-1", to, tmp_path)
    retire("digits-1", to, why="mistrained")
    (tmp_path / "r" / "digits-1" / "manifest.json").unlink()
    make_release("digits-1", to, tmp_path, weights=b"others")
    assert promote("production", "digits-1", to)


def test_a_store_that_overwrites_is_refused_unless_nobody_else_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mixnet_core.errors import MachineError
    from mixnet_core.storage.schemes.file import FileStorage

    to = (tmp_path / "r").as_uri()
    release = make_release("digits-1", to, tmp_path)

    def overwriting(self: FileStorage, key: str, content: bytes) -> bool:
        (self.root / key).parent.mkdir(parents=True, exist_ok=True)
        (self.root / key).write_bytes(content)
        return True

    monkeypatch.setattr(FileStorage, "create", overwriting)
    with pytest.raises(MachineError, match="does not refuse to overwrite"):
        aliases.set_alias(open_storage(to), "production", release)
    assert aliases.set_alias(open_storage(to, single_writer=True), "staging", release)


def test_publishing_again_confirms_a_release_that_an_alias_stands_for(
    to: str, tmp_path: Path
) -> None:
    file = tmp_path / "w.ckpt"
    file.write_bytes(b"weights")
    publish_release("digits-1", registry=to, files={"weights": file}, facts={})
    promote("production", "digits-1", to)
    assert publish_release("digits-1", registry=to, files={"weights": file}, facts={}).reused
