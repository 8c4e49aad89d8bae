"""PostgreSQL as the server's database, looked at before the server starts.

A password stands in no message: neither the URL nor what a driver says of it is quoted, host, user
and database are. Without one in the URL, asyncpg takes it from PGPASSWORD or ~/.pgpass, as psql
does.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from mixnet_core.errors import InputError, MachineError, MixnetError, TransientError
from mixnet_core.storage.uris import shown

# Its value may hold a password; an option's may not, everybody on the machine reads it in `ps`.
VARIABLE = "MIXNET_DATABASE"
# `make` leaves here what was given behind its name, with marks of its own in the values.
_MAKE_VARIABLE = "MAKEFLAGS"
_BEHIND_MAKE = re.compile(rf"(?:^|\s)(DATABASE|{VARIABLE})=")
_DRIVER = "postgresql+asyncpg"
_EXPECTED = f"expected {_DRIVER}://USER@HOST:PORT/NAME"
_FOR_PASSWORDS = f"PGPASSWORD, ~/.pgpass or {VARIABLE} in the environment"
_CONNECT_SECONDS = 10.0
# What Prefect's first start needs, in one question.
_PROPERTIES = text("""
    SELECT current_setting('server_encoding') AS encoding,
           current_setting('transaction_read_only') AS read_only,
           coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
           EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm') AS has_trigrams,
           has_database_privilege(current_database(), 'CREATE') AS may_extend,
           EXISTS (SELECT 1 FROM pg_available_extensions WHERE name = 'pg_trgm') AS knows_trigrams
""")


@dataclass(frozen=True)
class Database:
    """A PostgreSQL database.

    Attributes:
        url: as SQLAlchemy takes it; it may hold a password.
        shown: the same in words, without a password.
    """

    url: str = field(repr=False)
    shown: str


def database_of(option: str | None, environment: Mapping[str, str] = os.environ) -> Database | None:
    """Returns the database that an option or the environment names; None for the server's file.

    Raises:
        InputError: it is no URL of a PostgreSQL database, or a password stands where `ps` shows it.
    """
    if option:
        if _has_password(_parsed(option)):
            raise _seen_by_all("--database")
        return _database(option)
    from_environment = environment.get(VARIABLE)
    if not from_environment:
        return None
    # What stands behind `make` arrives here too.
    on_its_line = _BEHIND_MAKE.search(environment.get(_MAKE_VARIABLE, ""))
    if on_its_line and _has_password(_parsed(from_environment)):
        raise _seen_by_all(on_its_line[1])
    return _database(from_environment)


def require_usable(database: Database) -> None:
    """Connects as the server will, and looks for what its first start needs.

    Raises:
        InputError: no such host or database, a wrong password, what the user may not do there.
        MachineError: the database lacks something, or fails in another way.
        TransientError: nothing answers.
    """
    try:
        found = asyncio.run(_properties(database.url))
    except Exception as error:
        # Not chained: what a driver says may repeat what it was given.
        raise _explained(database, error) from None
    url = make_url(database.url)
    user, name = shown(url.username or "you"), shown(url.database or "")
    if found["encoding"] != "UTF8":
        raise InputError(
            f"{database.shown} is encoded in {found['encoding']}, expected UTF8: make another with "
            "`createdb --encoding=UTF8 --template=template0`"
        )
    if found["read_only"] == "on":
        raise InputError(f"{database.shown} can only be read: name the primary, not a replica")
    if not found["may_create"]:
        raise InputError(
            f"{user} may make no tables in {database.shown}: "
            f"`ALTER DATABASE {name} OWNER TO {user}` lets it"
        )
    if not found["has_trigrams"] and not found["knows_trigrams"]:
        raise MachineError(
            f"{database.shown} lacks the extension pg_trgm, which Prefect needs: install "
            "PostgreSQL's contrib package there"
        )
    if not found["has_trigrams"] and not found["may_extend"]:
        raise InputError(
            f"{user} may not add the extension pg_trgm to {database.shown}: as its owner, "
            "`CREATE EXTENSION pg_trgm`"
        )


async def _properties(url: str) -> Mapping[str, object]:
    engine = create_async_engine(
        url, poolclass=NullPool, connect_args={"timeout": _CONNECT_SECONDS}
    )
    try:
        async with engine.connect() as connection:
            return dict((await connection.execute(_PROPERTIES)).mappings().one())
    finally:
        await engine.dispose()


def _parsed(text: str) -> URL:
    # The schemes that people paste; only this driver comes with Prefect.
    scheme, separator, rest = text.strip().partition("://")
    if not separator or scheme.partition("+")[0] not in ("postgresql", "postgres"):
        raise InputError(
            f"the database is no URL of PostgreSQL: {_EXPECTED}; without it, the server keeps a "
            "file of SQLite"
        )
    try:
        url = make_url(f"{_DRIVER}://{rest}")
    except (ArgumentError, ValueError):
        raise InputError(f"the database's URL cannot be read: {_EXPECTED}") from None
    # An @ in a password: what follows it would be taken for the host, and shown.
    if "@" in (url.host or "") or "@" in (url.database or ""):
        raise InputError(
            f"the database's URL has more than one @: {_EXPECTED}, and @ in a password as %40"
        )
    if not url.database:
        raise InputError(f"the database's URL names no database: {_EXPECTED}")
    return url


def _has_password(url: URL) -> bool:
    # The driver takes one from the options, too.
    return bool(url.password) or "password" in url.query


def _database(text: str) -> Database:
    url = _parsed(text)
    # libpq's name for it, which other clients take; here it is the driver's own.
    if "sslmode" in url.query:
        modes = url.query["sslmode"]
        url = url.difference_update_query(["sslmode"]).update_query_dict({"ssl": modes})
    return Database(
        url.render_as_string(hide_password=False),
        f"PostgreSQL database {shown(url.database or '')} at {_place(url)}",
    )


def _place(url: URL) -> str:
    query = url.query.get("host", "localhost")
    host = url.host or (query if isinstance(query, str) else ", ".join(query))
    bracketed = f"[{host}]" if ":" in host else host
    return f"{shown(bracketed)}:{url.port or 5432}"


def _explained(database: Database, error: Exception) -> MixnetError:
    """Returns what a failed connection means, by PostgreSQL's codes."""
    url = make_url(database.url)
    user, place = shown(url.username or "this user"), _place(url)
    code = next((found for found in map(_code, _chain(error)) if found), None)
    if code in ("28P01", "28000"):
        return InputError(
            f"{place} refuses {user}: expected a user that exists and its password, in "
            f"{_FOR_PASSWORDS}"
        )
    if code == "3D000":
        name = shown(url.database or "")
        return InputError(f"no database {name} at {place}: `createdb {name}` makes it")
    if code in ("53300", "57P03"):
        return TransientError(
            f"{place} takes no connection now ({type(error).__name__}): try again later"
        )
    if any(isinstance(cause, socket.gaierror) for cause in _chain(error)):
        return InputError(f"no host {place} is known here: correct the database's URL")
    if any(isinstance(cause, OSError | TimeoutError) for cause in _chain(error)):
        return TransientError(
            f"no PostgreSQL answers at {place} ({type(error).__name__}): start it, or correct the "
            "database's URL"
        )
    if isinstance(error, TypeError | ValueError):
        return InputError(
            f"the database's URL has an option that asyncpg does not take: {_EXPECTED}?ssl=require"
        )
    return MachineError(
        f"{database.shown} cannot be used ({type(error).__name__}{f', {code}' if code else ''}): "
        "see PostgreSQL's log"
    )


def _code(error: BaseException) -> str | None:
    return getattr(error, "sqlstate", None)


def _chain(error: BaseException) -> list[BaseException]:
    """Returns an error and what led to it: SQLAlchemy wraps some of the driver's and not others."""
    found: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in found:
        found.append(following)
        following = getattr(following, "orig", None) or following.__cause__
    return found


def _seen_by_all(where: str) -> InputError:
    return InputError(
        f"a password in {where} is shown to everybody on this machine: leave it out, and put it "
        f"into {_FOR_PASSWORDS}"
    )
