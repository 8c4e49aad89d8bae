"""The compose file: what Compose makes of it, and that what it starts exists and fits together."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mixnet_core.recipe.recipe import load_recipe
from mixnet_flows.infra import database, password, saving, store
from mixnet_flows.infra.server import Parser, add_options
from tests.infra.tools import INFRA, needs, said

FILE = INFRA / "compose" / "compose.yaml"
EXAMPLE = INFRA / "compose" / "example.env"
SECRETS = ("DATABASE_PASSWORD", "MIXNET_PASSWORD", "STORE_KEY", "STORE_SECRET")


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text())["services"]
    return found


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """The example, with each secret a word that can be found again."""
    text = EXAMPLE.read_text()
    for name in SECRETS:
        assert f"\n{name}=\n" in text
        text = text.replace(f"\n{name}=\n", f"\n{name}=user:{name.lower()}\n")
    file = tmp_path / "settings.env"
    file.write_text(text)
    return file


@needs("docker-compose")
def test_compose_takes_it_and_the_database_alone_and_its_server_know_its_password(
    settings: Path,
) -> None:
    code, out = said(
        "docker-compose", "-f", FILE, "--env-file", settings, "config", "--format", "json"
    )
    assert code == 0, out
    found = json.loads(out)["services"]
    assert found.keys() == {"database", "store", "server", "setup", "worker"}
    knowing = {name for name, service in found.items() if "database_password" in str(service)}
    assert knowing == {"database", "server"}
    published = [port for service in found.values() for port in service.get("ports", [])]
    assert [(port["host_ip"], port["target"]) for port in published] == [("127.0.0.1", 4200)]


@needs("docker-compose")
@pytest.mark.parametrize("name", SECRETS)
def test_without_a_secret_compose_starts_nothing_and_says_which(settings: Path, name: str) -> None:
    text = re.sub(rf"^{name}=.*$", f"{name}=", settings.read_text(), flags=re.MULTILINE)
    settings.write_text(text)
    code, out = said("docker-compose", "-f", FILE, "--env-file", settings, "config", "--quiet")
    assert code != 0
    assert f"required variable {name} is missing a value" in out


def test_the_server_is_told_what_it_understands() -> None:
    server = services()["server"]
    assert server["command"][:3] == ["python", "-m", "mixnet_flows.infra.server"]
    parser = Parser()
    add_options(parser)
    parser.add_argument("--home")
    options = parser.parse_args(server["command"][3:])
    assert options.host == "0.0.0.0"
    told = {
        name: re.sub(r"\$\{.*\}", "user:x", text) for name, text in server["environment"].items()
    }
    assert password.password_of(None, told) == "user:x"
    # The password is not in the URL, which is shown in places.
    assert database.database_of(None, told) is not None
    assert ":" not in told[database.VARIABLE].partition("://")[2]


def test_the_store_is_started_as_make_serve_starts_it(tmp_path: Path) -> None:
    command = services()["store"]["command"]
    assert command[0] == store.PROGRAM
    ours = [flag for flag in store._arguments(tmp_path, 8333) if "=" in flag]
    switches = {flag for flag in ours if re.search(r"=(true|false|0)$", flag)}
    assert switches - {"-logtostderr=true"} <= set(command)
    for name in ("setup", "worker"):
        environment = services()[name]["environment"]
        assert environment["AWS_ENDPOINT_URL_S3"].endswith(":8333")
        assert environment["MIXNET_REGISTRY"] == f"s3://{store.BUCKET}/releases"
    assert f'"{store.BUCKET}"' in services()["setup"]["command"][2]


def test_a_stop_gives_runs_the_time_that_they_take_to_save() -> None:
    worker = services()["worker"]
    seconds = float(worker["environment"]["MIXNET_SAVE_SECONDS"])
    assert seconds == saving.SECONDS > load_recipe("digits").devices.grace_seconds + 10
    assert float(worker["stop_grace_period"].rstrip("s")) >= seconds + 20


def test_nothing_is_told_what_the_example_does_not_name() -> None:
    asked = set(re.findall(r"\$\{([A-Z_]+)", FILE.read_text()))
    named = set(re.findall(r"^#?([A-Z_]+)=", EXAMPLE.read_text(), re.MULTILINE))
    assert asked == named
