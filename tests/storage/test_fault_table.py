"""A real S3 server behind a proxy with one fault: what check says, publishing does, and stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.object_store import ObjectStore
from tests.storage.fault_proxy import FAULTS, FaultProxy
from tests.storage.fault_table import CASES, SINGLE_WRITER, Row, row, table

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "stores.md"
WHOLE = ("manifest.json", "recipe", "weights")
FILES = ("recipe", "weights")
OVERWRITES = "does not refuse to overwrite"
ELSEWHERE = "redirects s3://bucket/releases to https://storage.example.org (30"

# fault: exit code and words of check, of publish, and what publishing leaves.
EXPECTED: dict[str, tuple[int, str, int, str, tuple[str, ...]]] = {
    "none": (0, "writable", 0, "published", WHOLE),
    "no checksums": (0, "refuses checksums: what is uploaded is read back", 0, "published", WHOLE),
    "checksums ignored": (0, "does not confirm checksums", 0, "published", WHOLE),
    "checksums believed": (0, "takes checksums without looking", 0, "published", WHOLE),
    "no conditions": (3, f"{OVERWRITES} (it answers NotImplemented 501", 3, OVERWRITES, FILES),
    "conditions ignored": (3, f"{OVERWRITES} (it wrote over", 3, OVERWRITES, FILES),
    "no checksums, no conditions": (3, OVERWRITES, 3, OVERWRITES, FILES),
    "no uploads in parts": (0, "refuses uploads in parts: large", 0, "published", WHOLE),
    "507 storage full": (3, "has no room for", 3, "has no room for", ()),
    "403 quota": (3, "has no room for", 3, "has no room for", ()),
    "301 to https": (2, f"{ELSEWHERE}1)", 2, f"{ELSEWHERE}1)", ()),
    "307 to another host": (2, f"{ELSEWHERE}7)", 2, f"{ELSEWHERE}7)", ()),
    "301 another region": (2, "set AWS_DEFAULT_REGION to eu-west-1", 2, "another region", ()),
    "bare 400": (2, "(400, without a reason)", 2, "(400, without a reason)", ()),
    "bare 403": (3, "(403, without a reason)", 3, "(403, without a reason)", ()),
    "400 expired token": (3, "have expired: renew them", 3, "have expired: renew them", ()),
    "403 skew": (3, "clock is 50 minutes behind the service's", 3, "clock is 50 minutes", ()),
    "403 unknown key": (3, "does not know the access key", 3, "does not know the access key", ()),
    "403 read only": (3, "(AccessDenied)", 3, "they may list, read, write and delete", ()),
    "503 x3": (0, "writable", 0, "published", WHOLE),
    "503 for ever": (7, "try again later", 7, "try again later", ()),
    "answer lost after PUT": (0, "writable", 0, "published", WHOLE),
    "answer lost after complete": (0, "writable", 0, "published", WHOLE),
    "answer lost after a part": (0, "writable", 0, "published", WHOLE),
    "503 to two parts": (0, "writable", 0, "published", WHOLE),
    "wrong bytes in a part": (0, "writable", 4, "nothing was stored", ("recipe",)),
    "truncated GET": (0, "writable", 0, "published", WHOLE),
    "truncated GET, always": (7, "no whole answer", 7, "try again later", ()),
    "wrong bytes sent": (4, "nothing was stored", 4, "nothing was stored", ()),
    "wrong bytes received": (4, "does not fit the checksum", 7, "try again later", ()),
    "a web server's pages": (2, "as an S3 service does", 2, "as an S3 service does", ()),
    "a web server's 404": (2, "as an S3 service does", 2, "as an S3 service does", ()),
    f"no conditions{SINGLE_WRITER}": (0, "is taken on trust", 0, "published", WHOLE),
    f"conditions ignored{SINGLE_WRITER}": (0, "writable", 0, "published", WHOLE),
    f"no checksums, no conditions{SINGLE_WRITER}": (
        0, "what is uploaded is read back; it refuses If-None-Match", 0, "published", WHOLE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", CASES)
def test_a_store_with_a_fault(fault: str, s3_environment: ObjectStore, tmp_path: Path) -> None:
    found = row(fault, s3_environment, tmp_path)
    check_code, check, publish_code, publish, left = EXPECTED[fault]
    assert (found.check_code, found.publish_code) == (check_code, publish_code)
    assert check in found.check
    assert publish in found.publish
    assert "\n" not in found.check + found.publish
    for secret in ("hush", s3_environment.secret_key, s3_environment.access_key):
        assert secret not in found.check + found.publish
    assert found.left_by_check == ()
    assert tuple(name.partition("-")[0] for name in found.left) == left
    assert table([found]).splitlines()[-1] in PAGE.read_text(), (
        "write the table anew: python -m tests.storage.fault_table"
    )


def test_the_page_has_a_row_for_each_fault_and_no_other() -> None:
    header = table([]).splitlines()[0]
    rows = PAGE.read_text().partition(header)[2].splitlines()[2:]
    assert [line.split(" | ")[0].removeprefix("| ") for line in rows if line] == list(EXPECTED)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("releases", "301 to https"),
        ("releases", "400 expired token"),
        ("revalidate", "301 to https"),
        ("check digits", "307 to another host"),
    ],
)
def test_the_command_line_says_it_in_one_line(
    words: str, fault: str, s3_environment: ObjectStore, tmp_path: Path
) -> None:
    with FaultProxy(s3_environment.endpoint_url, FAULTS[fault]()) as proxy:
        done = subprocess.run(
            [sys.executable, "-m", "mixnet_core.cli", *words.split(),
             "--registry", "s3://releases/x"],
            env={**os.environ, "AWS_ENDPOINT_URL_S3": proxy.url, "MIXNET_HOME": str(tmp_path)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    expected = EXPECTED[fault]
    assert done.returncode == expected[0]
    (line,) = done.stderr.splitlines()
    assert line.startswith("mixnet: ")
    assert expected[1].replace("bucket/releases", "releases/x") in line
    assert "hush" not in done.stdout + done.stderr


def test_a_row_says_what_is_left() -> None:
    left = Row("f", "writable", 0, "no", 3, (), ("recipe-1.yaml",))
    assert left.cells == ("f", "0: writable", "3: no", "1 file, which no manifest names")
