"""What `import mixnet_core` offers: documented, typed, loaded when it is asked for."""

from __future__ import annotations

import doctest
import hashlib
import inspect
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mixnet_core
from mixnet_core.recipe.recipe import load_recipe
from tests.tiny import SETTINGS, FinishedJob

FUNCTIONS = [name for name in mixnet_core.__all__ if inspect.isfunction(getattr(mixnet_core, name))]


@pytest.mark.parametrize("name", mixnet_core.__all__)
def test_everything_in_it_is_documented(name: str) -> None:
    text = inspect.getdoc(getattr(mixnet_core, name))
    assert text
    assert name in (Path(__file__).parents[1] / "docs" / "reference" / "python.md").read_text()


def test_the_page_of_the_documents_names_nothing_else() -> None:
    page = (Path(__file__).parents[1] / "docs" / "reference" / "python.md").read_text()
    named = [line[4:].strip("`") for line in page.splitlines() if line.startswith("### ")]
    assert sorted(named) == sorted(mixnet_core.__all__)


@pytest.fixture
def folder(finished_job: FinishedJob, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a finished run `tiny`, with its recipe in tiny.yaml, as in the examples."""
    recipe = finished_job.run_dir / "recipe.yaml"
    (finished_job.folder / "tiny.yaml").write_bytes(recipe.read_bytes())
    monkeypatch.chdir(finished_job.folder)
    return finished_job.folder


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.usefixtures("folder")
def test_examples_of_the_functions_run(name: str) -> None:
    function = getattr(mixnet_core, name)
    (test,) = doctest.DocTestFinder(recurse=False).find(function, name, globs={})
    assert test.examples
    results = doctest.DocTestRunner().run(test)
    assert results.failed == 0


def test_importing_it_loads_neither_mindspore_nor_a_recipe(tmp_path: Path) -> None:
    program = (
        "import sys, mixnet_core\n"
        "assert 'load_recipe' in dir(mixnet_core)\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "assert not loaded & {'mindspore', 'pydantic', 'numpy', 'prefect'}, loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PREFECT_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_name_that_it_does_not_offer_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'train_everything'"):
        _: Any = mixnet_core.train_everything  # type: ignore[attr-defined]


SECRET = "s3://AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY@bucket/x"


@pytest.mark.parametrize(
    "way",
    [
        lambda recipe: mixnet_core.open_context(recipe, SECRET, run="r"),
        lambda recipe: mixnet_core.open_context(recipe, "w", run="r", registry=SECRET),
        lambda recipe: mixnet_core.load_weights(mixnet_core.build_network(recipe), SECRET),
    ],
)
def test_a_secret_in_what_it_is_given_is_neither_written_nor_printed(
    way: Callable[[mixnet_core.Recipe], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(mixnet_core.MixnetError, match="must not hold credentials") as refused:
        way(load_recipe("digits"))
    assert "wJalr" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_each_release_that_is_loaded_keeps_its_own_recipe(folder: Path) -> None:
    source = folder / "workspace" / "releases" / "tiny"
    manifest = json.loads((source / "manifest.json").read_text())
    other = folder / "others" / "tiny"
    shutil.copytree(source, other)
    recipe = other / manifest["files"]["recipe"]["name"]
    changed = recipe.read_text().replace("seed: 42", "seed: 43")
    digest = hashlib.sha256(changed.encode()).hexdigest()
    recipe.unlink()
    (other / f"recipe-{digest[:12]}.yaml").write_text(changed)
    manifest["files"]["recipe"] |= {
        "name": f"recipe-{digest[:12]}.yaml", "sha256": digest, "bytes": len(changed),
    }  # fmt: skip
    (other / "manifest.json").write_text(json.dumps(manifest))
    first = mixnet_core.load_release("tiny")
    second = mixnet_core.load_release(str(other))
    assert (first.recipe.training.seed, second.recipe.training.seed) == (42, 43)
    files = list((folder / "workspace" / "loaded").rglob("*.yaml"))
    assert len({file.read_text() for file in files}) == 2


def test_a_network_without_a_class_count_is_refused_in_a_line() -> None:
    recipe = load_recipe("digits", SETTINGS | {"network.num_classes": None})
    with pytest.raises(mixnet_core.MixnetError, match="say how many as classes"):
        mixnet_core.build_network(recipe)
