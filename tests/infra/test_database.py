"""PostgreSQL by one setting: used as it is, or refused in a line that shows no password."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mixnet_core.errors import InputError, MixnetError, TransientError
from mixnet_flows.infra.database import VARIABLE, Database, database_of, require_usable
from tests.infra.postgres import Postgres

PROJECT = Path(__file__).parents[2]
SECRET = "s3cr3t-Of-The-Database"


@pytest.fixture(scope="module")
def prepared(postgres: Postgres) -> Postgres:
    """Databases and users as people have them."""
    postgres.sql(
        f"CREATE ROLE owner LOGIN PASSWORD '{SECRET}'",
        f"CREATE ROLE guest LOGIN PASSWORD '{SECRET}'",
        "CREATE DATABASE prefect OWNER owner",
        "CREATE DATABASE latin OWNER owner ENCODING 'LATIN1' TEMPLATE template0",
        "CREATE DATABASE replica OWNER owner",
        "ALTER DATABASE replica SET default_transaction_read_only = on",
        "CREATE DATABASE half OWNER owner",
    )
    postgres.sql("GRANT CREATE ON SCHEMA public TO guest", database="half")
    return postgres


@pytest.fixture(autouse=True)
def _no_password_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGPASSWORD", "PGPASSFILE", "PGUSER", VARIABLE, "MAKEFLAGS"):
        monkeypatch.delenv(name, raising=False)


def from_environment(url: str, **others: str) -> Database:
    found = database_of(None, {VARIABLE: url, **others})
    assert found is not None
    return found


def refusal(url: str) -> MixnetError:
    with pytest.raises(MixnetError) as caught:
        require_usable(from_environment(url))
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value


def test_a_database_that_the_user_owns_is_usable_and_shown_without_its_password(
    prepared: Postgres,
) -> None:
    database = from_environment(prepared.url("prefect", "owner", SECRET))
    require_usable(database)
    assert database.shown == f"PostgreSQL database prefect at 127.0.0.1:{prepared.port}"
    assert SECRET not in repr(database)
    assert SECRET in database.url


def test_the_password_comes_from_where_psql_takes_it(
    prepared: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"postgres://owner@127.0.0.1:{prepared.port}/prefect"
    database = database_of(url, {})
    assert database is not None
    with pytest.raises(InputError, match=r"refuses owner: .*PGPASSWORD"):
        require_usable(database)
    monkeypatch.setenv("PGPASSWORD", SECRET)
    require_usable(database)


@pytest.mark.parametrize(
    ("database", "user", "password", "said"),
    [
        ("prefect", "owner", f"{SECRET}-not", "refuses owner: expected a user that exists and its"),
        ("prefect", "nobody", SECRET, "refuses nobody"),
        ("absent", "owner", SECRET, "no database absent at .*`createdb absent` makes it"),
        ("latin", "owner", SECRET, "encoded in LATIN1, expected UTF8"),
        ("replica", "owner", SECRET, "can only be read: name the primary"),
        (
            "prefect",
            "guest",
            SECRET,
            "guest may make no tables .*DATABASE prefect OWNER TO guest",
        ),
        ("half", "guest", SECRET, "guest may not add the extension pg_trgm"),
    ],
)
def test_what_prefect_would_fail_on_is_said_before_it_starts(
    prepared: Postgres, database: str, user: str, password: str, said: str
) -> None:
    error = refusal(prepared.url(database, user, password))
    assert isinstance(error, InputError)
    with pytest.raises(InputError, match=said):
        raise error


@pytest.fixture
def nothing() -> Iterator[int]:
    """A port that is bound, where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]


def test_where_nothing_answers_it_may_be_tried_again(nothing: int) -> None:
    error = refusal(f"postgresql+asyncpg://owner:{SECRET}@127.0.0.1:{nothing}/prefect")
    assert isinstance(error, TransientError)
    assert f"no PostgreSQL answers at 127.0.0.1:{nothing}" in str(error)


def test_a_host_that_does_not_exist_is_the_callers_mistake() -> None:
    error = refusal(f"postgresql+asyncpg://owner:{SECRET}@no-such-host.invalid/prefect")
    assert isinstance(error, InputError)
    assert "no host no-such-host.invalid:5432 is known here" in str(error)


def test_options_are_psqls_or_the_drivers(prepared: Postgres) -> None:
    url = prepared.url("prefect", "owner", SECRET)
    require_usable(from_environment(f"{url}?sslmode=prefer"))
    assert "option that asyncpg does not take" in str(refusal(f"{url}?colour=blue"))


@pytest.mark.parametrize(
    "text",
    [
        "prefect",
        "mysql://u:{}@host/prefect",
        "sqlite+aiosqlite:///prefect.db",
        "postgresql:/u:{}@host/prefect",
        "postgresql://u:{}@host:port/prefect",
        "postgresql://u:a@{}@host/prefect",
        "postgresql://u:{}@host",
        "{}",
    ],
)
def test_what_is_no_url_of_postgresql_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(InputError, match="expected postgresql") as caught:
        from_environment(text.format(SECRET))
    assert SECRET not in str(caught.value)


def test_a_password_where_others_see_it_is_refused() -> None:
    url = f"postgresql://owner:{SECRET}@host/prefect"
    with pytest.raises(InputError, match="a password in --database is shown to everybody") as first:
        database_of(url, {})
    # What `make serve DATABASE=...` leaves in the environment.
    with pytest.raises(InputError, match="a password in DATABASE is shown") as second:
        database_of(None, {VARIABLE: url, "MAKEFLAGS": f" -- DATABASE={url}"})
    assert SECRET not in f"{first.value}{second.value}"
    # The driver takes one from there, too.
    with pytest.raises(InputError, match="a password in --database is shown to everybody"):
        database_of(f"postgresql://owner@host/prefect?password={SECRET}", {})


@pytest.mark.parametrize("name", ["DATABASE", VARIABLE])
@pytest.mark.parametrize("password", ["plain", "do$$llar", "back\\slash", "sp ace", "ha#sh"])
def test_a_password_behind_make_is_noticed_however_make_writes_it(
    name: str, password: str, tmp_path: Path
) -> None:
    said = made(tmp_path, f"{name}=postgresql://owner:{password}@host/prefect")
    with pytest.raises(InputError, match=f"a password in {name} is shown to everybody"):
        database_of(None, said)


@pytest.mark.parametrize("password", ["pa$word", "a$$b", "$(shell id)", "p%24#'\"&!"])
def test_make_hands_on_the_environments_password_as_it_is(password: str, tmp_path: Path) -> None:
    url = f"postgresql://owner:{password}@host/prefect"
    said = made(tmp_path, **{VARIABLE: url})
    assert said[VARIABLE] == url
    assert database_of(None, said) is not None


def made(folder: Path, *arguments: str, **environment: str) -> dict[str, str]:
    """The environment in which `make serve` starts Python."""
    python = folder / "bin" / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\nexec env -0\n")
    python.chmod(0o755)
    ready = folder / ".ready"
    ready.touch()
    os.utime(ready, (2**33, 2**33))
    done = subprocess.run(
        ["make", "-s", "-C", str(PROJECT), "serve", f"VENV={folder}", *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        check=True,
    )
    pairs = (entry.partition("=") for entry in done.stdout.decode().split("\0"))
    return {name: value for name, equals, value in pairs if equals}


def test_without_a_setting_there_is_none() -> None:
    assert database_of(None, {}) is None
    assert database_of("", {VARIABLE: ""}) is None


def test_an_error_of_an_unknown_kind_says_its_kind_only(
    prepared: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = from_environment(prepared.url("prefect", "owner", SECRET))

    async def fails(url: str) -> None:
        raise RuntimeError(f"at {url}")

    monkeypatch.setattr("mixnet_flows.infra.database._properties", fails)
    with pytest.raises(MixnetError, match=r"cannot be used \(RuntimeError\)") as caught:
        require_usable(replace(database))
    assert SECRET not in str(caught.value)
