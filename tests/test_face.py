"""What `import mixnet_core` offers: documented, typed, loaded when it is asked for."""

from __future__ import annotations

import doctest
import inspect
import os
import subprocess
import sys
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


def test_a_network_without_a_class_count_is_refused_in_a_line() -> None:
    recipe = load_recipe("digits", SETTINGS | {"network.num_classes": None})
    with pytest.raises(mixnet_core.MixnetError, match="say how many as classes"):
        mixnet_core.build_network(recipe)
