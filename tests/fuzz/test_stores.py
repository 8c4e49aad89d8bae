"""Publishing through a store that fails once, anywhere: the whole release is there, or none."""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from botocore.loaders import JSONFileLoader
from hypothesis import strategies as st

from mixnet_core.errors import MixnetError
from mixnet_core.release.publish import publish_release
from mixnet_core.release.registry import list_releases
from mixnet_core.stages.check import check_publish
from tests.fuzz.bounds import Ended, ended, expect_one_line, place
from tests.fuzz.searching import rule
from tests.object_store import ObjectStore, running_store
from tests.storage.fault_proxy import (
    Fault,
    FaultProxy,
    always,
    at,
    cut_short,
    lost_answer,
    page,
    wrong_bytes_received,
    wrong_bytes_sent,
)

FAULTS: dict[str, Fault] = {
    "lost answer": lost_answer,
    "no answer": lambda request, forward: None,
    "cut short": cut_short,
    "wrong bytes sent": wrong_bytes_sent,
    "wrong bytes received": wrong_bytes_received,
    "a web page": page,
    "500": always(500, "InternalError"),
    "503": always(503, "SlowDown"),
    "507": always(507, "XMinioStorageFull"),
    "403": always(403, "AccessDenied"),
    "bare 403": always(403),
    "bare 400": always(400),
    "expired": always(400, "ExpiredToken"),
    "404": always(404, "NoSuchKey"),
    "bare 404": always(404),
    "no bucket": always(404, "NoSuchBucket"),
    "412": always(412, "PreconditionFailed"),
    "409": always(409, "ConditionalRequestConflict"),
    "501": always(501, "NotImplemented"),
    "301": always(301, Location="https://storage.example.org/x"),
    "204": always(204),
    "200": always(200),
}
# A service that is asked again does not have it any more.
PASSING = ("lost answer", "no answer", "500", "503", "409")
# More requests than publishing these two files has.
_numbers = st.frozensets(st.integers(1, 16), min_size=1, max_size=3)


@functools.cache
def _store() -> ObjectStore:
    """One server for all cases, which ends with this process."""
    try:
        stack = ExitStack()
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mixnet-fuzz-store-"))
        store = stack.enter_context(running_store(Path(folder)))
    except RuntimeError as error:
        pytest.skip(str(error))
    owner = os.getpid()
    atexit.register(lambda: stack.close() if os.getpid() == owner else None)
    return store


def _begin() -> None:
    """Starts it before the search forks."""
    try:
        _store()
    except pytest.skip.Exception:
        return


@rule(few=12, before=_begin, numbers=_numbers, fault=st.sampled_from(sorted(FAULTS)))
def test_what_a_fault_leaves_is_the_whole_release_or_none(
    numbers: frozenset[int], fault: str
) -> None:
    store = _store()
    prefix = uuid.uuid4().hex
    registry = f"s3://{store.bucket}/{prefix}"
    with place() as folder, _environment(store):
        files = {"weights": folder / "weights.ckpt", "recipe": folder / "recipe.yaml"}
        files["weights"].write_bytes(bytes(range(256)) * 64)
        files["recipe"].write_text("name: mine\n")
        publish = functools.partial(
            publish_release, "mine", registry=registry, files=files, facts={"classes": ["ant"]}
        )
        came = _through(store, at(numbers, FAULTS[fault]), publish)
        if came.error is not None:
            _expect_typed(came.error)
        left = _objects(store, prefix)
        _expect_whole_or_none(left)
        # The trial before a first release has objects of its own.
        if fault in PASSING and len(numbers) == 1:
            assert not [name for name in left if ".aside-" in name]
            assert _uploads(store, prefix) == []
        if came.error is None:
            assert "mine/manifest.json" in left
        again = publish()
        assert again.reused == ("mine/manifest.json" in left)
        _expect_whole_or_none(_objects(store, prefix), demanded=True)
        assert [release.name for release in list_releases(registry)] == ["mine"]


@rule(few=8, before=_begin, numbers=_numbers, fault=st.sampled_from(sorted(FAULTS)))
def test_check_leaves_nothing_in_a_store_that_fails_once(
    numbers: frozenset[int], fault: str
) -> None:
    store = _store()
    prefix = uuid.uuid4().hex
    with _environment(store):
        registry = f"s3://{store.bucket}/{prefix}"
        came = _through(store, at(numbers, FAULTS[fault]), lambda: check_publish(registry))
        assert came.error is None
        assert len(came.value.detail.splitlines()) == 1
        left = [*_objects(store, prefix), *_uploads(store, prefix)]
        # What the service itself refused to delete, or only said that it did, stays.
        assert all(".aside-probe-" in name for name in left)
        if fault in PASSING and len(numbers) == 1:
            assert left == []
        assert check_publish(registry).ok


def _expect_whole_or_none(objects: dict[str, bytes], *, demanded: bool = False) -> None:
    manifest = objects.get("mine/manifest.json")
    if manifest is None:
        assert not demanded
        return
    files: dict[str, Any] = json.loads(manifest)["files"]
    assert set(files) == {"weights", "recipe"}
    for file in files.values():
        content = objects[f"mine/{file['name']}"]
        assert hashlib.sha256(content).hexdigest() == file["sha256"]
        assert len(content) == file["bytes"]


def _objects(store: ObjectStore, prefix: str) -> dict[str, bytes]:
    """What is in the store, asked for without the proxy."""
    client = store.client()
    found = client.list_objects_v2(Bucket=store.bucket, Prefix=f"{prefix}/").get("Contents", [])
    keys = [item["Key"] for item in found]
    return {
        key.removeprefix(f"{prefix}/"): client.get_object(Bucket=store.bucket, Key=key)[
            "Body"
        ].read()
        for key in keys
    }


def _uploads(store: ObjectStore, prefix: str) -> list[str]:
    """The keys of uploads that were begun and neither finished nor given up."""
    answer = store.client().list_multipart_uploads(Bucket=store.bucket, Prefix=f"{prefix}/")
    return [item["Key"] for item in answer.get("Uploads", [])]


def _through(store: ObjectStore, fault: Fault, work: Callable[[], Any]) -> Ended:
    with FaultProxy(store.endpoint_url, fault) as proxy:
        os.environ["AWS_ENDPOINT_URL_S3"] = proxy.url
        try:
            # Between its attempts boto3 waits for seconds.
            with mock.patch("time.sleep"):
                return ended(work)
        finally:
            os.environ["AWS_ENDPOINT_URL_S3"] = store.endpoint_url


_load_file = JSONFileLoader.load_file


@functools.cache
def _described(path: str) -> Any:
    return _load_file(JSONFileLoader(), path)


@contextmanager
def _environment(store: ObjectStore) -> Iterator[None]:
    before = os.environ.copy()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(store.environment)
    try:
        # Most of a case's time would go into boto3's descriptions of S3, read for each client.
        with mock.patch.object(JSONFileLoader, "load_file", lambda _, path: _described(path)):
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _expect_typed(error: MixnetError) -> None:
    assert error.exit_code in (2, 3, 4, 5, 7)
    expect_one_line(error)
