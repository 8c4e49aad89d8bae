"""The card of a real release, read by others: its figures are the report's, its commands work."""

from __future__ import annotations

import html
import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from mixnet_core.checkpoints.bundle import complete_bundles
from mixnet_core.recipe.recipe import stored_recipe
from mixnet_core.release.card_file import parse_card, read_card
from mixnet_core.release.card_import import import_card
from mixnet_core.release.card_text import card_text
from mixnet_core.release.catalog import USER_CATALOG
from mixnet_core.release.own_card import own_card
from mixnet_core.release.registry import read_release
from mixnet_core.release.signing import verify_signature
from mixnet_core.stages.policy import rule
from tests.release.signing_keys import key_pair
from tests.tiny import FinishedJob, copied, mixnet


@pytest.fixture(scope="module")
def release(finished_job: FinishedJob) -> Path:
    return finished_job.folder / "workspace" / "releases" / "tiny"


@pytest.fixture(scope="module")
def report(finished_job: FinishedJob) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((finished_job.run_dir / "report.json").read_text())
    return data


def test_its_card_has_the_reports_figures_and_nothing_that_was_not_measured(
    release: Path, report: dict[str, Any]
) -> None:
    card = read_card(release / "README.md")
    (row,) = card.performance
    training = report["training"]
    assert row.top1 == card.top1 == round(100 * report["val"]["top1"], 2)
    assert row.top5 == card.top5 == round(100 * report["val"]["top5"], 2)
    assert row.speed == pytest.approx(training["images_per_second"], abs=0.01)
    assert row.step == pytest.approx(1000 * 4 / training["images_per_second"], abs=0.01)
    assert row.graph_compile == pytest.approx(training["graph_compile_seconds"], abs=0.5)
    assert training["graph_compile_seconds"] > 0
    assert (row.cards, row.batch_size, row.resolution) == (1, 4, "8x8")
    assert card.requirements[0].mindspore == card.mindspore_version != ""
    assert card.requirements[0].cann == card.requirements[0].ascend_driver == row.jit_level == ""
    assert card.author == card.license == card.repo_link == card.user_id == ""
    assert card.update_time == training["finished"][:10]
    assert card.assets[0].sha256 == report["checkpoint"]["sha256"]


def test_its_parameters_are_those_of_its_network(release: Path, finished_job: FinishedJob) -> None:
    from mindspore import load_checkpoint

    (weights,) = release.glob("weights-*.ckpt")
    values = sum(parameter.size for parameter in load_checkpoint(str(weights)).values())
    (row,) = read_card(release / "README.md").performance
    assert row.params == round(values / 1e6, 2)


def test_the_plain_names_show_the_manifests_files(release: Path) -> None:
    files = read_release(release.as_uri()).files
    for plain, role in (
        ("README.md", "card"),
        ("README.hf.md", "card_hf"),
        ("config.json", "config"),
    ):
        assert (release / plain).read_bytes() == (release / files[role].name).read_bytes()


def test_published_again_it_is_the_same_release_and_its_views_are_put_right(
    finished_job: FinishedJob, release: Path, tmp_path: Path
) -> None:
    copy = copied(finished_job, tmp_path / "job")
    mine = copy / "workspace" / "releases" / "tiny"
    readme = (mine / "README.md").read_bytes()
    (mine / "README.md").write_text("# other\n")
    (mine / "config.json").unlink()
    manifest = (mine / "manifest.json").read_bytes()
    # Records hold the absolute paths of the first place.
    done = mixnet(
        "publish", "--run=tiny", "--json", f"--registry={mine.parent}", cwd=finished_job.folder
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["publish"]["reused"] is True
    assert json.loads(done.stdout)["publish"]["signed"] is False
    assert (mine / "manifest.json").read_bytes() == manifest
    assert (mine / "README.md").read_bytes() == readme
    assert (mine / "config.json").is_file()
    private, public = key_pair(tmp_path / "keys", "mine")
    done = mixnet(
        "publish",
        "--run=tiny",
        "--json",
        f"--registry={mine.parent}",
        f"--sign-with={private}",
        cwd=finished_job.folder,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["publish"]["signed"] is True
    assert verify_signature(mine.as_uri(), public).startswith(f"{mine.name} is signed")


def test_the_other_hub_reads_its_figures_as_shares(release: Path, report: dict[str, Any]) -> None:
    text = (release / "README.hf.md").read_text()
    assert text.startswith("---\n")
    front = yaml.safe_load(text.split("---\n")[1])
    assert "license" not in front
    (result,) = front["model-index"][0]["results"]
    assert result["task"]["type"] == front["pipeline_tag"] == "image-classification"
    assert {metric["name"]: metric["value"] for metric in result["metrics"]} == {
        "top-1": round(report["val"]["top1"], 6),
        "top-5": round(report["val"]["top5"], 6),
    }
    assert result["dataset"]["args"]["images"] == report["val"]["count"]
    # One body, two front matters.
    body = (release / "README.md").read_text().split("\n---\n\n")[2]
    assert text.endswith(body)


def test_its_config_names_no_network_of_timms_that_would_be_another(release: Path) -> None:
    config = json.loads((release / "config.json").read_text())
    assert config["architecture"] == "mindcv_mixnet_s"
    assert config["num_classes"] == len(config["pretrained_cfg"]["label_names"]) == 10
    assert config["pretrained_cfg"]["mean"] == [78 / 255] * 3
    assert config["mixnet"]["stem_stride"] == 1


def test_the_statements_are_of_the_published_files(release: Path) -> None:
    files = read_release(release.as_uri()).files
    for role in ("provenance", "acceptance"):
        data = json.loads((release / files[role].name).read_text())
        assert data["subject"] == [
            {"name": files["weights"].name, "digest": {"sha256": files["weights"].sha256}}
        ]
    made = json.loads((release / files["provenance"].name).read_text())["predicate"]
    products = {item["name"] for item in made["runDetails"]["byproducts"]}
    assert {files["report"].name, files["answers"].name} <= products


def test_its_card_is_imported_with_its_own_recipe(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(USER_CATALOG, str(tmp_path / "catalog.yaml"))
    (entry,) = import_card(release / "README.md").entries
    assert (entry.variant, entry.flavour, entry.num_classes) == ("s", "mindcv", 10)
    assert (entry.in_channels, entry.stem_stride) == (3, 1)
    assert entry.url.startswith(release.as_uri())
    assert entry.recipe == str(next(release.glob("recipe-*.yaml")))


@pytest.mark.slow
def test_its_commands_work_as_pasted(
    release: Path, finished_job: FinishedJob, tmp_path: Path
) -> None:
    folder = tmp_path / "downloaded"
    shutil.copytree(release, folder)
    dataset = Path(finished_job.results["prepare"]["root"])
    for split in ("train", "val"):
        shutil.copytree(dataset / split, folder / "images" / split)
    card = (folder / "README.md").read_text()
    shell = re.findall(r"^```shell\n(.+?)^```$", card, flags=re.MULTILINE | re.DOTALL)
    assert len(shell) == 3
    for block in shell:
        words = shlex.split(block)
        assert words[0] == "mixnet"
        done = mixnet(*words[1:], cwd=folder)
        assert done.returncode == 0, done.stderr
    assert complete_bundles(folder / "workspace" / "runs" / "more" / "checkpoints")
    (python,) = re.findall(r"^```python\n(.+?)^```$", card, flags=re.MULTILINE | re.DOTALL)
    cwd = Path.cwd()
    try:
        os.chdir(folder)
        exec(compile(python, "card", "exec"), {})
    finally:
        os.chdir(cwd)


@pytest.mark.parametrize("policy", ["best", "last", "mean_last"])
def test_it_says_by_which_rule_its_checkpoint_was_chosen(
    policy: str, finished_job: FinishedJob, report: dict[str, Any]
) -> None:
    recipe = stored_recipe(finished_job.run_dir / "recipe.yaml")
    said = rule(recipe.selection.model_copy(update={"policy": policy}), 1)
    card = own_card(
        "tiny",
        report={**report, "selection": {**report["selection"], "rule": said}},
        recipe=recipe,
        classes=NAMES,
        parameters=1,
        weights="weights-0.ckpt",
        recipe_file="recipe-0.yaml",
    )
    (prose,) = (part.text for part in card.body if "epochs" in part.text)
    assert said in prose
    # Nothing is selected on images by the rules of the last ones.
    assert "was selected on" not in prose


def test_it_tells_nothing_of_the_folders_that_things_lay_in(
    finished_job: FinishedJob, report: dict[str, Any]
) -> None:
    recipe = stored_recipe(finished_job.run_dir / "recipe.yaml")
    weights = recipe.weights.model_copy(update={"name": "/home/me/start.ckpt"})
    on = {**report["measured_on"], "folder": "/home/me/flowers/", "split": "val/"}
    card = own_card(
        "tiny",
        report={**report, "measured_on": on},
        recipe=recipe.model_copy(update={"weights": weights}),
        classes=NAMES,
        parameters=1,
        weights="weights-0.ckpt",
        recipe_file="recipe-0.yaml",
    )
    text = card_text(card)
    assert "val/ of flowers" in text
    assert "from the weights start.ckpt." in text
    assert "home" not in text


NAMES = ("<script>alert(1)</script>", "a|b", "# x", "[y](http://e.org)", "*z*", "`c`\n---\n", "ü")


def test_names_of_users_are_text_in_it_whoever_renders_it(
    finished_job: FinishedJob, report: dict[str, Any]
) -> None:
    markdown = pytest.importorskip("markdown")
    recipe = stored_recipe(finished_job.run_dir / "recipe.yaml")
    data = recipe.data.model_copy(update={"source": "image_folder", "path": "/a: b/<i>x: y"})
    attribution = recipe.card.model_copy(update={"author": "A: #B <script>"})
    card = own_card(
        "tiny",
        report=report,
        recipe=recipe.model_copy(update={"data": data, "card": attribution}),
        classes=NAMES,
        parameters=1,
        weights="weights-0.ckpt",
        recipe_file="recipe-0.yaml",
    )
    text = card_text(card)
    # The hub's checker counts these lines, wherever they stand.
    assert sum(line.startswith("---") for line in text.splitlines()) == 2
    assert parse_card(text.encode(), "card").author == "A: #B <script>"
    assert card.train_dataset == "<i>x y"
    page = markdown.markdown(text, extensions=["tables", "fenced_code"])
    assert "<script" not in page
    assert 'e.org"' not in page
    assert "weights-0.ckpt" in page.partition("<h1>MixNet-S")[0]
    shown = html.unescape(re.sub(r"<[^>]+>", "", page))
    for name in NAMES:
        assert " ".join(name.split()).replace("https:", "") in shown
    assert page.count("<table>") == 2
