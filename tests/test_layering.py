"""Imports go downward only: what stands low can be read and tested without what is above."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# From the top. A unit is a package or module directly below mixnet_core, or flows; those in one row
# do not import each other.
LAYERS = (
    ("flows", "cli"),
    ("cli_measuring", "cli_stages"),
    ("cli_imagenet", "evaluating"),
    ("cli_options", "revalidation", "stages", "terminal"),
    ("accepting", "released", "reporting", "selecting"),
    ("measuring", "options", "origin"),
    ("launch", "preflight", "recipe_lines", "release", "runs"),
    ("failure", "train", "watchdog"),
    ("evaluate",),
    ("checkpoints", "data", "model"),
    ("native", "requests"),
    ("recipe", "run_dir", "transfer"),
    ("child", "storage", "summaries", "user_cache"),
    ("recipe_choices",),
    ("recipe_mindcv", "recipe_sections"),
    (
        "cores",
        "device_faults",
        "files",
        "mindcv_keys",
        "model.variants",
        "oom_kills",
        "row_follower",
        "rules",
        "supervisor",
        "ticks",
        "values",
    ),
    ("uris",),
    ("errors",),
)
LEVELS = {unit: -level for level, units in enumerate(LAYERS) for unit in units}

# Two files, one unit: the second is loaded only for s3://, because boto3 takes long to import.
SAME_UNIT = {"storage_s3": "storage"}
# Rows of data without imports of their own, which a recipe names.
DATA_MODULE = "model.variants"

# Everything else must work where MindSpore cannot be imported or takes too long to.
MINDSPORE = (
    "checkpoints.store",
    "data.mindrecord",
    "evaluate.look",
    "evaluate.mindspore_engine",
    "evaluate.onnx_engine",
    "evaluate.onnx_export",
    "evaluate.openvino_engine",
    "evaluate.scoring",
    "model",
    "native.operators",
    "train",
)


def modules() -> list[tuple[str, Path]]:
    """Dotted names of all modules of the project that are there."""
    found = []
    for package in ("mixnet_core", "flows"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found.append((".".join(p for p in parts if p != "__init__"), path))
    return found


def unit_of(module: str) -> str:
    """Of a module or a name in one; "" for mixnet_core itself, which holds nothing."""
    if module.split(".")[0] == "flows":
        return "flows"
    within = module.removeprefix("mixnet_core").removeprefix(".")
    if is_in(within, DATA_MODULE):
        return DATA_MODULE
    first = within.split(".")[0]
    return SAME_UNIT.get(first, first)


def imported(source: str) -> Iterator[str]:
    """Dotted names a module imports, wherever in it; of `from a import b` it is a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they go"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def needs_mindspore(module: str) -> bool:
    within = module.removeprefix("mixnet_core.")
    return within != DATA_MODULE and any(is_in(within, part) for part in MINDSPORE)


def is_in(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def faults(module: str, source: str) -> list[str]:
    """What is wrong with a module's imports."""
    unit = unit_of(module)
    if unit and unit not in LEVELS:
        return [f"{module} has no place yet: give {unit} one in LAYERS"]
    found = []
    for name in imported(source):
        package = name.split(".")[0]
        if package == "prefect" and unit != "flows":
            found.append(f"{module} imports prefect, which is for flows")
        elif package == "mindspore" and not needs_mindspore(module):
            found.append(f"{module} imports mindspore, which is for {', '.join(MINDSPORE)}")
        elif package in ("mixnet_core", "flows"):
            other = unit_of(name)
            if other not in LEVELS:
                found.append(f"{module} imports {name}, which has no place in LAYERS")
            elif other != unit and LEVELS[other] >= LEVELS.get(unit, 1):
                found.append(f"{module} imports {name}, which is not below it")
    return found


@pytest.mark.parametrize(("module", "path"), [pytest.param(m, p, id=m) for m, p in modules()])
def test_a_module_imports_only_what_stands_below_it(module: str, path: Path) -> None:
    assert faults(module, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("mixnet_core.files", "from mixnet_core.recipe import Recipe", "not below it"),
        ("mixnet_core.cli", "import flows.train", "not below it"),
        ("flows.train", "from mixnet_core import cli", "not below it"),
        ("mixnet_core.evaluate.report", "def f():\n  import mixnet_core.train.loop", "not below"),
        ("mixnet_core.recipe", "from mixnet_core.model.mixnet import MixNet", "not below it"),
        ("mixnet_core.model.variants", "import mixnet_core.model.layers", "not below it"),
        ("mixnet_core.stages", "from prefect import task", "prefect, which is for flows"),
        ("mixnet_core.checkpoints.bundle", "import mindspore.nn", "imports mindspore"),
        ("flows.train", "from mindspore import nn", "imports mindspore"),
        ("mixnet_core.newcomer", "", "no place yet"),
        ("mixnet_core.cli", "import mixnet_core.newcomer", "no place in LAYERS"),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str, fault: str) -> None:
    (found,) = faults(module, source)
    assert fault in found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("mixnet_core.recipe", "from mixnet_core.model.variants import VARIANTS"),
        ("mixnet_core.model.mixnet", "from mixnet_core.model.variants import VARIANTS"),
        ("mixnet_core.storage", "from mixnet_core.storage_s3 import S3Storage"),
        ("flows.train", "from flows.tasks import a\nimport prefect\nimport mixnet_core.stages"),
        ("mixnet_core.train.loop", "import mindspore"),
    ],
)
def test_a_right_import_is_not(module: str, source: str) -> None:
    assert faults(module, source) == []


def test_all_but_the_mindspore_modules_import_without_mindspore(tmp_path: Path) -> None:
    names = [
        name for name, _ in modules() if not needs_mindspore(name) and not name.endswith("__main__")
    ]
    assert {"mixnet_core.recipe", "mixnet_core.values", "mixnet_core.preflight"} <= set(names)
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
