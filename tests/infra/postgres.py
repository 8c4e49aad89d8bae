"""A real PostgreSQL on loopback, a free port, its data in a folder of its own."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

ACCOUNT = "postgres"
_READY_SECONDS = 60


@dataclass
class Postgres:
    """A server that can be stopped and started again.

    Attributes:
        password: of its superuser `postgres`.
    """

    data: Path
    port: int
    password: str
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert self._process is None
        command = [
            *_as_account(), str(_programs() / "postgres"),
            "-D", str(self.data), "-p", str(self.port),
            "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
        ]  # fmt: skip
        with (self.data.parent / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.data)
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            try:
                self.sql("SELECT 1")
            except (OSError, asyncpg.CannotConnectNowError):
                time.sleep(0.1)
            else:
                return
        pytest.fail((self.data.parent / "log").read_text()[-2000:])

    def stop(self) -> None:
        """Ends connections at once, as `pg_ctl stop -m fast` does."""
        if self._process is not None:
            self._process.send_signal(2)
            self._process.wait(30)
            self._process = None

    def sql(self, *statements: str, database: str = "postgres") -> list[Any]:
        """Rows of the last statement, asked as the superuser."""

        async def ask() -> list[Any]:
            connection = await asyncpg.connect(self.url(database, driver="postgresql"), timeout=10)
            try:
                for statement in statements:
                    rows = await connection.fetch(statement)
                return list(rows)
            finally:
                await connection.close()

        return asyncio.run(ask())

    def url(
        self,
        database: str,
        user: str = "postgres",
        password: str | None = None,
        driver: str = "postgresql+asyncpg",
    ) -> str:
        secret = self.password if password is None else password
        return f"{driver}://{user}:{secret}@127.0.0.1:{self.port}/{database}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    if not is_installed():
        pytest.skip("needs PostgreSQL's initdb: make services (Debian: postgresql)")
    with running_postgres() as found:
        yield found


def is_installed() -> bool:
    return _initdb() is not None


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    # Its own account must reach it, and a test's folder is closed to others.
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        folder = Path(name)
        password = secrets.token_hex(12)
        (folder / "password").write_text(password)
        if os.geteuid() == 0:
            shutil.chown(folder, ACCOUNT)
            shutil.chown(folder / "password", ACCOUNT)
        subprocess.run(
            [
                *_as_account(), str(_programs() / "initdb"), "-D", str(folder / "data"),
                "--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "--username=postgres",
                "--encoding=UTF8", "--locale=C", "--no-sync",
            ],
            check=True, capture_output=True, cwd=folder,
        )  # fmt: skip
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            found = Postgres(folder / "data", probe.getsockname()[1], password)
        try:
            found.start()
            yield found
        finally:
            found.stop()


def _programs() -> Path:
    initdb = _initdb()
    assert initdb is not None
    return initdb.resolve().parent


def _initdb() -> Path | None:
    """The program, which Debian puts into no path."""
    found = shutil.which("initdb")
    if found:
        return Path(found)
    return max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), default=None)


def _as_account() -> list[str]:
    """It refuses to run as root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={ACCOUNT}", f"--regid={ACCOUNT}", "--clear-groups"]
