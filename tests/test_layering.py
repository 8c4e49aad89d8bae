"""Imports go downward only: what stands low can be read and tested without what is above."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mixnet"]
LAYERS: list[list[str]] = [row.split() for row in SETTINGS["layers"]]
LEVELS = {folder: -level for level, row in enumerate(LAYERS) for folder in row}
MINDSPORE: list[str] = SETTINGS["mindspore"]


def modules() -> dict[str, Path]:
    """All modules of the project: dotted name -> file."""
    return {
        ".".join(
            part for part in path.relative_to(root).with_suffix("").parts if part != "__init__"
        ): path
        for root, package in ((ROOT, "mixnet_core"), (ROOT / "flows", "mixnet_flows"))
        for path in sorted((root / package).rglob("*.py"))
    }


def folder_of(module: str) -> str:
    """The folder of mixnet_core that a module, or a name in one, stands in; "" for the face."""
    if module.split(".")[0] == "mixnet_flows":
        return "flows"
    return module.removeprefix("mixnet_core").removeprefix(".").split(".")[0]


def imported(source: str, *, at_once: bool = False) -> Iterator[str]:
    """Dotted names a module imports, wherever in it; of `from a import b` it is a.b.

    Args:
        at_once: only those that are imported as soon as the module is.
    """
    tree = ast.parse(source)
    for node in tree.body if at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they go"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def needs_mindspore(module: str) -> bool:
    within = module.removeprefix("mixnet_core.")
    return any(within == part or within.startswith(f"{part}.") for part in MINDSPORE)


def faults(module: str, source: str) -> list[str]:
    """What is wrong with a module's imports."""
    folder = folder_of(module)
    if folder and folder not in LEVELS:
        return [f"{module} has no place yet: give {folder} one in pyproject.toml's layers"]
    found = []
    at_once = {name.split(".")[0] for name in imported(source, at_once=True)}
    if "mindspore" in at_once and not needs_mindspore(module):
        found.append(f"{module} imports mindspore, which is for {', '.join(MINDSPORE)}")
    for name in imported(source):
        package = name.split(".")[0]
        if package == "prefect" and folder != "flows":
            found.append(f"{module} imports prefect, which is for flows")
        elif package in ("mixnet_core", "mixnet_flows"):
            other = folder_of(name)
            if other not in LEVELS:
                found.append(f"{module} imports {name}, which has no place in the layers")
            elif folder and other != folder and LEVELS[other] >= LEVELS[folder]:
                found.append(f"{module} imports {name}, which is not below it")
    return found


def imports_of(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Which of the modules each imports."""
    found: dict[str, set[str]] = {}
    for module, source in sources.items():
        names = set(imported(source))
        parents = {name.rpartition(".")[0] for name in names if name not in sources}
        found[module] = {name for name in names | parents if name in sources} - {module}
    return found


def circle(sources: Mapping[str, str]) -> list[str]:
    """The modules of a circle of imports; [] if there is none."""
    try:
        TopologicalSorter(imports_of(sources)).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize(
    ("module", "path"), [pytest.param(m, p, id=m) for m, p in modules().items()]
)
def test_a_module_imports_only_what_stands_below_it(module: str, path: Path) -> None:
    assert faults(module, path.read_text(encoding="utf-8")) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert (
        circle({name: path.read_text(encoding="utf-8") for name, path in modules().items()}) == []
    )


def test_a_circle_would_be_found() -> None:
    sources = {
        "mixnet_core.a": "from mixnet_core.b import f",
        "mixnet_core.b": "def f():\n  from mixnet_core import c",
        "mixnet_core.c": "import mixnet_core.a",
    }
    assert set(circle(sources)) == set(sources)


def test_every_folder_has_its_place_and_stands_alone_at_the_root() -> None:
    entries = {path.name for path in (ROOT / "mixnet_core").iterdir()} - {"__pycache__"}
    folders = {layer for row in LAYERS for layer in row} - {"flows", "errors"}
    assert entries == folders | {"__init__.py", "errors.py", "py.typed"}


def test_contributing_shows_the_order_that_is_held() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    picture = text.partition("<!-- layers -->")[2].partition("```\n")[2].partition("```")[0]
    rows = [line[:12].split() for line in picture.splitlines()]
    assert [row for row in rows if row] == LAYERS


def test_tests_mirror_the_house() -> None:
    """A module's tests stand in the folder of the same name."""
    kept = {"mutate", "oracle", "faults", "fuzz", "flows", "infra", "benchmarks"}
    folders = {path.name for path in (ROOT / "tests").iterdir() if (path / "__init__.py").is_file()}
    assert folders - kept <= {layer for row in LAYERS for layer in row}
    at_the_root = {path.stem for path in (ROOT / "tests").glob("test_*.py")}
    # Of the whole project, not of a module.
    assert at_the_root <= {
        "test_documents",
        "test_errors",
        "test_face",
        "test_framework_defaults",
        "test_kinds",
        "test_layering",
        "test_old_versions",
        "test_refusals",
        "test_secrets",
        "test_wheel",
    }


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("mixnet_core.storage.files", "from mixnet_core.recipe import recipe", "not below it"),
        ("mixnet_core.cli.app", "import mixnet_flows.train", "not below it"),
        ("mixnet_flows.train", "from mixnet_core.cli import app", "not below it"),
        (
            "mixnet_core.evaluate.report.data",
            "def f():\n  import mixnet_core.train.loop",
            "not below",
        ),
        ("mixnet_core.model.variants", "import mixnet_core.recipe.recipe", "not below it"),
        ("mixnet_core.stages", "from prefect import task", "prefect, which is for flows"),
        ("mixnet_core.checkpoints.bundle", "import mindspore.nn", "imports mindspore"),
        ("mixnet_flows.train", "from mindspore import nn", "imports mindspore"),
        ("mixnet_core.newcomer", "", "no place yet"),
        ("mixnet_core.cli.app", "import mixnet_core.newcomer", "no place in the layers"),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str, fault: str) -> None:
    (found,) = faults(module, source)
    assert fault in found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("mixnet_core.recipe.sections", "from mixnet_core.model.variants import VARIANTS"),
        ("mixnet_core.storage.open", "from mixnet_core.storage.schemes.s3 import S3Storage"),
        (
            "mixnet_flows.train",
            "from mixnet_flows.tasks import a\nimport prefect\nimport mixnet_core.stages",
        ),
        ("mixnet_core.train.loop", "import mindspore"),
    ],
)
def test_a_right_import_is_let_be(module: str, source: str) -> None:
    assert faults(module, source) == []


def test_all_but_the_mindspore_modules_import_without_mindspore(tmp_path: Path) -> None:
    names = [
        name for name in modules() if not needs_mindspore(name) and not name.endswith("__main__")
    ]
    assert {"mixnet_core", "mixnet_core.runs.values", "mixnet_core.stages.check"} <= set(names)
    program = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'mindspore' not in sys.modules, f'{name} imports mindspore'\n"
        "    if name.startswith('mixnet_core'):\n"
        "        assert 'prefect' not in sys.modules, f'{name} imports prefect'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PREFECT_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
