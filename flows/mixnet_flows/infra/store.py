"""SeaweedFS as the server's object store: an S3 service in one program, with a bucket for releases.

It listens on loopback only. Its credentials are drawn once, into a file that nobody else can read;
the worker has them in its environment, a person reads them with `set -a; . FILE`.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from mixnet_core.errors import MachineError
from mixnet_core.storage.files import os_errors_explained, write_text
from mixnet_flows.infra.running import Program, running

BUCKET = "mixnet"
PROGRAM = "weed"
_PROBE = "ready"
_REGISTRY = f"s3://{BUCKET}/releases"
_REGION = "us-east-1"
_PORT = 8333
_OTHER_SERVICES = ("master", "volume", "filer", "admin")
# Ready within a second, on a machine that does nothing else.
_READY_SECONDS = 30
_ATTEMPTS = 3
_LINE = re.compile(r"([A-Z0-9_]+)=(\S+)")


@dataclass(frozen=True)
class Store:
    """Where the object store is, and how it is reached.

    Attributes:
        registry: URI of the place for releases in its bucket.
        variables: file with the variables of `environment`, a line each; mode 600.
    """

    endpoint_url: str
    access_key: str
    secret_key: str = field(repr=False)
    variables: Path

    @property
    def registry(self) -> str:
        return _REGISTRY

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which boto3's default chain reaches it, and releases go there."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": _REGION,
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "MIXNET_REGISTRY": self.registry,
        }


def program() -> Path | None:
    """Returns the program: the package's, beside this Python, else one in the path."""
    beside = Path(sys.executable).parent / PROGRAM
    found = str(beside) if beside.is_file() else shutil.which(PROGRAM)
    return Path(found) if found else None


def has_data(home: Path) -> bool:
    """Tells whether a store was started in a folder before."""
    return _variables(home).is_file()


@contextmanager
def running_store(home: Path) -> Iterator[tuple[Store, Program]]:
    """Runs the store for as long as the block, with its data in `home`/store.

    Raises:
        MachineError: the program is not there, its file of variables is damaged, or it does not
            become ready.
    """
    weed = program()
    if weed is None:
        raise MachineError(
            f"no program {PROGRAM} for the object store: pip install 'mindspore-mixnet[serve]', or "
            "--no-store"
        )
    with os_errors_explained(home):
        (home / "store").mkdir(parents=True, exist_ok=True)
    # Another process may take a port between choosing and binding it.
    for _ in range(_ATTEMPTS):
        store = _known(home)
        _write_access(home, store)
        command = [str(weed), *_arguments(home, urlsplit(store.endpoint_url).port or _PORT)]
        with running(Program("store", command, None, home, home / "store")) as process:
            if _is_ready(process, store):
                yield store, process
                return
    raise MachineError(
        f"the object store did not become ready in {_READY_SECONDS} s: see {home}/store.log, or "
        "--no-store"
    )


def _known(home: Path) -> Store:
    """Reads the variables, or draws them; another port where the one of before is taken."""
    file = _variables(home)
    found: dict[str, str] = {}
    if file.is_file():
        with os_errors_explained(file, "read"):
            text = file.read_text(encoding="utf-8", errors="replace")
        matches = map(_LINE.fullmatch, text.split("\n"))
        found = {match[1]: match[2] for match in matches if match}
        if not found.keys() >= {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}:
            raise MachineError(
                f"{file} does not hold the store's keys: delete it, new ones are made then"
            )
    try:
        port = urlsplit(found.get("AWS_ENDPOINT_URL_S3", "")).port or _PORT
    except ValueError:
        port = _PORT
    store = Store(
        f"http://127.0.0.1:{port if _is_free(port) else free_port()}",
        found.get("AWS_ACCESS_KEY_ID") or secrets.token_hex(10),
        found.get("AWS_SECRET_ACCESS_KEY") or secrets.token_hex(20),
        file,
    )
    if found != store.environment:
        lines = "".join(f"{name}={value}\n" for name, value in store.environment.items())
        write_text(file, lines, 0o600)
    return store


def _variables(home: Path) -> Path:
    return home / "store.env"


def _write_access(home: Path, store: Store) -> None:
    identity = {
        "name": "mixnet",
        "credentials": [{"accessKey": store.access_key, "secretKey": store.secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    write_text(home / "store.json", json.dumps({"identities": [identity]}), 0o600)


def _arguments(home: Path, port: int) -> list[str]:
    # The other services are the store's own affair, and nothing remembers their ports.
    ports = _free_ports(2 * len(_OTHER_SERVICES) + 1)
    pairs = dict(zip(_OTHER_SERVICES, zip(ports[::2], ports[1::2], strict=False), strict=True))
    places = [
        option
        for name, (http, grpc) in [("s3", (port, ports[-1])), *pairs.items()]
        for option in (f"-{name}.port={http}", f"-{name}.port.grpc={grpc}")
    ]
    return [
        "-logtostderr=true",
        "mini",
        f"-dir={home / 'store'}",
        *("-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        f"-s3.config={home / 'store.json'}",
        # It would call home.
        "-master.telemetry=false",
        # Services that nobody asked for, on fixed ports.
        *("-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        "-s3.allowDeleteBucketNotEmpty=false",
        # In the working folder: a whole path may be longer than a socket's may.
        *("-s3.localSocket=s3.sock", "-filer.localSocket=filer.sock"),
        *places,
    ]


def _is_ready(process: Program, store: Store) -> bool:
    """Waits until an object was written and read; whether that came about."""
    client = boto3.client(
        "s3",
        endpoint_url=store.endpoint_url,
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
        region_name=_REGION,
        config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}),
    )
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.is_running():
        try:
            if BUCKET not in [found["Name"] for found in client.list_buckets()["Buckets"]]:
                client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key=_PROBE, Body=b"ready")
            client.get_object(Bucket=BUCKET, Key=_PROBE)["Body"].read()
            client.delete_object(Bucket=BUCKET, Key=_PROBE)
        except (BotoCoreError, ClientError):
            time.sleep(0.1)
        else:
            return True
    return False


def free_port() -> int:
    """Returns a port of loopback that was free a moment ago."""
    return _free_ports(1)[0]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_ports(count: int) -> list[int]:
    """Returns ports that were free together a moment ago."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
