"""The wheel as somebody has it who has no checkout: built, installed elsewhere, run, deployed."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import pytest

from mixnet_core.model.native.levels import LEVELS, RECORD
from tests.flows.conftest import asked, clean_environment, served
from tests.tiny import options

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
# What setuptools could take by mistake is there too.
TREE = (
    "LICENSE", "README.md", "pyproject.toml", "prefect.yaml", "setup.py",
    "benchmarks", "flows", "infra", "mixnet_core", "tests",
)  # fmt: skip
MADE = shutil.ignore_patterns("__pycache__", "*.egg-info")
PACKAGES = {"mixnet_core": ROOT / "mixnet_core", "mixnet_flows": ROOT / "flows" / "mixnet_flows"}
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def ran(
    *command: str | Path, cwd: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Ends well, in an environment that leads to no checkout."""
    given = environment or clean_environment()
    others = ("PYTHONPATH", "MIXNET_HOME")
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={key: value for key, value in given.items() if key not in others},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@dataclass(frozen=True)
class Installed:
    """An environment that has the wheel, and a folder to work in.

    Attributes:
        bin: of the environment.
        folder: an empty one; tests leave theirs below it.
    """

    bin: Path
    folder: Path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: setuptools leaves folders where it builds, and takes what lies there."""
    tree, built = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("built")
    for name in TREE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=MADE)
        else:
            shutil.copy2(ROOT / name, tree / name, follow_symlinks=False)
    flags = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation")
    ran(*PIP, "wheel", *flags, "--wheel-dir", built, tree, cwd=built)
    (file,) = built.iterdir()
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    root = tmp_path_factory.mktemp("elsewhere")
    environment, folder = root / "environment", root / "work"
    folder.mkdir()
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    flags = ("--quiet", "--no-deps", "--no-index")
    ran(*PIP, "--python", python, "install", *flags, wheel, cwd=folder)
    # Dependencies as this environment has them, without its own .pth: one leads to the checkout.
    # Only now: pip would see the project there and find that it is installed.
    (site,) = environment.glob("lib/python*/site-packages")
    others = [entry for entry in sys.path if Path(entry).name == "site-packages"]
    (site / "dependencies.pth").write_text("\n".join(others) + "\n")
    return Installed(environment / "bin", folder)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with served(tmp_path_factory.mktemp("server")) as environment:
        yield environment


def test_its_names_are_nobody_elses(wheel: Path) -> None:
    assert wheel.name.startswith("mindspore_mixnet-")
    with ZipFile(wheel) as file:
        names = {name.split("/")[0] for name in file.namelist()}
    (metadata,) = names - PACKAGES.keys()
    assert names >= PACKAGES.keys()
    assert metadata.endswith(".dist-info")


def test_it_has_every_file_of_its_packages(wheel: Path) -> None:
    with ZipFile(wheel) as file:
        content = {
            name: file.read(name) for name in file.namelist() if name.split("/")[0] in PACKAGES
        }
    expected = {
        f"{package}/{path.relative_to(folder)}": path.read_bytes()
        for package, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    # Made with it; a checkout has none.
    made = {name for name in content if "/native/prebuilt/" in name}
    content = {name: data for name, data in content.items() if name not in made}
    assert content.keys() == expected.keys()
    assert content == expected
    here = [level.name for level in LEVELS if level.machine == platform.machine()]
    assert {Path(name).name for name in made} == {*(f"{name}.so" for name in here), RECORD}
    kinds = {Path(name).suffix for name in content}
    assert kinds >= {".py", ".yaml", ".csv", ".html", ".cpp", ".h", ".typed"}
    assert {"mixnet_flows/prefect.yaml", "mixnet_flows/infra/zombies.yaml"} <= content.keys()


def test_what_runs_is_the_wheel(installed: Installed) -> None:
    program = (
        "import mixnet_core, mixnet_flows.infra\n"
        "print(mixnet_core.__file__, mixnet_flows.infra.__file__, sep='\\n')"
    )
    done = ran(installed.bin / "python", "-c", program, cwd=installed.folder)
    for line in done.stdout.splitlines():
        assert Path(line).is_relative_to(installed.bin.parent)
    done = ran(installed.bin / "mixnet", "--version", cwd=installed.folder)
    assert done.stdout.startswith("mixnet ")


def test_a_tiny_run_is_published_and_has_the_native_operators_without_a_compiler(
    installed: Installed, tmp_path: Path
) -> None:
    bare = clean_environment() | {"MIXNET_CACHE": str(tmp_path), "PATH": str(installed.bin)}
    bare.pop("CXX", None)
    arguments = ("digits", "--run=tiny", "--epochs=1", "--ranks=1", *options(), "--json")
    mixnet = installed.bin / "mixnet"
    done = ran(mixnet, "run", *arguments, cwd=installed.folder, environment=bare)
    (attempt,) = (installed.folder / "workspace/runs/tiny/attempts/train").iterdir()
    assert json.loads((attempt / "request.json").read_text())["operators"] == "native"
    release = json.loads(done.stdout)["publish"]
    published = installed.folder / "workspace" / "releases" / "tiny"
    assert release["uri"] == published.as_uri()
    assert published.is_dir()


def test_its_deployments_are_deployed_as_the_command_says(
    installed: Installed, server: dict[str, str]
) -> None:
    folder = installed.folder / "deployed"
    folder.mkdir()
    done = ran(installed.bin / "mixnet", "deployments", ".", cwd=folder)
    assert (folder / "prefect.yaml").read_bytes() == (ROOT / "prefect.yaml").read_bytes()
    python = str(installed.bin / "python")
    # The environment lacks what the dependencies would have put there: their commands.
    commands = {"python": [python], "prefect": [python, "-m", "prefect"]}
    for line in done.stdout.splitlines()[1:]:
        command, *arguments = line.split()
        ran(*commands[command], *arguments, cwd=folder, environment=server)
    api = server["PREFECT_API_URL"]
    deployed = {row["name"]: row for row in asked("POST", f"{api}/deployments/filter", {})}
    assert {name: row["entrypoint"] for name, row in deployed.items()} == {
        "train": "mixnet_flows.mixnet.mixnet",
        "finetune": "mixnet_flows.mixnet.mixnet",
        "unpack": "mixnet_flows.imagenet.imagenet",
        "releases": "mixnet_flows.revalidate.revalidate",
        "node": "mixnet_flows.node.node",
        "alarm": "mixnet_flows.alarm.alarm",
    }
    # Runs start where the pool says, not where the file was.
    assert {row["path"] for row in deployed.values()} <= {None, "."}
    template = asked("GET", f"{api}/work_pools/mixnet")["base_job_template"]
    assert template["variables"]["properties"]["working_dir"]["default"] == str(folder)
