from __future__ import annotations

import hashlib
import json
import logging
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import count
from pathlib import Path

import pytest
import yaml

from mixnet_core.errors import (
    DigestMismatch,
    InputError,
    IntegrityError,
    MachineError,
    MixnetError,
    ReleaseMissing,
    TransientError,
)
from mixnet_core.release.initial import find_initial
from mixnet_core.release.publish import publish_release
from mixnet_core.release.weights import check_available, fetch_weights
from mixnet_core.runs.values import FetchedWeights
from mixnet_core.storage.schemes.file import FileStorage
from tests.mindcv_cells import TrainedByMindcv
from tests.object_store import ObjectStore
from tests.web_server import CONTENT, Server


def sha256_hex(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


SHA256 = sha256_hex(CONTENT)


@cache
def _files_with_one_prefix() -> tuple[bytes, bytes]:
    seen: dict[str, bytes] = {}
    for number in count():
        content = b"%d" % number
        other = seen.setdefault(sha256_hex(content)[:8], content)
        if other != content:
            return other, content
    raise AssertionError


def files_with_one_prefix() -> list[bytes]:
    """Two contents whose digests share their first 8 digits: some 80,000 tries find a pair."""
    return list(_files_with_one_prefix())


class Catalogued:
    """A catalog with one entry, `mine`, and a cache."""

    def __init__(self, tmp_path: Path, url: str) -> None:
        self.catalog = tmp_path / "catalog.yaml"
        self.cache = tmp_path / "cache"
        self.url = url
        self.publish(SHA256)

    def publish(self, sha256: str | None) -> None:
        entry = {
            "name": "mine",
            "url": self.url,
            "sha256": sha256,
            "variant": "s",
            "flavour": "mindcv",
            "num_classes": 10,
            "source": "this test",
        }
        self.catalog.write_text(yaml.safe_dump({"releases": [entry]}))

    def fetch(self) -> FetchedWeights:
        return fetch_weights("mine", cache=self.cache, registry="file:///none", attempts=2)

    @property
    def kept(self) -> list[str]:
        return sorted(path.name for path in self.cache.iterdir())


@pytest.fixture
def mine(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalogued:
    catalogued = Catalogued(tmp_path, server.url)
    monkeypatch.setenv("MIXNET_CATALOG", str(catalogued.catalog))
    return catalogued


def test_a_verified_file_is_fetched_once_and_then_reused(server: Server, mine: Catalogued) -> None:
    first = mine.fetch()
    assert Path(first.path).is_absolute()
    assert Path(first.path).read_bytes() == CONTENT
    assert (first.name, first.sha256, first.reused) == ("mine", SHA256, False)
    again = mine.fetch()
    assert again == first.model_copy(update={"reused": True})
    assert len(server.asked) == 1
    assert mine.kept == [f"mine-{SHA256[:8]}.ckpt"]


def test_a_cached_file_needs_no_network(server: Server, mine: Catalogued) -> None:
    mine.fetch()
    server.answers = [503]
    mine.url = "http://127.0.0.1:1/weights.ckpt"
    mine.publish(SHA256)
    assert mine.fetch().reused
    assert len(server.asked) == 1


def test_where_no_digest_is_published_that_of_the_first_file_counts_and_is_said(
    server: Server, mine: Catalogued, caplog: pytest.LogCaptureFixture
) -> None:
    mine.publish(None)
    first = mine.fetch()
    assert (first.sha256, first.reused) == (SHA256, False)
    (line,) = [line for line in caplog.messages if "states no sha256" in line]
    assert SHA256 in line
    assert mine.kept == ["mine-pinned.ckpt", "mine-pinned.json"]
    caplog.clear()
    assert mine.fetch().reused
    Path(first.path).unlink()
    server.contents = [CONTENT[::-1]]
    with pytest.raises(DigestMismatch, match=r"pinned it when first fetched"):
        mine.fetch()
    assert not caplog.messages
    assert mine.kept == ["mine-pinned.json"]


@pytest.mark.parametrize("digits", [8, 64])
def test_a_flipped_byte_is_refused_and_leaves_nothing(
    server: Server, mine: Catalogued, digits: int
) -> None:
    server.contents = [bytes([CONTENT[0] ^ 1]) + CONTENT[1:]]
    got = sha256_hex(server.contents[0])
    mine.publish(SHA256[:digits])
    with pytest.raises(DigestMismatch) as caught:
        mine.fetch()
    message = str(caught.value)
    assert f"has sha256 {got}, expected {SHA256[:digits]}, as published" in message
    assert message.endswith("nothing was kept")
    assert "\n" not in message
    assert mine.kept == []
    assert len(server.asked) == 1


def test_a_body_cut_for_good_leaves_nothing(server: Server, mine: Catalogued) -> None:
    server.answers = ["cut"]
    with pytest.raises(TransientError, match="it ended after 192000 bytes"):
        mine.fetch()
    assert mine.kept == []


def test_a_longer_cut_body_leaves_none_of_its_bytes_in_the_next(
    server: Server, mine: Catalogued
) -> None:
    server.answers = ["cut", 200]
    assert Path(mine.fetch().path).read_bytes() == CONTENT


def test_a_damaged_cached_file_is_fetched_again(
    server: Server, mine: Catalogued, caplog: pytest.LogCaptureFixture
) -> None:
    cached = Path(mine.fetch().path)
    cached.write_bytes(CONTENT[:-1])
    with caplog.at_level(logging.WARNING):
        assert not mine.fetch().reused
    assert "is damaged" in caplog.text
    assert cached.read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_offline_with_a_damaged_cached_file_says_both(server: Server, mine: Catalogued) -> None:
    cached = Path(mine.fetch().path)
    cached.write_bytes(b"junk")
    server.answers = [503]
    with pytest.raises(TransientError, match=r"it answered 503.*; the cached .* is damaged"):
        mine.fetch()


def test_the_full_digest_of_a_prefix_is_pinned(server: Server, mine: Catalogued) -> None:
    mine.publish(SHA256[:8])
    mine.fetch()
    assert mine.kept == [f"mine-{SHA256[:8]}.ckpt", f"mine-{SHA256[:8]}.json"]
    assert json.loads((mine.cache / mine.kept[1]).read_text())["sha256"] == SHA256
    assert mine.fetch().reused
    assert len(server.asked) == 1


def test_another_file_with_the_same_prefix_is_refused_once_one_is_pinned(
    server: Server, mine: Catalogued
) -> None:
    first, second = files_with_one_prefix()
    prefix, pinned = sha256_hex(first)[:8], sha256_hex(first)
    server.contents = [first, second]
    mine.publish(prefix)
    Path(mine.fetch().path).unlink()
    with pytest.raises(DigestMismatch, match=r"as .* pinned it when first fetched") as caught:
        mine.fetch()
    assert f"has sha256 {sha256_hex(second)}, expected {pinned}" in str(caught.value)
    assert mine.kept == [f"mine-{prefix}.json"]


def test_of_two_racing_first_fetches_of_different_files_one_is_refused(
    server: Server, mine: Catalogued, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.contents = files_with_one_prefix()
    digests = {sha256_hex(content) for content in server.contents}
    mine.publish(min(digests)[:8])
    create, both = FileStorage.create, threading.Barrier(2)

    def create_together(storage: FileStorage, key: str, content: bytes) -> bool:
        both.wait(30)
        return create(storage, key, content)

    def fetch(_: int) -> FetchedWeights | DigestMismatch:
        try:
            return mine.fetch()
        except DigestMismatch as error:
            return error

    monkeypatch.setattr(FileStorage, "create", create_together)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(fetch, range(2)))
    [fetched] = [result for result in results if isinstance(result, FetchedWeights)]
    [refused] = [result for result in results if isinstance(result, DigestMismatch)]
    assert f"expected {fetched.sha256}" in str(refused)
    assert sha256_hex(Path(fetched.path).read_bytes()) == fetched.sha256
    assert fetched.sha256 in digests


def test_a_cached_file_that_differs_from_its_pin_is_fetched_again(
    server: Server, mine: Catalogued
) -> None:
    mine.publish(SHA256[:8])
    fetched = mine.fetch()
    Path(fetched.path).write_bytes(b"")
    assert mine.fetch() == fetched
    assert len(server.asked) == 2


def test_a_file_put_into_the_cache_by_hand_is_pinned(server: Server, mine: Catalogued) -> None:
    mine.publish(SHA256[:8])
    mine.cache.mkdir()
    (mine.cache / f"mine-{SHA256[:8]}.ckpt").write_bytes(CONTENT)
    assert mine.fetch().reused
    assert server.asked == []
    assert f"mine-{SHA256[:8]}.json" in mine.kept


@pytest.mark.parametrize("text", ["{}", "[]", json.dumps({"sha256": "f" * 64}), "{"])
def test_a_broken_pin_is_an_error_not_a_free_pass(mine: Catalogued, text: str) -> None:
    mine.publish(SHA256[:8])
    mine.fetch()
    pin = mine.cache / f"mine-{SHA256[:8]}.json"
    pin.write_text(text)
    with pytest.raises(IntegrityError, match="delete it"):
        mine.fetch()


def test_racing_first_fetches_agree_on_one_pin(server: Server, mine: Catalogued) -> None:
    mine.publish(SHA256[:8])
    start = threading.Barrier(6)

    def fetch() -> FetchedWeights:
        start.wait(30)
        return mine.fetch()

    with ThreadPoolExecutor(6) as pool:
        fetched = [future.result() for future in [pool.submit(fetch) for _ in range(6)]]
    assert {value.sha256 for value in fetched} == {SHA256}
    assert mine.kept == [f"mine-{SHA256[:8]}.ckpt", f"mine-{SHA256[:8]}.json"]


def test_a_racer_that_finds_another_pin_keeps_nothing(server: Server, mine: Catalogued) -> None:
    mine.publish(SHA256[:8])
    other = SHA256[:8] + "0" * 56

    def pin_first(done: int, total: int | None) -> None:
        (mine.cache / f"mine-{SHA256[:8]}.json").write_text(json.dumps({"sha256": other}))

    with pytest.raises(DigestMismatch, match=other):
        fetch_weights("mine", cache=mine.cache, registry="file:///none", on_bytes=pin_first)
    assert mine.kept == [f"mine-{SHA256[:8]}.json"]


def test_an_interrupted_fetch_leaves_nothing(mine: Catalogued) -> None:
    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_weights("mine", cache=mine.cache, registry="file:///none", on_bytes=interrupt)
    assert mine.kept == []


def test_a_cache_that_cannot_be_written_is_named(mine: Catalogued, weights: Path) -> None:
    with pytest.raises(MachineError, match="a part of the path is a file"):
        fetch_weights("mine", cache=weights / "cache", registry="file:///none")


def test_a_mirror_in_a_folder_serves_a_catalog_entry(
    server: Server, mine: Catalogued, weights: Path
) -> None:
    mine.url = weights.as_uri()
    mine.publish(SHA256)
    assert Path(mine.fetch().path).read_bytes() == CONTENT
    assert server.asked == []


def test_a_published_release_is_fetched_by_its_manifests_digest(
    weights: Path, tmp_path: Path
) -> None:
    to, cache = (tmp_path / "releases").as_uri(), tmp_path / "cache"
    release = publish_release("digits-1", registry=to, files={"weights": weights}, facts={})
    seen: list[int] = []
    fetched = fetch_weights(
        "digits-1", cache=cache, registry=to, on_bytes=lambda done, _: seen.append(done)
    )
    assert (fetched.name, fetched.sha256, fetched.reused) == ("digits-1", SHA256, False)
    assert Path(fetched.path).read_bytes() == CONTENT
    assert seen[-1] == len(CONTENT)
    assert fetch_weights(release.uri, cache=cache, registry="file:///none").reused

    Path(fetched.path).unlink()
    stored = tmp_path / "releases" / "digits-1" / release.files["weights"]
    stored.write_bytes(b"x" + CONTENT[1:])
    with pytest.raises(DigestMismatch, match=f"{release.uri}/.* expected {SHA256}"):
        fetch_weights("digits-1", cache=cache, registry=to)
    assert list(cache.iterdir()) == []
    stored.unlink()
    with pytest.raises(InputError, match="no file at"):
        fetch_weights("digits-1", cache=cache, registry=to)


def test_a_release_on_s3_is_fetched_by_its_uri(
    s3_environment: ObjectStore, weights: Path, tmp_path: Path
) -> None:
    release = publish_release(
        "digits-1", registry="s3://releases/weights", files={"weights": weights}, facts={}
    )
    fetched = fetch_weights(release.uri, cache=tmp_path / "c", registry="file:///none")
    assert Path(fetched.path).read_bytes() == CONTENT
    assert fetched.sha256 == SHA256


def test_a_file_by_its_path_is_copied_under_its_digest(
    trained_by_mindcv: TrainedByMindcv, tmp_path: Path
) -> None:
    best = Path(shutil.copy(trained_by_mindcv.training, tmp_path / "mixnet_s_best.ckpt"))
    cache = tmp_path / "cache"
    fetched = fetch_weights(str(best), cache=cache, registry="file:///none")
    assert (fetched.name, fetched.sha256) == (best.name, sha256_hex(best.read_bytes()))
    assert Path(fetched.path) == cache / f"mixnet_s_best-{fetched.sha256[:12]}.ckpt"
    # The training that wrote it goes on.
    shutil.copy(trained_by_mindcv.plain, best)
    assert sha256_hex(Path(fetched.path).read_bytes()) == fetched.sha256
    again = fetch_weights(str(best), cache=cache, registry="file:///none")
    assert again.sha256 != fetched.sha256
    assert len(list(cache.iterdir())) == 2
    assert fetch_weights(str(best), cache=cache, registry="file:///none").reused


def test_a_file_that_is_written_while_it_is_copied_is_refused(
    trained_by_mindcv: TrainedByMindcv, tmp_path: Path
) -> None:
    best = Path(shutil.copy(trained_by_mindcv.training, tmp_path / "mixnet_s_best.ckpt"))

    def write(done: int, total: int | None) -> None:
        if done < 2 << 20:
            with best.open("r+b") as file:
                file.seek(best.stat().st_size - 1)
                file.write(b"?")

    with pytest.raises(DigestMismatch, match="let whatever writes it finish"):
        fetch_weights(str(best), cache=tmp_path / "c", registry="file:///none", on_bytes=write)
    assert list((tmp_path / "c").iterdir()) == []


def available(name: str, mine: Catalogued) -> Path | None:
    return check_available(find_initial(name, "file:///none"), cache=mine.cache)


def test_asking_for_weights_transfers_none(server: Server, mine: Catalogued) -> None:
    assert available("mine", mine) is None
    assert server.asked == ["HEAD /weights.ckpt"]
    fetched = mine.fetch()
    assert available("mine", mine) == Path(fetched.path)
    assert len(server.asked) == 2
    Path(fetched.path).write_bytes(b"damaged")
    assert available("mine", mine) is None
    assert len(server.asked) == 3


@pytest.mark.parametrize("status", [404, 503])
def test_what_asking_tells_is_what_fetching_would_end_with(
    server: Server, mine: Catalogued, status: int
) -> None:
    server.answers = [status]
    said = []
    for attempt in (lambda: available("mine", mine), mine.fetch):
        with pytest.raises(MixnetError) as raised:
            attempt()
        said.append((type(raised.value), str(raised.value).partition(f"answered {status}")[0]))
    assert said[0] == said[1]


def test_a_server_that_refuses_a_request_without_content_is_asked_for_it(
    server: Server, mine: Catalogued
) -> None:
    server.answers = [405, 200]
    assert available("mine", mine) is None
    assert server.asked == ["HEAD /weights.ckpt", "GET /weights.ckpt"]


def test_a_released_file_that_is_gone_is_missing_before_anything_is_fetched(
    weights: Path, tmp_path: Path
) -> None:
    to = (tmp_path / "releases").as_uri()
    release = publish_release("digits-1", registry=to, files={"weights": weights}, facts={})
    found = find_initial("digits-1", to)
    assert check_available(found, cache=tmp_path / "c") is None
    (tmp_path / "releases" / "digits-1" / release.files["weights"]).unlink()
    with pytest.raises(ReleaseMissing, match=r"nothing at .*/digits-1/weights-"):
        check_available(found, cache=tmp_path / "c")
