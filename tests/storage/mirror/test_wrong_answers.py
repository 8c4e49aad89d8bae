"""What stands between here and a store, and changes answers: nothing wrong becomes a file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mixnet_core.errors import IntegrityError, MachineError
from mixnet_core.storage.mirror import fetching
from mixnet_core.storage.user_cache import VARIABLE
from tests.object_store import ObjectStore
from tests.storage.fault_proxy import (
    Answer,
    Fault,
    FaultProxy,
    Forward,
    Request,
    is_get,
    refusal,
)
from tests.storage.mirror.test_mirror import fetched, found, opened, put

STRETCH = 1 << 20
LARGE = os.urandom(3 * STRETCH + 7)


@pytest.fixture
def through(
    s3_environment: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Fault], FaultProxy]:
    """Returns what makes a proxy the store."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(fetching, "STRETCH_BYTES", STRETCH)

    def proxy(fault: Fault) -> FaultProxy:
        made = FaultProxy(s3_environment.endpoint_url, fault)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", made.url)
        return made

    return proxy


def of_contents(change: Callable[[Request, Answer], Answer]) -> Fault:
    """A fault of answers that are an object, or a stretch of one."""

    def fault(request: Request, forward: Forward) -> Answer:
        answer = forward(request)
        is_content = is_get(request) and "list-type" not in request.path
        return change(request, answer) if is_content and answer.status < 300 else answer

    return fault


def without(answer: Answer, *names: str) -> Answer:
    kept = [item for item in answer.headers if not item[0].lower().startswith(names)]
    return replace(answer, headers=kept)


def test_bytes_that_are_others_each_time_end_it_soon(
    s3_environment: ObjectStore, through: Callable[[Fault], FaultProxy]
) -> None:
    put(s3_environment, "scrambled", {"1.png": b"one" * 9, "large.tar": LARGE})

    def scrambled(request: Request, answer: Answer) -> Answer:
        return replace(without(answer, "x-amz-checksum"), body=os.urandom(len(answer.body)))

    with through(of_contents(scrambled)), pytest.raises(IntegrityError, match="4 times with other"):
        fetched(opened(s3_environment, "scrambled"), seconds=60)


def test_a_large_object_whose_bytes_were_lost_on_the_way_is_fetched_again(
    s3_environment: ObjectStore, through: Callable[[Fault], FaultProxy]
) -> None:
    put(s3_environment, "lost-large", {"one.tar": LARGE})
    spoilt = []

    def once(request: Request, answer: Answer) -> Answer:
        if spoilt:
            return answer
        spoilt.append(request)
        return replace(answer, body=bytes(len(answer.body)))

    with through(of_contents(once)):
        assert found(fetched(opened(s3_environment, "lost-large"))) == {"one.tar": LARGE}


@pytest.mark.parametrize("how", ["another stretch", "all of it"])
def test_a_stretch_that_was_not_asked_for_is_refused_by_name(
    s3_environment: ObjectStore, through: Callable[[Fault], FaultProxy], how: str
) -> None:
    put(s3_environment, "ranges", {"one.tar": LARGE})

    def other(request: Request, answer: Answer) -> Answer:
        answer = without(answer, "content-range")
        if how == "all of it":
            return replace(answer, status=200, body=LARGE)
        size = len(answer.body)
        named = ("Content-Range", f"bytes 0-{size - 1}/{len(LARGE)}")
        is_first = request.headers.get("range", "").startswith("bytes=0-")
        end = named if not is_first else ("Content-Range", f"bytes 9-{size + 8}/{len(LARGE)}")
        return replace(answer, body=LARGE[:size], headers=[*answer.headers, end])

    with through(of_contents(other)), pytest.raises(MachineError, match="has no ranges"):
        fetched(opened(s3_environment, "ranges"), seconds=60)


def test_an_object_in_an_archive_is_no_matter_of_credentials(
    s3_environment: ObjectStore, through: Callable[[Fault], FaultProxy]
) -> None:
    put(s3_environment, "archived", {"1.png": b"one"})

    def archived(request: Request, _: Answer) -> Answer:
        return refusal(request, 403, "InvalidObjectState")

    with through(of_contents(archived)), pytest.raises(MachineError, match="restore it first"):
        fetched(opened(s3_environment, "archived"), seconds=60)


def test_an_answer_need_not_say_how_long_it_is(
    s3_environment: ObjectStore, through: Callable[[Fault], FaultProxy]
) -> None:
    files = {"1.png": b"one" * 9, "large.tar": LARGE, "empty": b""}
    put(s3_environment, "unsaid", files)
    cut: list[str] = []

    def unsaid(request: Request, answer: Answer) -> Answer:
        # Where it does not, one that was cut short ends as a whole one does.
        body = answer.body
        if request.path not in cut:
            cut.append(request.path)
            body = body[: len(body) // 2]
        return replace(answer, body=body, length=-1)

    with through(of_contents(unsaid)):
        assert found(fetched(opened(s3_environment, "unsaid"))) == files


def test_where_all_objects_have_one_etag_what_changed_shows_by_its_time(
    s3_environment: ObjectStore, through: Callable[[Fault], FaultProxy]
) -> None:
    # MinIO's of files that it did not write itself.
    etag = "00000000000000000000000000000000-1"

    def alike(request: Request, forward: Forward) -> Answer:
        answer = without(forward(request), "etag")
        minutes = len(seen)
        body = re.sub(rb"<ETag>[^<]*", b"<ETag>&quot;" + etag.encode() + b"&quot;", answer.body)
        body = re.sub(rb"(<LastModified>[^<]*T\d\d:)\d\d", rb"\g<1>%02d" % minutes, body)
        return replace(answer, body=body, headers=[*answer.headers, ("ETag", f'"{etag}"')])

    def unconditionally(params: dict[str, dict[str, str]], **_: object) -> None:
        params["headers"].pop("If-Match", None)

    seen: list[str] = []
    put(s3_environment, "alike", {"1.png": b"one"})
    with through(alike):
        of = opened(s3_environment, "alike")
        # A condition that is signed cannot be left out on the way.
        events = of._objects._client.meta.events  # type: ignore[attr-defined]
        events.register("before-call.s3.GetObject", unconditionally)
        assert found(fetched(of)) == {"1.png": b"one"}
        put(s3_environment, "alike", {"1.png": b"two"})
        seen.append("a minute later")
        assert found(fetched(of)) == {"1.png": b"two"}
