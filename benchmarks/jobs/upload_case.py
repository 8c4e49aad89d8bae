"""One upload of a file: `bare FILE SHA256 BUCKET` by boto3 alone, `ours ...` by our storage."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import boto3
from boto3.s3.transfer import TransferConfig

from mixnet_core.storage.open import open_storage
from mixnet_core.storage.s3.kept import part_bytes
from mixnet_core.storage.schemes.s3 import MULTIPART_BYTES


def peak_mb() -> float:
    """The most memory that this process has held; of getrusage's, its parent's may be more."""
    status = Path("/proc/self/status").read_text()
    kb = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(kb) * 1024 / 1e6


def main(which: str, path: Path, sha256: str, bucket: str) -> None:
    began, cpu = time.perf_counter(), time.process_time()
    if which == "bare":
        cut = part_bytes(path.stat().st_size, MULTIPART_BYTES)
        config = TransferConfig(multipart_threshold=cut, multipart_chunksize=cut)
        boto3.client("s3").upload_file(str(path), bucket, "weights", Config=config)
    else:
        open_storage(f"s3://{bucket}").upload(path, "weights", sha256)
    seconds = time.perf_counter() - began
    sys.stdout.write(
        json.dumps(
            {
                "seconds": seconds,
                "seconds_of_cpu": time.process_time() - cpu,
                "peak_mb": peak_mb(),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4])
