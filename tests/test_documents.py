"""Documents say what is so: links lead somewhere, commands exist, reference pages are current."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import typer
import yaml

from docs.generate import FOLDER, PAGES, deployments, parameters
from mixnet_core.cli.app import app
from mixnet_core.errors import MixnetError
from mixnet_core.recipe.recipe import recipe_names
from mixnet_core.stages.options import parse_settings
from tests.test_layering import LAYERS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENTS = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "infra" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
# What changed may name what is no more.
WITH_COMMANDS = [page for page in DOCUMENTS if page.name != "CHANGELOG.md"]
LONGEST_README = 150
NOT_RUN = re.compile(r"<!-- not run here: \S.* -->")
# What runs each command that a document gives: a test, .ci/run, or the reason why nothing does.
RUN_BY = {
    "make bench": "tests/benchmarks/test_benchmarks.py::test_operators_are_measured_side_by_side",
    "make check": ".ci/run",
    "make demo": ".ci/run",
    "make docs": ".ci/run",
    "make faults": "not run here: hangs and kills of minutes each, before a release",
    "make fuzz": "tests/fuzz/test_search.py::test_the_command_prints_a_line_a_rule_and_ends_with_0",
    "make arm64": "not run here: root, an emulator and a cross compiler; three minutes",
    "make infra": "not run here: it installs its tools; its tests run in make test where they are",
    "make long": "not run here: whole trainings, before a release",
    "make mutate": "tests/mutate/test_command.py::test_a_mutant_that_never_ends_is_noticed",
    "make oracle": "not run here: PyTorch in an environment of its own, before a release",
    "make sanitize": "tests/model/native/test_sanitized.py::"
    "test_every_case_runs_clean_under_the_address_and_undefined_behaviour_sanitizers",
    "make serve": "tests/infra/test_serve.py::"
    "test_serve_deploys_and_nothing_of_it_survives_its_kill",
    "make test": ".ci/run",
    "make trajectories": "not run here: half an hour beside PyTorch, before a release",
    "mixnet": "tests/cli/test_stages.py::test_the_command_may_be_called_as_a_module",
    "mixnet accept": "tests/cli/test_app.py::"
    "test_of_a_begun_run_only_what_computes_nothing_can_be_set",
    "mixnet check": "tests/cli/test_app.py::"
    "test_check_lists_every_check_and_fails_with_the_first_ones_code",
    "mixnet deployments": "tests/test_wheel.py::"
    "test_its_deployments_are_deployed_as_the_command_says",
    "mixnet drain": "tests/train/test_stopping.py::"
    "test_a_training_that_is_drained_terminated_killed_and_interrupted_loses_no_step_and_no_bit",
    "mixnet evaluate": "tests/revalidation/test_weights_file.py::"
    "test_a_file_in_a_release_is_read_by_its_recipe_and_held_to_its_claims",
    "mixnet import": "tests/cli/test_importing.py::test_what_is_imported_is_measured_by_its_name",
    "mixnet predict": "tests/cli/test_predicting.py::"
    "test_predictions_are_the_releases_own_of_every_val_image",
    "mixnet export": "tests/cli/test_exporting.py::test_every_format_is_proven_on_every_val_image",
    "mixnet prepare": "tests/cli/test_app.py::test_stages_one_by_one_share_the_run",
    "mixnet prepare imagenet": "tests/cli/test_imagenet.py::"
    "test_it_unpacks_into_the_workspace_and_says_so_twice",
    "mixnet publish": "tests/stages/test_in_all_orders.py::"
    "test_the_command_line_publishes_no_checkpoint_under_anothers_decision",
    "mixnet recipe list": "tests/cli/test_stages.py::test_bundled_recipes_are_listed_a_line_each",
    "mixnet recipe show": "tests/cli/test_app.py::"
    "test_an_unknown_key_in_a_recipe_file_is_named_with_the_one_meant",
    "mixnet release alias": "tests/cli/test_releases.py::"
    "test_an_alias_is_set_listed_shown_and_removed",
    "mixnet release collect": "tests/cli/test_releases.py::"
    "test_what_no_manifest_names_is_listed_and_removed_when_that_is_said",
    "mixnet release compare": "tests/cli/test_releases.py::test_two_releases_are_compared",
    "mixnet release delete": "tests/cli/test_releases.py::"
    "test_a_release_is_retired_brought_back_and_deleted",
    "mixnet release index": "tests/cli/test_releases.py::"
    "test_the_index_is_made_by_every_change_and_by_hand",
    "mixnet release retire": "tests/cli/test_releases.py::"
    "test_a_release_is_retired_brought_back_and_deleted",
    "mixnet release show": "tests/cli/test_releases.py::"
    "test_a_release_is_shown_by_name_alias_and_uri",
    "mixnet release verify": "tests/cli/test_releases.py::"
    "test_a_tampered_file_is_named_with_exit_code_4",
    "mixnet releases": "tests/cli/test_app.py::"
    "test_a_release_is_found_by_name_and_weights_of_another_network_are_refused",
    "mixnet revalidate": "tests/test_old_versions.py::"
    "test_its_releases_are_listed_and_measured_again",
    "mixnet run": "tests/cli/test_app.py::"
    "test_the_same_command_again_skips_every_finished_stage_and_says_so",
    "mixnet metrics": "tests/cli/test_metrics.py::"
    "test_the_figures_of_all_runs_are_printed_or_written_as_a_file",
    "mixnet runs": "tests/cli/test_runs.py::test_a_workspace_is_listed_with_sizes",
    "mixnet runs export": "tests/stages/test_mlflow_run.py::"
    "test_a_finished_run_is_handed_over_and_handed_over_again_stands_there_once",
    "mixnet runs clean": "tests/cli/test_runs.py::test_what_no_run_needs_is_removed_and_said",
    "prefect deploy": "tests/test_wheel.py::test_its_deployments_are_deployed_as_the_command_says",
    "prefect deployment run mixnet/train": "tests/flows/test_deployments.py::"
    "test_a_run_with_a_killed_worker_resumes_and_publishes",
    "prefect deployment run mixnet/finetune": "not run here: it downloads MindCV's weights",
    "prefect deployment run mixnet-imagenet/unpack": "tests/flows/test_deployments.py::"
    "test_archives_of_imagenet_are_unpacked_with_their_report_shown",
    "prefect deployment run mixnet-revalidate/releases": "tests/flows/test_revalidation.py::"
    "test_one_scheduled_run_finds_each_release_in_its_state",
    "prefect flow-run cancel": "tests/flows/test_deployments.py::"
    "test_cancelling_a_training_run_saves_its_last_step_and_leaves_no_process",
    "prefect flow-run ls": "tests/flows/test_guarded.py::test_a_crashed_run_goes_on_by_one_command",
    "prefect flow-run retry": "tests/flows/test_guarded.py::"
    "test_a_crashed_run_goes_on_by_one_command",
    "prefect server start": "tests/flows/test_deployments.py::"
    "test_a_run_with_a_killed_worker_resumes_and_publishes",
    "prefect work-pool pause": "not run here: Prefect's own, on a server that others use",
    "prefect work-pool resume": "not run here: Prefect's own, on a server that others use",
    "prefect work-queue pause": "not run here: Prefect's own, on a server that others use",
    "prefect worker start": "tests/flows/test_deployments.py::"
    "test_a_run_with_a_killed_worker_resumes_and_publishes",
    "python -m benchmarks.images.imagenet_archives": "tests/data/imagenet/test_archives_made.py",
    "python -m benchmarks.scaling": ".ci/run",
    "python -m docs.generate": ".ci/run",
    "python -m mixnet_flows.infra.serve": "tests/infra/test_serve.py::"
    "test_serve_deploys_and_nothing_of_it_survives_its_kill",
    "python -m mixnet_flows.infra.watch": "tests/flows/test_guarded.py::"
    "test_a_run_whose_process_was_killed_goes_on_by_itself",
    "python -m mixnet_flows.infra.worker": "tests/flows/test_several_hosts.py::"
    "test_two_hosts_leave_the_bytes_of_one_host_with_two_ranks",
    "python -m mixnet_flows.infra.setup": "tests/test_wheel.py::"
    "test_its_deployments_are_deployed_as_the_command_says",
    "python -m tests.data.imagenet.bad_inputs": "tests/data/imagenet/test_bad_inputs.py",
    "python -m tests.faults.saving": "not run here: 40 trainings, in make faults",
    "python -m tests.faults.goodput": "not run here: half an hour, in make faults",
    "python -m tests.faults.publishing_kills": "tests/faults/test_publishing_kills.py",
    "python -m tests.refusals": "tests/test_refusals.py",
    "python -m tests.oracle.trajectory": "not run here: half an hour beside PyTorch",
    "python -m tests.storage.fault_table": "tests/storage/test_fault_table.py::"
    "test_a_store_with_a_fault",
    "python -m tests.stages.orders": "tests/stages/test_in_all_orders.py::"
    "test_what_was_done_again_is_noticed_by_every_stage_after_it",
    "python infra/setup.py": "tests/flows/test_deployments.py::"
    "test_setting_up_again_changes_what_is_there_and_doubles_nothing",
}
EVERY_DOCUMENT = pytest.mark.parametrize(
    "page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in DOCUMENTS]
)
EVERY_DOCUMENT_WITH_COMMANDS = pytest.mark.parametrize(
    "page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in WITH_COMMANDS]
)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def without_code(text: str) -> str:
    """The prose of a page: neither blocks nor spans of code."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`]*`", "", text)


def anchors(text: str) -> set[str]:
    """What GitHub makes of a page's headings."""
    blocks = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", blocks, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path, text: str) -> list[str]:
    """The relative links of a page's text that lead nowhere."""
    found = []
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        missing = not target.exists()
        if missing or (
            anchor and anchor not in anchors(text if target == page else text_of(target))
        ):
            found.append(link)
    return found


def shell_blocks(text: str) -> Iterator[str]:
    """The blocks of shell commands that nothing excepts."""
    for block in re.finditer(r"^```sh\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        before = text[: block.start()].rstrip().rpartition("\n")[2]
        if not NOT_RUN.fullmatch(before):
            yield block[1]


def commands(script: str) -> Iterator[list[str]]:
    """The words of each command of a script, without redirections."""
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|<>")
        lexer.whitespace_split = True
        words: list[str] = []
        tokens = iter(lexer)
        for token in tokens:
            if set(token) <= set("<>"):
                next(tokens)
            elif set(token) <= set(";&|"):
                yield words
                words = []
            else:
                words.append(token)
        yield words


def inline_commands(text: str) -> Iterator[list[str]]:
    """The same for commands in a sentence or a table."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for span in re.findall(r"`([^`]+)`", text):
        script = " ".join(span.split())
        if re.match(r"(mixnet|make|prefect|python -m) \S", script):
            yield from commands(script)


def fault(words: list[str]) -> str:
    """What is wrong with a command; "" if nothing is, or it is none of ours."""
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    program = words[0].rpartition("/")[2] if words else ""
    check = {
        "mixnet": mixnet_fault,
        "make": make_fault,
        "prefect": prefect_fault,
        "python": python_fault,
    }.get(program)
    return check(words[1:]) if check else ""


def is_placeholder(word: str) -> bool:
    return word.isupper() or word == "..."


def mixnet_fault(words: list[str]) -> str:
    command: Any = typer.main.get_command(app)
    while words and (inner := getattr(command, "commands", None)):
        two = " ".join(words[:2])
        name = two if two in inner else words[0]
        if is_placeholder(name) or name.startswith("-"):
            return ""
        if name not in inner:
            return f"mixnet has no {name}"
        command, words = inner[name], words[len(name.split()) :]
    try:
        given = command.make_context("mixnet", list(words)).params
        settings = parse_settings(given.get("set_") or [])
    except MixnetError as error:
        return str(error)
    except Exception as error:
        # typer's errors have other classes in other versions; --help is one that ends well.
        return "" if getattr(error, "exit_code", 1) == 0 else f"{type(error).__name__}: {error}"
    keys = [key for key in settings if f"| `{key}` |" not in PAGES["recipe.md"]()]
    if keys:
        return f"a recipe has no {keys[0]}"
    named = given.get("recipe") or given.get("recipe_option")
    if named is None or named in recipe_names() or named.endswith(".yaml") or is_placeholder(named):
        return ""
    return f"there is no recipe {named}"


def make_fault(words: list[str]) -> str:
    makefile = text_of(ROOT / "Makefile")
    for word in words:
        name, is_variable, value = word.partition("=")
        known = (f"$({name})", f"$(value {name})") if is_variable else (f"\n{name}:",)
        if not any(text in makefile for text in known):
            return f"the Makefile has no {name}"
        if name == "TEST" and not (ROOT / value.split()[0]).exists():
            return f"there are no tests {value}"
    return ""


def prefect_fault(words: list[str]) -> str:
    # Prefect's own parser; it has no public name.
    from prefect.cli._app import _app

    # A run's ID is the only thing whose form Prefect looks at.
    words = [str(UUID(int=0)) if word == "ID" else word for word in words if word != "--no-prompt"]
    try:
        _app.parse_args(words, exit_on_error=False, print_error=False)
    except Exception as error:
        return f"prefect {' '.join(words)}: {type(error).__name__}"
    if words[:2] != ["deployment", "run"] or len(words) == 2:
        return ""
    found = {f"{item.flow.name}/{item.name}": item.flow for item in deployments()}
    if words[2] not in found:
        return f"prefect.yaml has no {words[2]}"
    given = [words[i + 1].partition("=")[0] for i, word in enumerate(words) if word == "-p"]
    unknown = [name for name in given if name not in parameters(found[words[2]])]
    return f"{words[2]} has no parameter {unknown[0]}" if unknown else ""


def python_fault(words: list[str]) -> str:
    if words[:1] != ["-m"]:
        return "" if not words or (ROOT / words[0]).is_file() else f"there is no {words[0]}"
    module = words[1]
    try:
        found = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        found = False
    package, _, name = module.partition(".")
    # The folder of the flows may have another name than the package that is installed.
    in_folder = package == "mixnet_flows" and (ROOT / "flows" / f"{name}.py").is_file()
    return "" if found or in_folder else f"there is no module {module}"


def test_the_readme_is_short() -> None:
    assert len(text_of(README).splitlines()) <= LONGEST_README


@pytest.mark.parametrize("name", PAGES)
def test_a_reference_page_says_what_the_code_says(name: str) -> None:
    assert text_of(FOLDER / name) == PAGES[name](), "run `python -m docs.generate`"


def test_the_reference_has_no_other_pages() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(PAGES)


def test_the_site_lists_every_page() -> None:
    def files(entries: Any) -> Iterator[str]:
        if isinstance(entries, str):
            yield entries
        else:
            for entry in entries if isinstance(entries, list) else entries.values():
                yield from files(entry)

    nav = yaml.safe_load(text_of(ROOT / "mkdocs.yml"))["nav"]
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(files(nav)) == sorted(pages)


def test_the_readme_shows_every_folder_of_the_core_in_their_order() -> None:
    tree = text_of(README).partition("## The tree")[2]
    shown = re.findall(r"^  ([a-z]+)(?:/|\.py) ", tree, flags=re.MULTILINE)
    core = {path.name.removesuffix(".py") for path in (ROOT / "mixnet_core").iterdir()}
    assert shown == [name for row in LAYERS for name in row if name in core]


@EVERY_DOCUMENT
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken_links(page, text_of(page)) == []


@EVERY_DOCUMENT
def test_links_of_the_site_stay_in_it(page: Path) -> None:
    """Elsewhere they would lead out of what is built from docs/."""
    if ROOT / "docs" in page.parents:
        links = re.findall(r"\]\(([^)\s#]+)", without_code(text_of(page)))
        local = [link for link in links if not re.match(r"[a-z]+:", link)]
        targets = [(page.parent / link).resolve() for link in local]
        assert [str(target) for target in targets if ROOT / "docs" not in target.parents] == []


@EVERY_DOCUMENT_WITH_COMMANDS
def test_every_command_can_be_given(page: Path) -> None:
    text = text_of(page)
    given = [words for block in shell_blocks(text) for words in commands(block)]
    given += inline_commands(text)
    faults = [f"{shlex.join(words)}: {said}" for words in given if (said := fault(words))]
    assert faults == []


@pytest.mark.parametrize(
    ("link", "found"),
    [
        ("[a](docs/tutorial.md)", []),
        ("[a](docs/tutorial.md#a-first-run)", []),
        ("[a](#here)", []),
        ("[a](https://example.org/nothing.md)", []),
        ("`[a](nothing.md)`", []),
        ("[a](nothing.md)", ["nothing.md"]),
        ("[a](docs/tutorial.md#nothing)", ["docs/tutorial.md#nothing"]),
        ("[a](#nothing)", ["#nothing"]),
        ("![a](docs/images/nothing.png)", ["docs/images/nothing.png"]),
    ],
)
def test_a_link_that_leads_nowhere_would_be_found(link: str, found: list[str]) -> None:
    assert broken_links(README, f"## Here\n\n{link}\n") == found


@pytest.mark.parametrize(
    "script",
    [
        "mixnet run digits --epochs 3 --set training.seed=7 > log.txt",
        "mixnet prepare imagenet --train-tar A \\\n  --subset",
        "mixnet run --publish-to s3://bucket/a --name b   # the old names",
        "mixnet --help; mixnet --version; mixnet run --help",
        'make bench BENCH="train --rounds 3" TEST="tests/data -k png"',
        "prefect deployment run mixnet/train --watch -p epochs=3",
        "X=1 .venv/bin/python -m benchmarks.images.imagenet_archives FOLDER",
        "python -m mixnet_flows.demo && python infra/setup.py --accelerators 8",
        "anything --else",
    ],
)
def test_a_right_command_is_let_be(script: str) -> None:
    assert [said for words in commands(script) if (said := fault(words))] == []


def head(words: list[str]) -> str:
    """What a command is, without its options; "" if it is none of ours."""
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    words = [word for word in words if word.startswith("-m") or not word.startswith("-")]
    words = [word for word in words if not is_placeholder(word)]
    if not words:
        return ""
    program = words[0].rpartition("/")[2]
    if program not in ("mixnet", "make", "prefect", "python"):
        return ""
    most = {"make": 2, "mixnet": 3, "prefect": 4, "python": 3}[program]
    whole = [program, *words[1:]]
    names = (" ".join(whole[:count]) for count in range(most, 0, -1))
    return next((name for name in names if name in RUN_BY), " ".join(whole[:2]))


def test_every_command_is_run_by_a_test_or_says_why_it_is_not() -> None:
    found = {
        head(words)
        for page in WITH_COMMANDS
        for script in shell_blocks(text_of(page))
        for words in commands(script)
    } | {head(words) for page in WITH_COMMANDS for words in inline_commands(text_of(page))}
    generic = {"", "prefect deployment", "make", "python", "prefect"}
    assert found - generic <= set(RUN_BY)
    assert set(RUN_BY) <= found


def test_the_tests_of_the_engines_hazards_are_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", text_of(ROOT / "docs/reliability.md")))
    assert len(named) > 5
    there = text_of(ROOT / "tests/flows/test_guarded.py")
    assert {name for name in named if f"def {name}(" not in there} == set()


@pytest.mark.parametrize("by", sorted({by for by in RUN_BY.values() if by.startswith("tests/")}))
def test_what_runs_a_command_is_there(by: str) -> None:
    file, _, name = by.partition("::")
    assert (ROOT / file).is_file()
    assert f"def {name}(" in text_of(ROOT / file) or not name


@pytest.mark.parametrize(
    "script",
    [
        "mixnet runn digits",
        "mixnet recipe display digits",
        "mixnet run --epoch-count 3",
        "mixnet prepare --release NAME",
        "mixnet evaluate --data D",
        "mixnet run --epochs many",
        "mixnet run digit",
        "mixnet run digits --set training.sed=7",
        "make nothing",
        "make bench BANCH=train",
        "make test TEST=tests/nothing",
        "prefect deployment run mixnet/nothing",
        "prefect deployment run mixnet/train -p epoch=3",
        "prefect server begin",
        "prefect worker start --polo mixnet",
        "python -m benchmarks.nothing",
        "python -m mixnet_flows.nothing",
        "python infra/nothing.py",
        "cd folder && mixnet runn digits",
    ],
)
def test_a_wrong_command_would_be_found(script: str) -> None:
    (_,) = [said for words in commands(script) if (said := fault(words))]


def test_a_block_is_excepted_by_a_comment_with_a_reason_only() -> None:
    block = "```sh\nmake nothing\n```\n"
    assert list(shell_blocks(f"<!-- not run here: it needs cards -->\n{block}")) == []
    assert list(shell_blocks(f"<!-- not run here: -->\n{block}")) == ["make nothing\n"]
    assert list(shell_blocks(f"text\n\n{block}")) == ["make nothing\n"]
