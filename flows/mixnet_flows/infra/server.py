"""The Prefect server: where it listens, what it keeps in which database, who may ask it.

    python -m mixnet_flows.infra.server --host 0.0.0.0

looks at all that, then becomes Prefect's server: what a unit of systemd starts. `make serve` starts
it too, with what else it takes to have runs.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from mixnet_core.errors import InputError, MixnetError
from mixnet_core.storage.files import os_errors_explained
from mixnet_core.storage.uris import shown_words
from mixnet_flows.infra import database, password, retention
from mixnet_flows.infra.database import Database, database_of, require_usable
from mixnet_flows.infra.password import password_of, require_password

PREFECT = (sys.executable, "-m", "prefect")
# `make` hands on what it was called with.
_MAKES = ("DATABASE", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS")
_SECRETS = (database.VARIABLE, password.VARIABLE, *_MAKES)
# psql's variables.
_OF_THE_DATABASE = "PG"
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
LEASES = "prefect.server.concurrency.lease_storage.filesystem"
# No tool of ours or below us calls home.
_SILENT = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}


@dataclass(frozen=True)
class Server:
    """What is served, and how.

    Attributes:
        home: folder of Prefect's own files, and of its database where that is one of SQLite.
        database: None is that file.
        password: USER:PASSWORD of dashboard and API; None: nobody is asked.
        days: how long ended runs stay in the database.
    """

    host: str
    port: int
    home: Path
    database: Database | None = None
    password: str | None = field(default=None, repr=False)
    days: int = retention.DAYS

    @property
    def url(self) -> str:
        """Address for this machine."""
        host = _WILDCARDS.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def is_everywhere(self) -> bool:
        """Whether it listens on every address of this machine."""
        return self.host in _WILDCARDS

    @property
    def command(self) -> list[str]:
        where = ("--host", self.host, "--port", str(self.port))
        return [*PREFECT, "server", "start", *where]

    def require_usable(self) -> None:
        """Raises what would otherwise stand in the server's log, or be found by others.

        Raises:
            InputError: others could open it without a password; the database is refused.
            MachineError: as `database.require_usable`.
            TransientError: the database does not answer.
        """
        require_password(self.host, self.password)
        if self.database is not None:
            require_usable(self.database)

    def environment(self, others: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Returns the environment that the server starts with."""
        made = {
            **_foreign(others),
            **_SILENT,
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_URL": f"{self.url}/api",
            # Whatever name of this machine a browser knows.
            "PREFECT_UI_API_URL": "/api",
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            # In memory, its default, a restart forgets who holds accelerators, and they stay held.
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES,
            **retention.retention(self.days),
        }
        if self.database is not None:
            made["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = self.database.url
        if self.password is not None:
            made["PREFECT_SERVER_API_AUTH_STRING"] = self.password
        return made

    def client_environment(self, others: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Returns the environment of what asks the server: a run has it, and whatever it starts.

        Nothing of the database is in there.
        """
        made = {
            name: value
            for name, value in _foreign(others).items()
            if not name.startswith(_OF_THE_DATABASE)
        }
        made |= {
            **_SILENT,
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_URL": f"{self.url}/api",
        }
        if self.password is not None:
            made["PREFECT_API_AUTH_STRING"] = self.password
        return made


class Parser(argparse.ArgumentParser):
    """A parser that quotes what it does not understand as everything else here does."""

    def error(self, message: str) -> NoReturn:
        self.exit(InputError.exit_code, f"{self.prog}: {shown_words(message)}\n")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declares what `server_of` reads."""
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 is all, with a password"
    )
    parser.add_argument("--port", type=int, default=4200)
    parser.add_argument(
        "--database",
        metavar="URL",
        help="postgresql+asyncpg://USER@HOST/NAME instead of a file of SQLite; with a password in "
        f"it, in ${database.VARIABLE}",
    )
    parser.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help=f"one line, USER:PASSWORD, for dashboard and API; else ${password.VARIABLE}",
    )
    parser.add_argument(
        "--keep-days", type=int, default=retention.DAYS, help="how long ended runs stay there"
    )


def server_of(options: argparse.Namespace, home: Path) -> Server:
    """Returns the server that options and the environment describe.

    Raises:
        InputError: a value of them is none.
        MachineError: the file of the password cannot be read.
    """
    if options.keep_days < 1:
        raise InputError(f"--keep-days {options.keep_days}: expected at least 1")
    if not 0 < options.port < 65536:
        raise InputError(f"--port {options.port}: expected 1 to 65535")
    return Server(
        host=options.host,
        port=options.port,
        home=home,
        database=database_of(options.database),
        password=password_of(options.password_file),
        days=options.keep_days,
    )


def _foreign(environment: Mapping[str, str]) -> dict[str, str]:
    """Leaves out the user's own profile of Prefect, which belongs to other servers, and secrets."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith("PREFECT_") and name not in _SECRETS
    }


def _become(server: Server) -> NoReturn:
    """Runs it in this process's place: what started this sends its signals to the server."""
    os.execve(server.command[0], server.command, server.environment())


def main() -> int:
    parser = Parser(
        prog="server",
        usage="python -m mixnet_flows.infra.server [OPTIONS]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser)
    parser.add_argument(
        "--home", type=Path, default=Path(), help="folder of Prefect's own files; this one"
    )
    options = parser.parse_args()
    try:
        home = options.home.expanduser().absolute()
        server = server_of(options, home)
        with os_errors_explained(home):
            home.mkdir(parents=True, exist_ok=True)
        server.require_usable()
    except MixnetError as error:
        sys.stderr.write(f"server: {error}\n")
        return error.exit_code
    _become(server)


if __name__ == "__main__":
    raise SystemExit(main())
