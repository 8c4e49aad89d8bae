from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.context import SyncClientContext
from prefect.logging import disable_run_logger
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_SERVER_ALLOW_EPHEMERAL_MODE,
    temporary_settings,
)

from mixnet_core.errors import DigestMismatch, JobFailed, TransientError
from mixnet_core.runs.terminal import TerminalWatch
from mixnet_core.runs.ticks import Tick, Watch
from mixnet_core.runs.values import FetchedWeights
from mixnet_flows import artifacts, impatience, showing
from mixnet_flows.artifacts import KeptArtifact, artifact_key, tried
from mixnet_flows.showing import Progress, in_terminal, told
from mixnet_flows.tasks import worth_a_retry
from tests.runs.test_markup import shown

# An error here, it would be taken for what the server said.
pytestmark = pytest.mark.filterwarnings("ignore:Artifact creation outside of a flow")

WEIGHTS = FetchedWeights(name="w", path="/w", sha256="0" * 64, reused=True)


@pytest.fixture
def _server_is_down() -> Iterator[None]:
    settings = {
        PREFECT_API_URL: "http://127.0.0.1:9/api",
        PREFECT_CLIENT_MAX_RETRIES: 0,
        PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: False,
    }
    with temporary_settings(settings), disable_run_logger():
        yield


@pytest.mark.usefixtures("_server_is_down")
def test_a_server_that_is_down_fails_no_stage_and_is_not_asked_again_at_once() -> None:
    progress = Progress("fetch", "run")
    progress(Tick("fetch", 1, 2, "B"))
    start = time.monotonic()
    for done in range(1000):
        progress(Tick("fetch", done, 1000, "B"))
    assert time.monotonic() - start < 20
    progress.finished("done")


class Restarting(BaseHTTPRequestHandler):
    """What a proxy says of a server that is restarted."""

    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.asked.append(self.path)
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_PATCH = do_POST  # noqa: N815

    def log_message(self, *_: object) -> None:
        return


@pytest.mark.usefixtures("_server_is_down")
def test_a_bar_does_not_wait_for_a_server_that_is_away() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Restarting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/api"
        # Prefect's own retries take a minute.
        with temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 5}):
            Progress("train", "run")(Tick("train", 1, 2, "img"))
        server.shutdown()
    assert len(Restarting.asked) == 1


class Mute(BaseHTTPRequestHandler):
    """A server that takes requests and answers none but what its version is."""

    ended: ClassVar[threading.Event] = threading.Event()

    def do_GET(self) -> None:
        body = b'"3.9.1"'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.ended.wait(60)

    do_PATCH = do_POST  # noqa: N815

    def log_message(self, *_: object) -> None:
        return


@pytest.mark.usefixtures("_server_is_down")
def test_a_bar_does_not_wait_for_a_server_that_is_mute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(impatience, "_REQUEST_SECONDS", 0.5)
    with ThreadingHTTPServer(("127.0.0.1", 0), Mute) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/api"
        # As in a flow, whose client was made with a minute for each request.
        with temporary_settings({PREFECT_API_URL: url}), SyncClientContext.get_or_create() as own:
            progress = Progress("train", "run")
            made = KeptArtifact("progress", "key")
            made._id = uuid4()
            began = time.monotonic()
            progress(Tick("train", 1, 2, "img"))
            assert not tried(lambda: made.show(50.0, "half"), at_once=True)
            assert time.monotonic() - began < 10
            assert own.client._client.timeout == httpx.Timeout(60.0)
        Mute.ended.set()
        server.shutdown()


@pytest.mark.usefixtures("_server_is_down")
def test_what_a_dashboard_does_not_take_is_not_drawn_again_at_once() -> None:
    class Drawn:
        def __init__(self, taken: bool) -> None:
            self.taken, self.ticks, self.ends = taken, 0, 0

        def ticked(self, tick: Tick) -> bool:
            self.ticks += 1
            return self.taken

        def ended(self) -> None:
            self.ends += 1

    taken, refused, after = Drawn(True), Drawn(False), Drawn(True)
    progress = Progress("train", "run", also=[taken, refused, after])
    # The bar itself is written once a second at most.
    progress._next = time.monotonic() + 60
    for done in range(5):
        progress(Tick("train", done, 5, "img"))
    assert [view.ticks for view in (taken, refused, after)] == [1, 1, 0]


@pytest.mark.usefixtures("_server_is_down")
def test_a_terminal_shows_results_and_what_will_be_tried_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(watch: Watch) -> FetchedWeights:
        raise TransientError("no answer")

    with TerminalWatch() as watch, in_terminal(watch):
        assert told("fetch", "run", lambda progress: WEIGHTS) is WEIGHTS
        with pytest.raises(TransientError):
            told("fetch", "run", fail)
    told("fetch", "run", lambda progress: WEIGHTS)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "fetch    w, sha256 000000000000 verified (already done, skipped)",
        "fetch    failed, to be tried again: no answer",
    ]


def test_an_artifact_key_holds_only_what_prefect_takes() -> None:
    assert artifact_key("my_run-1.5", "train") == "my-run-1-5-train"


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (TransientError("no answer"), True),
        (JobFailed("killed", retryable=True), True),
        (JobFailed("diverged", retryable=False), False),
        (DigestMismatch("other bytes"), False),
        (RuntimeError("a bug"), False),
    ],
)
def test_only_errors_that_may_pass_are_tried_again(error: Exception, again: bool) -> None:
    from prefect.states import Failed

    assert worth_a_retry(None, None, Failed(data=error)) is again  # type: ignore[arg-type]


def test_what_the_dashboard_takes_for_markdown_shows_names_as_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[Any] = []

    def create(*given: Any) -> UUID:
        made.append(given)
        return uuid4()

    for kind in ("table", "image", "markdown", "progress"):
        # Each has its description last.
        monkeypatch.setattr(artifacts, f"create_{kind}_artifact", create)
    for module in (artifacts, showing):
        monkeypatch.setattr(module, "get_run_logger", lambda: logging.getLogger("test"))
    name = "[x](javascript:alert(1)) <img src=x onerror=alert(1)> *a|b*"
    (tmp_path / "report.md").write_text("*as it is*")
    artifacts.show_table("key", [{"release": name, "images": 3, "bad": None}], name)
    artifacts.show_image("key", lambda: b"png", name)
    artifacts.show_markdown("key", tmp_path / "report.md", name)
    showing.Progress("train", "r")(Tick("train", 1, 2, "img", detail=name))
    assert [text for given in made for text in given[-1:] if "&lt;img" not in text] == []
    for given in made:
        found = shown(given[-1])
        assert found.tags == ["p"]
        assert name in found.text
    ((row,), *_), _, (report, *_), _ = made
    assert (row["images"], row["bad"], report) == (3, None, "*as it is*")
    assert shown(row["release"]).tags == ["p"]
