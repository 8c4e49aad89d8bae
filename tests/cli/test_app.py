"""`mixnet` as a user types it: exit codes, one-line errors, JSON, and going on after a kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.train.metrics import read_metrics
from tests.tiny import MIXNET, FinishedJob, mixnet, options


def test_the_same_command_again_skips_every_finished_stage_and_says_so(
    finished_job: FinishedJob,
) -> None:
    again = mixnet("run", *finished_job.arguments, "--json", cwd=finished_job.folder)
    assert again.returncode == 0, again.stderr
    results = json.loads(again.stdout)
    for stage in ("prepare", "train", "select", "validate", "accept", "publish"):
        assert results[stage] == finished_job.results[stage] | {"reused": True}
        assert any(
            line.startswith(stage) and "already done, skipped" in line
            for line in again.stderr.splitlines()
        )


def test_stages_one_by_one_share_the_run(finished_job: FinishedJob) -> None:
    for stage in ("prepare", "fetch", "train", "select", "validate", "accept", "publish"):
        done = mixnet(stage, "--run=tiny", "--json", cwd=finished_job.folder)
        assert done.returncode == 0, done.stderr
        value = json.loads(done.stdout)[stage]
        assert value is None if stage == "fetch" else value["reused"]


def test_progress_goes_to_standard_error_only(finished_job: FinishedJob) -> None:
    assert "epoch 2/2 done, mean loss" in finished_job.progress
    quiet = mixnet("run", *finished_job.arguments, "--quiet", cwd=finished_job.folder)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "digitz"], 2, ["no recipe 'digitz'", "digits"]),
        (["run", "--set=training.epoch=3"], 2, ["training.epoch", "did you mean training.epochs?"]),
        (["run", "--set=training.epochs"], 2, ["expected KEY=VALUE"]),
        (["run", "--ranks=3"], 2, ["global_batch 32", "devices.ranks 3"]),
        (["run", "--data=nowhere"], 2, ["nowhere"]),
        (["run", "--run=../up"], 2, ["../up", "a-z 0-9"]),
        (["run", "--run=none", "--epochs=3", "--publish-to=ftp://x"], 2, ["ftp"]),
        (["train", "--run=none"], 2, ["no run 'none'"]),
        (["train", "digits"], 2, ["mixnet prepare"]),
        (["fetch", "digits", "--weights=mixnet_z"], 2, ["mixnet_z"]),
        (["check", "digits", "--weights=mixnet_z"], 2, ["mixnet_z"]),
        (
            ["run", "digits", "--weights=mixnet_l", "--set=weights.reset_classifier=false"],
            2,
            ["has 10 classes", "mixnet_l 1000", "set weights.reset_classifier=true"],
        ),
        (["run", "--workspace=/proc/nowhere"], 3, ["/proc/nowhere"]),
        (["run", "--publish-to=/proc/nowhere"], 3, ["/proc/nowhere"]),
        (["run", "mixnet_s", "--data=."], 3, ["devices.target is Ascend"]),
        (["run", "digits", "--recipe=digits"], 2, ["two recipes, digits and --recipe digits"]),
        (["check"], 2, ["no recipe", "mixnet recipe list"]),
        (["run", "--scale-lr"], 2, ["give --ranks or --global-batch"]),
        (["train", "--run=none", "--scale-lr"], 2, ["--scale-lr would change the recipe"]),
        (["revalidate", "--publish-to=typo"], 2, ["nothing is published at", "typo"]),
    ],
)
def test_a_users_mistake_is_one_line_with_its_exit_code(
    tmp_path: Path, arguments: list[str], code: int, words: list[str]
) -> None:
    done = mixnet(*arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    *progress, line = done.stderr.splitlines()
    assert line.startswith("mixnet: ")
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in line
    assert not any(line.startswith("mixnet:") for line in progress)


MINDCV = Path(__file__).parents[1] / "recipe" / "mindcv_files" / "mixnet_s.yaml"


def test_a_mindcv_file_is_shown_as_it_would_run_with_its_notes_beside(tmp_path: Path) -> None:
    for named in ([str(MINDCV)], ["--recipe", str(MINDCV)]):
        done = mixnet("recipe", "show", *named, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        (tmp_path / "shown.yaml").write_text(done.stdout)
        shown, bundled = load_recipe(str(tmp_path / "shown.yaml")), load_recipe("mixnet_s")
        assert shown.training == bundled.training
        notes = done.stderr.splitlines()
        assert all(note.startswith("mixnet: mixnet_s.yaml: ") for note in notes)
        assert [note for note in notes if "switches mixup 0.2 off too" in note] != []
        # Each is said once.
        assert len(set(notes)) == len(notes)


def test_every_stage_takes_a_mindcv_file_and_a_value_that_is_not_done_ends_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine.yaml").write_text(text := MINDCV.read_text().replace('"CE"', '"BCE"'))
    line = text[: text.index('"BCE"')].count("\n") + 1
    for stage in ("train", "run", "select"):
        done = mixnet(stage, "--recipe=mine.yaml", cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr == (
            f"mixnet: MindCV recipe mine.yaml: line {line}: loss BCE is not done: the loss is "
            "cross-entropy (CE)\n"
        )


def test_training_begins_with_what_the_recipe_comes_to(finished_job: FinishedJob) -> None:
    lines = finished_job.progress.splitlines()
    said = [line.split(maxsplit=1)[1] for line in lines if line.startswith("recipe ")]
    assert "2 epochs, global batch 4 = 1 rank x 4, learning rate 0.002" in said
    first = next(i for i, line in enumerate(lines) if line.startswith("train "))
    assert lines.index(f"recipe   {said[-1]}") < first


def test_errors_are_json_for_scripts(tmp_path: Path) -> None:
    done = mixnet("run", "digitz", "--json", cwd=tmp_path)
    error = json.loads(done.stdout)["error"]
    assert (error["type"], error["retryable"]) == ("RecipeError", False)


def test_an_unknown_key_in_a_recipe_file_is_named_with_the_one_meant(tmp_path: Path) -> None:
    shown = mixnet("recipe", "show", "digits", cwd=tmp_path).stdout
    assert "global_batch: 32" in shown
    (tmp_path / "mine.yaml").write_text(shown.replace("global_batch:", "globel_batch:"))
    done = mixnet("run", "mine.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "unknown key training.globel_batch (did you mean global_batch?)" in done.stderr
    assert not (tmp_path / "workspace").exists()


def test_check_lists_every_check_and_fails_with_the_first_ones_code(tmp_path: Path) -> None:
    good = mixnet("check", "digits", cwd=tmp_path)
    assert good.returncode == 0, good.stdout
    assert good.stdout.count("\n") == good.stdout.count("ok ") == 11
    bad = mixnet("check", "digits", "--set=devices.target=Ascend", cwd=tmp_path)
    assert bad.returncode == 3
    assert "FAIL device" in bad.stdout


def test_a_release_is_found_by_name_and_weights_of_another_network_are_refused(
    finished_job: FinishedJob,
) -> None:
    listed = mixnet("releases", cwd=finished_job.folder)
    assert listed.stdout.startswith("tiny ")
    assert "none of them stands in training or selection, byte for byte" in listed.stdout
    done = mixnet(
        "run",
        "digits",
        "--run=wrong",
        "--weights=tiny",
        "--ranks=1",
        *options(network__variant="m"),
        cwd=finished_job.folder,
    )
    assert done.returncode == 4, done.stderr
    assert "does not fit the network" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_run_that_has_its_weights_needs_the_release_no_more(
    finished_job: FinishedJob, tmp_path: Path
) -> None:
    shutil.copytree(finished_job.folder / "workspace" / "releases", tmp_path / "releases")
    place = ("--publish-to=releases", "--json")
    named = ("fetch", "fashion_mnist", "--weights=tiny", "--run=later", *place)
    first = mixnet(*named, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    recipe = load_recipe(str(tmp_path / "workspace/runs/later/recipe.yaml"))
    # Ten classes too, but other ones.
    assert (recipe.weights.name, recipe.weights.reset_classifier) == ("tiny", True)

    shutil.rmtree(tmp_path / "releases" / "tiny")
    again = mixnet("fetch", "--run=later", *place, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    fetched = json.loads(again.stdout)["fetch"]
    assert fetched == json.loads(first.stdout)["fetch"] | {"reused": True}

    # Unless they are not what was fetched any more.
    Path(fetched["path"]).write_bytes(b"")
    damaged = mixnet("fetch", "--run=later", *place, cwd=tmp_path)
    assert damaged.returncode == 2
    assert "no release 'tiny'" in damaged.stderr


def _start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(MIXNET), *arguments], cwd=folder, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
@pytest.mark.long
def test_without_a_compiler_or_openvino_everything_works_and_one_warning_says_that_it_is_slow(
    tmp_path: Path,
) -> None:
    arguments = ("digits", "--run=plain", "--epochs=1", "--ranks=1", *options())
    without = {"PATH": str(tmp_path), "MIXNET_CACHE": str(tmp_path / "cache")}
    done = mixnet(
        "run", *arguments, "--set=devices.engine=mindspore", "--json", cwd=tmp_path, **without
    )
    assert done.returncode == 0, done.stderr
    (warning,) = [line for line in done.stderr.splitlines() if "no C++ compiler" in line]
    assert "many times slower" in warning
    assert "apt install g++" in warning
    assert json.loads(done.stdout)["validate"]["engine"].endswith("CPU, float32")


def _processes_of(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if str(folder) in " ".join(process.cmdline()) and process.pid != os.getpid():
                found.append(process)
        except psutil.Error:
            continue
    return found


def _wait_for(condition, seconds: float) -> bool:  # type: ignore[no-untyped-def]
    # Many times what an idle machine takes: none of these waits is about speed.
    deadline = time.monotonic() + 6 * seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return bool(condition())


@pytest.mark.slow
@pytest.mark.long
def test_killed_or_interrupted_two_rank_training_leaves_nothing_and_goes_on(
    tmp_path: Path,
) -> None:
    arguments = ("run", "digits", "--run=killed", "--epochs=4", "--ranks=2", *options())
    bundles = tmp_path / "workspace/runs/killed/checkpoints"

    def saved(count: int) -> bool:
        return len(list(bundles.glob("step-*/bundle.json"))) >= count

    killed = _start(tmp_path, *arguments)
    assert _wait_for(lambda: saved(1), 240)
    killed.kill()
    killed.communicate()
    assert _wait_for(lambda: not _processes_of(tmp_path), 10), _processes_of(tmp_path)

    interrupted = _start(tmp_path, *arguments)
    assert _wait_for(lambda: saved(2), 240)
    interrupted.send_signal(signal.SIGINT)
    # Seconds where nothing else runs.
    _, text = interrupted.communicate(timeout=300)
    assert interrupted.returncode == 75
    assert "stopped on request (Ctrl-C) after step" in text.splitlines()[-1]
    assert "Traceback" not in text
    assert _wait_for(lambda: not _processes_of(tmp_path), 10), _processes_of(tmp_path)

    done = mixnet(*arguments, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    trained = json.loads(done.stdout)["train"]
    assert trained["ranks"] == 2
    assert trained["resumed_from_step"] >= 24
    assert trained["steps"] == 48
    assert [c["epoch"] for c in trained["checkpoints"]] == [1, 2, 3, 4]
    rows = read_metrics(bundles.parent / "metrics.jsonl")
    assert [row["compiled"] for row in rows if row["event"] == "start"][-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("acceptance.min_top1=2", "acceptance.min_top1: input should be less than or equal to 1"),
        ("training.epochs=9", "begun with another recipe (differs in training.epochs)"),
    ],
)
def test_of_a_begun_run_only_what_computes_nothing_can_be_set(
    finished_job: FinishedJob, setting: str, words: str
) -> None:
    run = finished_job.results["run"]
    done = mixnet("accept", f"--run={run}", f"--set={setting}", cwd=finished_job.folder)
    assert done.returncode == 2
    assert words in done.stderr
