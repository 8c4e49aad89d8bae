"""What check says and publishing does with a store that has a fault, a row each.

`python -m tests.storage.fault_table` prints the table of docs/how-to/stores.md; the tests hold it.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mixnet_core import errors
from mixnet_core.errors import MixnetError
from mixnet_core.release.publish import publish_release
from mixnet_core.stages.check import check_publish
from mixnet_core.storage.schemes import s3 as storage_s3
from tests.object_store import ObjectStore, running_store
from tests.storage.fault_proxy import FAULTS, FaultProxy

# Faults of what only large files meet; the others get along with a small one.
LARGE = {
    "no uploads in parts",
    "answer lost after complete",
    "answer lost after a part",
    "503 to two parts",
    "wrong bytes in a part",
}
LARGE_BYTES = 12 << 20
SINGLE_WRITER = " (--single-writer)"
CASES = [
    *FAULTS,
    *(f"{fault}{SINGLE_WRITER}" for fault in FAULTS if "conditions" in fault),
]
HEAD = ("the store", "check", "publish", "left there")


@dataclass(frozen=True)
class Row:
    """What came of one fault.

    Attributes:
        check, publish: what was said; check's only words beyond "is writable".
        check_code, publish_code: the exit codes.
        left_by_check, left: names below the registry, in the order of S3.
    """

    fault: str
    check: str
    check_code: int
    publish: str
    publish_code: int
    left_by_check: tuple[str, ...]
    left: tuple[str, ...]

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """The row of the table."""
        published = "manifest.json" in self.left
        files = "1 file" if len(self.left) == 1 else f"{len(self.left)} files"
        left = f"{files}, which no manifest names" if self.left else "nothing"
        return (
            self.fault,
            f"{self.check_code}: {self.check}",
            "the same" if self.publish == self.check else f"{self.publish_code}: {self.publish}",
            "the release" if published else left,
        )


def row(fault: str, store: ObjectStore, folder: Path) -> Row:
    """Checks and publishes through a proxy with this fault, which happens to each anew.

    Args:
        store: the environment leads to it.
        folder: for the files that are published.
    """
    single_writer = fault.endswith(SINGLE_WRITER)
    make = FAULTS[fault.removesuffix(SINGLE_WRITER)]
    prefix = uuid.uuid4().hex
    registry = f"s3://{store.bucket}/{prefix}"
    weights, recipe = folder / "weights.ckpt", folder / "recipe.yaml"
    weights.write_bytes(bytes(range(256)) * ((LARGE_BYTES if fault in LARGE else 1 << 12) // 256))
    recipe.write_text("name: mine\n")
    with _through(FaultProxy(store.endpoint_url, make())) as proxy:
        result = check_publish(registry, single_writer=single_writer)
        code = 0 if result.ok else getattr(errors, result.error).exit_code
        check = _plain(result.detail, proxy, registry)
    left_by_check = _left(store, prefix)
    with _through(FaultProxy(store.endpoint_url, make())) as proxy, _parts_of(fault):
        publish_code = 0
        try:
            release = publish_release(
                "mine",
                registry=registry,
                files={"weights": weights, "recipe": recipe},
                facts={},
                single_writer=single_writer,
            )
            publish = "confirmed" if release.reused else "published"
        except MixnetError as error:
            publish, publish_code = _plain(str(error), proxy, registry), error.exit_code
    return Row(
        fault, check, code, publish, publish_code, left_by_check, _left(store, prefix, "mine")
    )


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    cells = [HEAD, tuple("---" for _ in HEAD), *(row.cells for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


@contextmanager
def _through(proxy: FaultProxy) -> Iterator[FaultProxy]:
    before = os.environ["AWS_ENDPOINT_URL_S3"]
    with proxy:
        os.environ["AWS_ENDPOINT_URL_S3"] = proxy.url
        try:
            yield proxy
        finally:
            os.environ["AWS_ENDPOINT_URL_S3"] = before


@contextmanager
def _parts_of(fault: str) -> Iterator[None]:
    before = storage_s3.MULTIPART_BYTES
    if fault in LARGE:
        storage_s3.MULTIPART_BYTES = 9 << 20
    try:
        yield
    finally:
        storage_s3.MULTIPART_BYTES = before


def _left(store: ObjectStore, *parts: str) -> tuple[str, ...]:
    prefix = "/".join(parts) + "/"
    client = store.client()
    found = client.list_objects_v2(Bucket=store.bucket, Prefix=prefix).get("Contents", [])
    unfinished = client.list_multipart_uploads(Bucket=store.bucket, Prefix=prefix)
    return (
        *(item["Key"].removeprefix(prefix) for item in found),
        *(f"{item['Key']} unfinished" for item in unfinished.get("Uploads", [])),
    )


def _plain(said: str, proxy: FaultProxy, registry: str) -> str:
    """Without what is another one each time."""
    said = said.replace(proxy.url, "http://HOST").replace(proxy.url.partition("//")[2], "HOST")
    said = said.replace(registry, "s3://bucket/releases").replace("'releases'", "'bucket'")
    said = re.sub(r"\.aside-probe-\w+-", "PROBE-", said)
    said = re.sub(r"(?<=mine/)(weights|recipe)-\w+", r"\1", said)
    said = re.sub(r"(?<=sha256 |pected )[0-9a-f]{12}", "...", said)
    return said.removeprefix("s3://bucket/releases is ")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, running_store(Path(folder)) as store:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ |= store.environment
        rows = [row(fault, store, Path(folder)) for fault in CASES]
    sys.stdout.write(table(rows) + "\n")


if __name__ == "__main__":
    main()
