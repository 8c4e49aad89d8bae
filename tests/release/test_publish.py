"""On a folder and on a real S3 server alike."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.errors import InputError, IntegrityError, ReleaseConflict
from mixnet_core.release import publish
from mixnet_core.release.manifest import released_name
from mixnet_core.release.publish import publish_release
from mixnet_core.release.registry import list_releases, read_release, release_names
from mixnet_core.runs.values import Release
from mixnet_core.storage.files import sha256_of
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.schemes.file import FileStorage

FACTS: dict[str, Any] = {"variant": "s", "classes": ("0", "1"), "val": {"top1": 0.5, "count": 10}}

PUBLISHERS = 24


@pytest.fixture
def files(weights: Path, tmp_path: Path) -> dict[str, Path]:
    report = tmp_path / "Report.MD"
    report.write_text("# Report\n")
    return {"weights": weights, "report_markdown": report}


def overwrite(to: str, key: str, content: bytes) -> None:
    """As someone would who has no respect for releases."""
    if to.startswith("file:"):
        (Path(to.removeprefix("file://")) / key).write_bytes(content)
    else:
        storage: Any = open_storage(to)
        bucket, _, prefix = to.removeprefix("s3://").partition("/")
        storage._client.put_object(Bucket=bucket, Key=f"{prefix}/{key}", Body=content)


def test_a_release_reads_back_as_it_was_published(to: str, files: dict[str, Path]) -> None:
    release = publish_release("digits-1", registry=to, files=files, facts=FACTS)
    assert not release.reused
    assert release.uri == f"{to}/digits-1"
    read = read_release(release.uri)
    assert read.manifest_sha256 == release.manifest_sha256
    assert read.facts == {**FACTS, "classes": ["0", "1"]}
    storage = open_storage(to)
    for role, path in files.items():
        file = read.files[role]
        assert file.name == f"{role}-{file.sha256[:12]}{path.suffix.lower()}"
        assert release.files[role] == file.name
        assert file.bytes == path.stat().st_size
        assert storage.read(f"digits-1/{file.name}") == path.read_bytes()
    assert storage.names("digits-1") == sorted([*release.files.values(), "manifest.json"])


def test_the_same_release_again_changes_nothing(to: str, files: dict[str, Path]) -> None:
    first = publish_release("digits-1", registry=to, files=files, facts=FACTS)
    shuffled = dict(reversed(FACTS.items()))
    again = publish_release(
        "digits-1", registry=to, files=dict(reversed(files.items())), facts=shuffled
    )
    assert again == first.model_copy(update={"reused": True})


def test_missing_and_damaged_files_of_it_are_put_right(
    to: str, files: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    release = publish_release("digits-1", registry=to, files=files, facts=FACTS)
    key = f"digits-1/{release.files['weights']}"
    content = files["weights"].read_bytes()
    overwrite(to, key, bytes([content[0] ^ 1]) + content[1:])
    with caplog.at_level(logging.WARNING, "mixnet_core"):
        assert publish_release("digits-1", registry=to, files=files, facts=FACTS).reused
    assert open_storage(to).read(key) == content
    assert [record.getMessage() for record in caplog.records] == [
        f"{to}/{key} was missing or damaged: put right"
    ]


def test_another_release_under_the_name_is_a_conflict_that_says_what_differs(
    to: str, files: dict[str, Path], tmp_path: Path
) -> None:
    release = publish_release("digits-1", registry=to, files=files, facts=FACTS)
    before = open_storage(to).names("digits-1")
    other = tmp_path / "other.ckpt"
    other.write_bytes(b"other")
    with pytest.raises(ReleaseConflict) as caught:
        publish_release(
            "digits-1",
            registry=to,
            files={"weights": other, "recipe": other, "report_markdown": files["report_markdown"]},
            facts={**FACTS, "variant": "m", "seed": None},
        )
    message = str(caught.value)
    assert "differs in recipe, weights, facts.seed, facts.variant" in message
    assert "publish under another name" in message
    assert "\n" not in message
    assert open_storage(to).names("digits-1") == before
    assert read_release(release.uri).manifest_sha256 == release.manifest_sha256


def test_one_and_true_are_different_facts_and_the_order_of_keys_is_none(
    to: str, files: dict[str, Path]
) -> None:
    same = {"b": 1, "a": 1}
    publish_release("digits-1", registry=to, files=files, facts={"same": same, "n": 1})
    with pytest.raises(ReleaseConflict, match=r"differs in facts\.n\)"):
        publish_release("digits-1", registry=to, files=files, facts={"same": same, "n": True})


def race(publish: Any) -> list[Release | ReleaseConflict]:
    start = threading.Barrier(PUBLISHERS)

    def run(number: int) -> Release | ReleaseConflict:
        start.wait(60)
        try:
            result: Release = publish(number)
        except ReleaseConflict as error:
            return error
        return result

    with ThreadPoolExecutor(PUBLISHERS) as pool:
        return list(pool.map(run, range(PUBLISHERS)))


def test_of_24_racing_publishers_of_different_releases_one_wins(
    to: str, files: dict[str, Path]
) -> None:
    results = race(
        lambda number: publish_release("raced", registry=to, files=files, facts={"number": number})
    )
    winners = [number for number, result in enumerate(results) if isinstance(result, Release)]
    assert len(winners) == 1
    assert read_release(f"{to}/raced").facts == {"number": winners[0]}


def test_24_racing_publishers_of_the_same_release_all_succeed(
    to: str, files: dict[str, Path]
) -> None:
    results = race(lambda number: publish_release("raced", registry=to, files=files, facts=FACTS))
    releases = [result for result in results if isinstance(result, Release)]
    assert len(releases) == PUBLISHERS
    assert sum(not release.reused for release in releases) == 1
    assert len({release.manifest_sha256 for release in releases}) == 1


CRASH = """
import os, sys
from pathlib import Path
from mixnet_core.release.publish import publish_release
from mixnet_core.storage.schemes.file import FileStorage
{storage}.create = lambda *_: os._exit(9)
files = {{"weights": Path(sys.argv[2])}}
publish_release("digits-1", registry=sys.argv[1], files=files, facts={{}})
"""


def test_a_crash_before_the_manifest_leaves_no_release_and_the_next_publish_completes(
    to: str, weights: Path
) -> None:
    imported = "FileStorage" if to.startswith("file:") else "S3Storage"
    code = CRASH.format(storage=imported)
    if imported == "S3Storage":
        code = "from mixnet_core.storage.schemes.s3 import S3Storage\n" + code
    done = subprocess.run([sys.executable, "-c", code, to, str(weights)], check=False, timeout=60)
    assert done.returncode == 9
    assert len(open_storage(to).names("digits-1")) == 1
    assert list_releases(to) == []
    with pytest.raises(InputError, match="no release at"):
        read_release(f"{to}/digits-1")
    assert not publish_release("digits-1", registry=to, files={"weights": weights}, facts={}).reused
    assert release_names(to) == ["digits-1"]


END = """
import os, signal, sys
from pathlib import Path
from mixnet_core.release.publish import publish_release
from mixnet_core.storage.storage import Storage
from mixnet_core.storage.open import open_storage
to, *paths, when = sys.argv[1:]
kind = type(open_storage(to))
create = kind.create
def end(*_):
    os.kill(os.getpid(), signal.SIGINT)
def ended(self, key, content):
    if not key.endswith("/manifest.json"):
        return create(self, key, content)
    if when == "after":
        create(self, key, content)
    end()
if when != "files":
    kind.create = ended
files = dict(zip(("weights", "report"), map(Path, paths)))
told = end if when == "files" else None
publish_release("digits-1", registry=to, files=files, facts={}, on_bytes=told)
"""


def ended(to: str, weights: Path, report: Path, when: str) -> None:
    """Publishes in a process that gets Ctrl-C among its files, before or after its manifest."""
    done = subprocess.run(
        [sys.executable, "-c", END, to, str(weights), str(report), when],
        check=False, timeout=60, capture_output=True, text=True,
    )  # fmt: skip
    assert "KeyboardInterrupt" in done.stderr


def test_what_is_ended_on_purpose_takes_back_what_it_stored_and_nothing_else(
    to: str, files: dict[str, Path]
) -> None:
    report = files["report_markdown"]
    # Left by another publisher, who may be at work.
    sha256 = sha256_of(report)
    stands = f"digits-1/{released_name('report', sha256, report.suffix)}"
    open_storage(to).upload(report, stands, sha256)
    ended(to, files["weights"], report, "files")
    assert [item.key for item in open_storage(to).listed()] == [stands]


def test_what_is_ended_on_purpose_after_its_manifest_stands_whole(
    to: str, files: dict[str, Path]
) -> None:
    ended(to, files["weights"], files["report_markdown"], "after")
    assert release_names(to) == ["digits-1"]
    assert len(open_storage(to).names("digits-1")) == 3


def test_once_its_manifest_is_sent_nothing_is_taken_back(to: str, files: dict[str, Path]) -> None:
    # A store that is slow stores it after all.
    ended(to, files["weights"], files["report_markdown"], "before")
    assert len(open_storage(to).names("digits-1")) == 2


def test_who_ends_it_while_the_store_stands_still_is_not_kept_waiting(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(publish, "_SECONDS_TO_END", 0.2)
    stands_still = threading.Event()

    def end(done: int, total: int | None) -> None:
        monkeypatch.setattr(FileStorage, "remove", lambda *_: stands_still.wait(60))
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        publish_release("r", registry=str(tmp_path / "to"), files=files, facts={}, on_bytes=end)
    assert time.monotonic() - began < 10
    stands_still.set()
    assert "what was stored of r is left: the store took more than 0.2 s" in caplog.text


def test_releases_are_listed_by_name_and_a_broken_one_is_passed_over_with_a_warning(
    to: str, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert list_releases(to) == []
    for name in ("c", "a", "b"):
        publish_release(name, registry=to, files={"weights": weights}, facts={"is": name})
    overwrite(to, "stray.txt", b"")
    overwrite(to, "b/manifest.json", b"{")
    with caplog.at_level(logging.WARNING):
        assert [release.facts["is"] for release in list_releases(to)] == ["a", "c"]
    assert "release passed over" in caplog.text
    assert release_names(to) == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "/abs", "Upper", ".hidden", "a\0"])
def test_a_name_that_could_leave_the_place_is_refused(
    name: str, files: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="not a usable name"):
        publish_release(name, registry=str(tmp_path / "r"), files=files, facts={})
    with pytest.raises(InputError, match="not a usable name"):
        publish_release(
            "fine", registry=str(tmp_path / "r"), files={**files, name: files["weights"]}, facts={}
        )
    assert not (tmp_path / "r").exists()


def test_a_name_that_no_release_can_have_is_not_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="release 'Digits-1' is not a usable name"):
        read_release((tmp_path / "Digits-1").as_uri())


def test_what_cannot_be_a_release_is_refused_before_anything_is_stored(
    files: dict[str, Path], tmp_path: Path
) -> None:
    to = str(tmp_path / "r")
    with pytest.raises(InputError, match="no file in the role 'weights'"):
        publish_release("a", registry=to, files={"report": files["report_markdown"]}, facts={})
    with pytest.raises(InputError, match=r"no file at .*gone for the role 'weights'"):
        publish_release("a", registry=to, files={"weights": tmp_path / "gone"}, facts={})
    for value in (float("nan"), object(), {1, 2}):
        with pytest.raises(InputError, match="are no JSON") as caught:
            publish_release("a", registry=to, files=files, facts={"x": value})
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format"),
        ({"extra": 1}, "extra"),
        ({"name": "../up"}, "not a usable name"),
        ({"name": "other"}, "is of a release named 'other'"),
        ({"files": {}}, "no file in the role 'weights'"),
        ({"facts": []}, "facts"),
        ({"weights": {"name": "../../etc/passwd"}}, "not a usable name"),
        ({"weights": {"name": "weights-000000000000.ckpt"}}, "does not carry its role and digest"),
        ({"weights": {"sha256": "short"}}, r"files\.weights\.sha256"),
        ({"weights": {"bytes": "12"}}, r"files\.weights\.bytes"),
    ],
)
def test_an_edited_manifest_is_refused(
    weights: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    release = publish_release(
        "digits-1", registry=str(tmp_path), files={"weights": weights}, facts={}
    )
    path = tmp_path / "digits-1" / "manifest.json"
    data = json.loads(path.read_text())
    data["files"]["weights"] |= change.pop("weights", {})
    path.write_text(json.dumps(data | change))
    with pytest.raises(IntegrityError, match=message) as caught:
        read_release(release.uri)
    assert "\n" not in str(caught.value)


def test_a_moved_folder_of_releases_is_still_the_same_releases(
    files: dict[str, Path], tmp_path: Path
) -> None:
    first = publish_release("digits-1", registry=str(tmp_path / "a"), files=files, facts=FACTS)
    shutil.move(tmp_path / "a", tmp_path / "b")
    again = publish_release("digits-1", registry=str(tmp_path / "b"), files=files, facts=FACTS)
    assert again.reused
    assert again.manifest_sha256 == first.manifest_sha256
