from __future__ import annotations

import json
from importlib import metadata
from typing import Any

import numpy as np

from mixnet_core.evaluate.counting import JUDGED
from mixnet_core.evaluate.prediction_table import PredictionTable
from mixnet_core.evaluate.report.data import report_data, versions, with_decision
from mixnet_core.evaluate.report.markdown import report_markdown
from mixnet_core.evaluate.report.view import report_view
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.runs.values import (
    Candidate,
    Check,
    Checkpoint,
    Decision,
    MeasuredOn,
    Overlap,
    PreparedDataset,
    Score,
    Selection,
    TrainedRun,
)

RECIPE = load_recipe("digits")
FIRST = Checkpoint(path="/runs/d/step-37", step=37, epoch=1, weights_sha256="a" * 64)
LAST = Checkpoint(path="/runs/d/step-74", step=74, epoch=2, weights_sha256="b" * 64)


TRAINED = TrainedRun(
    run_dir="/runs/d",
    checkpoints=(FIRST, LAST),
    steps=74,
    epochs=2,
    loss=0.51234,
    ranks=2,
    seconds=61.6,
    images_per_second=98.76,
)


def table() -> PredictionTable:
    """451 images of ten classes: the first 11 nines are taken for fours."""
    labels = np.sort(np.arange(451) % 10)
    wrong = np.isin(np.arange(451), np.flatnonzero(labels == 9)[:11])
    rows = np.zeros(451, JUDGED)
    rows["position"] = np.arange(451)
    rows["label"], rows["answer"] = labels, np.where(wrong, 4, labels)
    rows["place"] = wrong
    rows["confidence"], rows["loss"] = 0.95, np.where(wrong, 3.0, 0.01)
    return PredictionTable(tuple(f"val/{label}/{i}.png" for i, label in enumerate(labels)), rows)


METRICS = [
    {"event": "start", "step": 0, "time": 1.0},
    {"event": "step", "step": 10, "epoch": 1, "loss": 1.5, "lr": 0.001, "time": 2.0},
    {"event": "epoch", "step": 37, "epoch": 1, "loss": 1.25, "seconds": 3.0, "time": 3.0},
    {
        "event": "score",
        "step": 37,
        "epoch": 1,
        "file": "weights.ckpt",
        "count": 136,
        "correct1": 68,
        "correct5": 136,
        "loss": 1.0,
        "time": 4.0,
    },
]


ON = MeasuredOn(folder=None, split="cut from train/", count=451, seen=0)
NO_OVERLAP = Overlap(
    val_in_training=0,
    select_in_train=0,
    within={"train": 0, "select": 0, "val": 0},
    in_several_classes=0,
    all=0,
)


def data(**changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "run": "digits-1",
        "release": "digits-1",
        "recipe": RECIPE,
        "dataset": PreparedDataset(
            root="/data/digits",
            fingerprint="f" * 64,
            classes=tuple("0123456789"),
            counts={"train": 1210, "select": 136, "val": 451},
            overlap=NO_OVERLAP,
        ),
        "trained": TRAINED,
        "selection": Selection(
            chosen=LAST,
            candidates=(
                Candidate(
                    checkpoint=FIRST,
                    score=Score(count=136, correct1=100, correct5=130, loss=1.25),
                ),
                Candidate(
                    checkpoint=LAST,
                    score=Score(count=136, correct1=132, correct5=136, loss=0.125),
                ),
            ),
            rule="highest top-1",
        ),
        "table": table(),
        "measured_on": ON,
        "evaluated_per_second": 277.04,
        "metrics": METRICS,
        "environment": {"python": "3.11.2", "mindspore": "2.10.0"},
    }
    return report_data(**(arguments | changes))


EXPECTED = f"""\
# digits-1

Release: `digits-1`

| top-1 % | 95 % interval | top-5 % | 95 % interval | loss | images |
| --- | --- | --- | --- | --- | --- |
| 97.56 | 95.69 – 98.63 | 100.00 | 99.16 – 100.00 | 0.0829 | 451 |

Measured once on the val split, which neither training nor selection saw (no byte-identical image).

Expected calibration error: 2.56 %.

## What was trained

|  |  |
| --- | --- |
| recipe | digits, fingerprint `{RECIPE.fingerprint[:12]}` |
| network | MixNet-S, mindcv flavour, 16 px |
| dataset | digits, 10 classes, train 1,210, select 136, val 451, fingerprint `ffffffffffff` |
| measured on | 451 images, cut from train/ |
| seen before | none of them stands in training or selection, byte for byte |
| duplicates | no image stands twice, byte for byte |
| training | 2 epochs, 74 steps, 2 ranks, final loss 0.5123, 98.8 img/s, 62 s |
| checkpoint | epoch 2, step 74, as trained, sha256 `{"b" * 64}` |
| evaluation | 277.0 img/s |
| environment | python 3.11.2, mindspore 2.10.0 |

## Batch

Global batch 32 = 2 ranks x 16, learning rate 0.002.

## Candidates on the select split

Rule: highest top-1

| epoch | step | weights | top-1 % | top-5 % | loss | images | chosen |
| --- | --- | --- | --- | --- | --- | --- | --- |
| 1 | 37 | as trained | 73.53 | 95.59 | 1.2500 | 136 |  |
| 2 | 74 | as trained | 97.06 | 100.00 | 0.1250 | 136 | ✓ |

## Classes

| class | top-1 % | 95 % interval | images |
| --- | --- | --- | --- |
| 9 | 75.56 | 61.33 – 85.76 | 45 |
"""


def test_the_report_reads_so() -> None:
    text = report_markdown(data())
    assert text.startswith(EXPECTED)
    assert text.endswith(
        "## Most confused\n\n"
        "| label | answer | images | % of the label's |\n"
        "| --- | --- | --- | --- |\n"
        "| 9 | 4 | 11 | 24.44 |\n"
    )


def test_it_is_plain_json_from_which_the_text_can_be_made_again() -> None:
    assert json.loads(json.dumps(data())) == data()
    assert report_markdown(json.loads(json.dumps(data()))) == report_markdown(data())


def test_it_holds_no_path_of_the_machine() -> None:
    assert "/runs" not in json.dumps(data())
    assert "/data" not in json.dumps(data())


def test_without_a_release_there_is_no_line_about_one() -> None:
    expected = report_markdown(data()).replace("Release: `digits-1`\n\n", "")
    assert report_markdown(data(release=None)) == expected


def test_a_scaled_rate_and_accumulation_are_reported() -> None:
    changes = {"schedule.lr_batch": 64, "devices.micro_batch": 8}
    found = data(recipe=load_recipe("digits", changes))
    assert found["batch"] == {
        "global": 32,
        "lr": 0.001,
        "lr_batch": 64,
        "sentence": "global batch 32 = 2 ranks x 2 accumulated x 8, "
        "learning rate 0.001 = 0.002 scaled by 32/64",
    }
    assert f"## Batch\n\nG{found['batch']['sentence'][1:]}." in report_markdown(found)


def test_the_batch_is_told_as_it_was_trained_whatever_the_recipe_says_since() -> None:
    trained = TRAINED.model_copy(update={"batch": "global batch 32 = 1 rank x 32"})
    assert data(trained=trained)["batch"]["sentence"] == "global batch 32 = 1 rank x 32"


def test_what_a_resumed_training_changed_is_reported() -> None:
    changed = {"resumed_from_step": 37, "changes": ("ranks 2 -> 3",)}
    found = report_markdown(data(trained=TRAINED.model_copy(update=changed)))
    assert "62 s, resumed after step 37, ranks 2 -> 3 |" in found


def test_moving_averages_are_told_from_the_last_weights() -> None:
    averages = LAST.model_copy(update={"file": "ema.ckpt", "weights_sha256": "c" * 64})
    score = Score(count=136, correct1=136, correct5=136, loss=0.1)
    candidate = Candidate(checkpoint=averages, score=score)
    found = data(selection=Selection(chosen=averages, candidates=(candidate,), rule="best"))
    text = report_markdown(found)
    assert "| 2 | 74 | moving averages | 100.00 |" in text
    assert "epoch 2, step 74, moving averages, sha256 `cccc" in text


def test_a_recipes_name_cannot_break_the_table() -> None:
    recipe = RECIPE.model_copy(update={"name": "a | b\nc"})
    assert "| recipe | a \\| b c, fingerprint" in report_markdown(data(recipe=recipe))


def test_versions_are_the_installed_ones() -> None:
    assert versions()["mindspore"] == metadata.version("mindspore")


def test_a_mean_names_the_steps_that_it_is_of() -> None:
    mean = LAST.model_copy(update={"mean_of": (37, 74)})
    score = Score(count=136, correct1=136, correct5=136, loss=0.1)
    selection = Selection(
        chosen=mean, candidates=(Candidate(checkpoint=mean, score=score),), rule="mean"
    )
    text = report_markdown(data(selection=selection))
    assert "epoch 2, step 74, mean of 2, of steps 37 74, sha256 `bbbb" in text


def test_curves_hold_what_was_logged_without_times() -> None:
    assert data()["curves"] == {
        "steps": [{"step": 10, "loss": 1.5, "lr": 0.001}],
        "epochs": [{"epoch": 1, "step": 37, "loss": 1.25}],
        "scores": [{"epoch": 1, "step": 37, "top1": 0.5, "top5": 1.0}],
    }


def test_what_was_decided_is_in_the_text_and_on_the_page() -> None:
    checks = (Check(ok=False, line="top-1 is below"), Check(ok=True, line="top-5 reaches"))
    refused = with_decision(data(), Decision(checks=checks))
    assert "## Acceptance\n\n- ✗ top-1 is below\n- ✓ top-5 reaches\n" in report_markdown(refused)
    assert not report_view(refused)["acceptance"]["accepted"]
    forced = with_decision(data(), Decision(checks=checks, override="a demonstration"))
    assert "- accepted anyway: a demonstration" in report_markdown(forced)
    assert report_view(forced)["acceptance"]["accepted"]
    assert "nothing is demanded" in report_markdown(with_decision(data(), Decision(checks=())))
    assert report_view(data())["acceptance"] is None


def test_a_report_says_what_was_left_out_after_training_diverged_also_an_earlier_versions() -> None:
    rewound = TRAINED.model_copy(update={"rewinds": 2, "left_out": (28, 29, 40)})
    report = data(trained=rewound)
    assert report["training"]["rewinds"] == 2
    assert report["training"]["steps_left_out"] == [28, 29, 40]
    assert "went back 2 times after it diverged, 3 batches left out" in report_markdown(report)
    for key in ("rewinds", "steps_left_out"):
        del report["training"][key]
    assert "went back" not in report_markdown(report)
