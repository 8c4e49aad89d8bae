"""What stands in a registry and is no release: the releases beside it are found all the same."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mixnet_core.errors import InputError
from mixnet_core.release import registry as registry_reading
from mixnet_core.release.catalog import find_release
from mixnet_core.release.publish import publish_release
from mixnet_core.release.registry import NO_RELEASES, list_releases, release_names, require_registry
from mixnet_core.revalidation.all_releases import items
from mixnet_core.revalidation.history import FOLDER
from tests.object_store import ObjectStore
from tests.storage.fault_proxy import Answer, FaultProxy, Forward, Request

STRAYS = {
    "a\\b": "'a\\\\b' (no release can be named so)",
    "a\x07\nb": "'a\\x07\\nb' (no release can be named so)",
    "Upper": "'Upper' (no release can be named so)",
    "lost+found": "'lost+found' (no release can be named so)",
    "half": "'half' (no manifest.json)",
}


@pytest.fixture
def registry(weights: Path, tmp_path: Path) -> Path:
    """A folder with the releases `first` and `good`."""
    for name in ("good", "first"):
        publish_release(
            name, registry=str(tmp_path / "r"), files={"weights": weights}, facts={"is": name}
        )
    return tmp_path / "r"


def expect_both(uri: str) -> None:
    assert release_names(uri) == ["first", "good"]
    assert [release.name for release in list_releases(uri)] == ["first", "good"]
    assert find_release("good", uri).name == "good"
    assert [item.name for item in items(uri, [])] == ["first", "good"]


@pytest.mark.parametrize("name", STRAYS)
def test_a_stray_folder_is_passed_over_and_said_once(
    name: str, registry: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (registry / name).mkdir()
    (registry / name / "weights.ckpt").touch()
    expect_both(str(registry))
    (line,) = caplog.messages
    assert line == f"passed over in {registry.as_uri()}: {STRAYS[name]}"


def test_what_belongs_there_or_is_hidden_is_not_said(
    registry: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in (FOLDER, ".Trash-1000", ".aside-x", ".snapshot"):
        (registry / name).mkdir()
    (registry / "README.txt").touch()
    expect_both(str(registry))
    assert caplog.messages == []
    assert FOLDER in NO_RELEASES


def test_many_strays_are_one_line(registry: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(8):
        (registry / f"no {number}").mkdir()
    expect_both(str(registry))
    (line,) = caplog.messages
    assert line.count("no release can be named so") == 5
    assert line.endswith(", and 3 more")


def test_a_damaged_manifest_hides_no_other(
    registry: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, content in {"cut": b'{"format": 1, "na', "text": b"\xff\xfe", "list": b"[]"}.items():
        (registry / name).mkdir()
        (registry / name / "manifest.json").write_bytes(content)
    assert [release.name for release in list_releases(str(registry))] == ["first", "good"]
    assert [line.partition("/manifest.json")[0].rpartition("/")[2] for line in caplog.messages] == [
        "cut", "list", "text",
    ]  # fmt: skip
    assert find_release("good", str(registry)).name == "good"


def test_a_release_that_vanishes_while_they_are_listed_is_passed_over(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = registry_reading.read_published

    def vanishing(storage: object, name: str) -> object:
        if name == "first":
            (registry / "first" / "manifest.json").unlink()
        return read(storage, name)  # type: ignore[arg-type]

    monkeypatch.setattr(registry_reading, "read_published", vanishing)
    assert [release.name for release in list_releases(str(registry))] == ["good"]


@pytest.mark.parametrize(
    "stray", ["/", "a\\b/", "%01/", "../", "x%0Ay/", "%20/"], ids=lambda text: repr(text)
)
def test_a_stray_key_on_s3_is_passed_over(
    stray: str, s3_environment: ObjectStore, weights: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    prefix = uuid.uuid4().hex
    uri = f"s3://releases/{prefix}"
    for name in ("good", "first"):
        publish_release(name, registry=uri, files={"weights": weights}, facts={})
    # SeaweedFS tidies up names, Amazon keeps them.
    with FaultProxy(s3_environment.endpoint_url, listing_too(f"{prefix}/{stray}")) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        expect_both(uri)
    (line,) = caplog.messages
    assert line.endswith("(no release can be named so)")
    assert line.isprintable()


def listing_too(key: str) -> Callable[[Request, Forward], Answer]:
    """A service that has one more folder."""

    def fault(request: Request, forward: Forward) -> Answer:
        answer = forward(request)
        more = f"<CommonPrefixes><Prefix>{key}</Prefix></CommonPrefixes></ListBucketResult>"
        listed = "list-type=2" in request.path
        body = answer.body.replace(b"</ListBucketResult>", more.encode())
        return replace(answer, body=body) if listed else answer

    return fault


def test_a_registry_that_is_not_there_is_told_from_an_empty_one(
    tmp_path: Path, s3_environment: ObjectStore
) -> None:
    with pytest.raises(InputError, match=r"no registry at .*typo: nothing was ever published"):
        require_registry(str(tmp_path / "typo"))
    with pytest.raises(InputError, match=f"no registry at s3://releases/{tmp_path.name}"):
        require_registry(f"s3://releases/{tmp_path.name}")
    with pytest.raises(InputError, match="no bucket 'missing'"):
        require_registry("s3://missing/x")
    require_registry(str(tmp_path))
    require_registry("s3://releases")
