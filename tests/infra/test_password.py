"""Whoever reaches the API starts processes on the workers: others need a password for that."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixnet_core.errors import InputError
from mixnet_flows.infra.password import VARIABLE, is_loopback, password_of, require_password

SECRET = "admin:s3cr3t-Of-The-Dashboard"


def written(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    file = folder / "password"
    file.write_bytes(content)
    file.chmod(mode)
    return file


@pytest.mark.parametrize(
    ("host", "only_here"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.7", False),
        ("0", False),
    ],
)
def test_an_address_is_this_machines_alone_or_needs_a_password(host: str, only_here: bool) -> None:
    assert is_loopback(host) is only_here
    require_password(host, SECRET)
    if only_here:
        require_password(host, None)
    else:
        with pytest.raises(InputError, match=f"--host {host} is reached from other machines"):
            require_password(host, None)


@pytest.mark.parametrize("host", ["", "no-such-host.invalid", "http://127.0.0.1", "127.0.0.1:4200"])
def test_what_is_no_address_is_refused(host: str) -> None:
    with pytest.raises(InputError, match="no address"):
        require_password(host, None)


def test_it_is_read_from_a_file_before_the_environment(tmp_path: Path) -> None:
    environment = {VARIABLE: "other:password"}
    assert password_of(written(tmp_path, f"{SECRET}\n".encode()), environment) == SECRET
    assert password_of(None, environment) == "other:password"
    assert password_of(None, {}) is None
    assert password_of(None, {VARIABLE: ""}) is None


def test_a_file_that_is_missing_or_read_by_others_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--password-file names no file") as caught:
        password_of(Path(SECRET), {})
    assert "s3cr3t" not in str(caught.value)
    with pytest.raises(InputError, match="names no file"):
        password_of(tmp_path, {})
    file = written(tmp_path, SECRET.encode(), 0o644)
    with pytest.raises(InputError, match=f"others can read the password in .*: chmod 600 {file}"):
        password_of(file, {})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"s3cr3t-alone",
        b":s3cr3t-alone",
        b"admin:",
        "admin:s3cr3t-P\u00e4sswort".encode(),
        b"admin:s3cr3t\nsecond line",
        b"admin:s3cr3t\xff",
        b"admin:s3cr3t\x00",
    ],
)
def test_what_prefect_would_answer_with_500_is_refused_and_not_quoted(
    tmp_path: Path, content: bytes
) -> None:
    with pytest.raises(InputError, match="expected USER:PASSWORD in one line of ASCII") as caught:
        password_of(written(tmp_path, content), {})
    assert "s3cr3t" not in str(caught.value)
