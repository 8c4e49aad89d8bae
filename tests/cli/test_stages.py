"""The subcommands of the stages beside the flow that runs them: one declaration of each option."""

from __future__ import annotations

import ast
import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from mixnet_core.cli.app import app
from mixnet_core.cli.options import refuse_empty
from mixnet_core.errors import EXIT_CODES, InputError
from mixnet_core.recipe.recipe import recipe_names
from mixnet_core.stages import options, table
from tests.data.samples import write_image_folder

ROOT = Path(__file__).parents[2]
COMMANDS: Any = typer.main.get_command(app)
# What only the command line, only the flow has.
TYPED = {"recipe_option", "set_", "as_json", "quiet", "help"}
FORM = {"settings", "publish_to", "hosts"}


def flow_parameters() -> list[str]:
    """Of the flow `mixnet`, read from its source: importing it would import Prefect."""
    (file,) = (path for path in ROOT.glob("flows/**/mixnet.py") if path.is_file())
    tree = ast.parse(file.read_text(encoding="utf-8"))
    (flow,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "mixnet")
    return [argument.arg for argument in flow.args.args]


def flow_calls() -> list[str]:
    """The tasks that the flow's body calls, in its order."""
    (file,) = (path for path in ROOT.glob("flows/**/mixnet.py") if path.is_file())
    calls = [
        (node.lineno, node.func.attr)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "tasks"
    ]
    return [name for _, name in sorted(calls)]


def parameters(command: str) -> dict[str, Any]:
    return {str(item.name): item for item in COMMANDS.commands[command].params}


def test_mixnet_run_and_the_flow_take_the_same_options() -> None:
    ours = set(parameters("run")) - TYPED
    assert ours == set(flow_parameters()) - FORM
    assert set(options.HELP) == set(flow_parameters())


@pytest.mark.parametrize("name", sorted(set(options.HELP) - FORM - {"recipe"}))
def test_an_options_help_is_the_forms(name: str) -> None:
    assert parameters("run")[name].help == options.HELP[name]


def test_the_flow_and_the_command_line_have_the_stages_of_the_table_in_its_order() -> None:
    names = [stage.name for stage in table.STAGES]
    # Files for other runtimes are made where a recipe asks for them.
    assert flow_calls() == ["check", *names[:-1], table.EXPORT.name, names[-1]]
    assert [name for name in COMMANDS.commands if name in names] == names
    for stage in (table.CHECK, *table.STAGES):
        assert inspect.getdoc(stage.run)
        assert stage.retries.reason


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("prepare", "--accept-anyway=x"),
        ("train", "--release=x"),
        ("select", "--name=x"),
        ("accept", "--release=x"),
        ("run", "--near-duplicates=4"),
        ("check", "--epochs=3"),
        ("releases", "--data=x"),
        ("prepare", "--single-writer"),
        ("accept", "--single-writer"),
    ],
)
def test_a_subcommand_refuses_options_that_are_not_its_own(command: str, option: str) -> None:
    done = CliRunner().invoke(app, [command, option])
    assert done.exit_code == 2
    assert f"No such option: {option.partition('=')[0]}" in done.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("prepare", "digits", "--registry=x"),
        ("fetch", "digits", "--registry=x"),
        ("select", "digits", "--registry=x"),
        ("validate", "digits", "--registry=x"),
        ("accept", "digits", "--registry=x"),
        ("releases", "--registry=x", "--workspace=y"),
        ("prepare", "imagenet", "--train-tar=x", "--to=x", "--workspace=y"),
    ],
)
def test_an_option_that_says_nothing_here_is_refused(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, InputError)
    assert "says nothing" in str(done.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("accept", "digits", "--registry=x", "--set=acceptance.replaces=tiny"),
        ("fetch", "digits", "--registry=x", "--weights=tiny"),
        ("publish", "digits", "--registry=x"),
    ],
)
def test_a_registry_is_taken_where_something_is_looked_up_or_published(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, InputError)
    assert "says nothing" not in str(done.exception)


@pytest.mark.parametrize("option", ["--epochs=0", "--lr=0", "--ranks=0", "--global-batch=0"])
def test_a_zero_is_not_taken_for_an_option_that_was_left_out(option: str) -> None:
    done = CliRunner().invoke(app, ["train", "--run=none", option])
    assert f"{option[:-2]} would change the recipe of run none" in str(done.exception)


@pytest.mark.parametrize("tolerance", ["nan", "-1", "1.5", "inf"])
def test_a_tolerance_is_a_share(tolerance: str) -> None:
    done = typed("revalidate", f"--tolerance={tolerance}")
    assert done.returncode == 2
    assert "--tolerance" in done.stderr


@pytest.mark.parametrize("command", ["run", "train", "publish", "check"])
def test_what_checks_or_publishes_takes_the_word_that_nobody_else_does(command: str) -> None:
    assert parameters(command)["single_writer"].opts == ["--single-writer"]


@pytest.mark.parametrize("flag", ["--registry", "--publish-to"])
def test_the_registry_is_taken_under_its_old_name_too(flag: str) -> None:
    assert flag in parameters("releases")["registry"].opts


@pytest.mark.parametrize("arguments", [["run", ""], ["run", "--data="], ["train", "--run", ""]])
def test_an_empty_argument_is_refused(arguments: list[str]) -> None:
    with pytest.raises(InputError, match="is empty: give it a value, or leave it out"):
        refuse_empty(arguments)


def test_an_argument_that_is_no_text_is_refused() -> None:
    with pytest.raises(InputError, match="argument 2 is no text in UTF-8"):
        refuse_empty(["check", "\udcff"])
    refuse_empty(["check", "größe\U0001f600"])


def test_a_setting_may_be_an_empty_text() -> None:
    refuse_empty(["run", "--set", "description=", "--set=description="])


def test_every_exit_code_is_said_in_the_help() -> None:
    epilog = COMMANDS.epilog or ""
    assert all(f"{code} {text}" in epilog for code, text in EXIT_CODES.items())


def typed(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mixnet_core.cli", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_command_may_be_called_as_a_module() -> None:
    assert typed("--version").stdout.startswith("mixnet ")


def test_a_secret_is_refused_before_an_empty_value_is_told() -> None:
    done = typed("run", "--s3://AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMIK7MDENGbPx@bucket/x=")
    assert done.returncode == 2
    assert "wJalr" not in done.stderr + done.stdout
    assert "must not hold credentials" in done.stderr


@pytest.mark.parametrize("option", ["--ranks", "--global-batch", "--epochs"])
def test_a_value_out_of_bounds_is_an_error_for_scripts_too(option: str) -> None:
    done = typed("run", "digits", option, "0", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["type"] == "RecipeError"


def test_bundled_recipes_are_listed_a_line_each() -> None:
    done = CliRunner().invoke(app, ["recipe", "list"])
    assert [line.split()[0] for line in done.output.splitlines()] == recipe_names()


def test_training_does_not_ask_for_images_that_are_prepared_already(tmp_path: Path) -> None:
    """It gets as far as the registry, which is looked at after the data."""
    images = write_image_folder(tmp_path / "images", {"ant": 16, "bee": 16})
    place = (f"--workspace={tmp_path / 'workspace'}", "--run=r")
    prepared = typed(
        "prepare", "finetune", f"--data={images}", "--set=weights.name=null", *place, "--quiet"
    )
    assert prepared.returncode == 0, prepared.stderr
    shutil.rmtree(images)
    done = typed("train", *place, "--registry=/proc/nowhere")
    assert "cannot write /proc/nowhere" in done.stderr


def test_preparing_counts_what_looks_alike_where_that_is_asked_for(tmp_path: Path) -> None:
    images = write_image_folder(tmp_path / "images", {"ant": 9, "bee": 9}, {"ant": 2, "bee": 2})
    again = images / "train" / "bee" / "again.bmp"
    Image.open(images / "val" / "ant" / "000.png").save(again)
    arguments = (
        "prepare",
        "finetune",
        f"--data={images}",
        "--set=weights.name=null",
        "--set=training.global_batch=4",
        f"--workspace={tmp_path / 'workspace'}",
    )
    done = typed(*arguments, "--near-duplicates=0", "--json")
    found = json.loads(done.stdout)
    assert found["prepare"]["overlap"]["all"] == 0
    assert found["near_duplicates"]["val_in_training"] == 1
    listing = Path(found["prepare"]["root"]) / "near_duplicates.csv"
    assert f"1 of val in train or select too, 2 under several classes, listed in {listing}" in (
        done.stderr
    )
    assert len(listing.read_text().splitlines()) == 3
    assert "near_duplicates" not in json.loads(typed(*arguments, "--json").stdout)
    assert typed(*arguments, "--near-duplicates=11").returncode == 2
