from __future__ import annotations

import json
from importlib import metadata
from typing import Any

import pytest

from mixnet_core.evaluate.report import report_data, report_markdown, versions, wilson_interval
from mixnet_core.recipe import load_recipe
from mixnet_core.values import (
    Candidate,
    Checkpoint,
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
        "score": Score(count=451, correct1=440, correct5=451, loss=0.0801),
        "environment": {"python": "3.11.2", "mindspore": "2.10.0"},
    }
    return report_data(**(arguments | changes))


EXPECTED = f"""\
# digits-1

Release: `digits-1`

| top-1 % | 95 % interval | top-5 % | loss | images |
| --- | --- | --- | --- | --- |
| 97.56 | 95.69 – 98.63 | 100.00 | 0.0801 | 451 |

Measured once on the val split, which neither training nor selection saw.

## What was trained

|  |  |
| --- | --- |
| recipe | digits, fingerprint `{RECIPE.fingerprint[:12]}` |
| network | MixNet-S, mindcv flavour, 16 px |
| dataset | digits, 10 classes, train 1,210, select 136, val 451, fingerprint `ffffffffffff` |
| training | 2 epochs, 74 steps, 2 ranks, final loss 0.5123, 98.8 img/s, 62 s |
| checkpoint | epoch 2, step 74, sha256 `{"b" * 64}` |
| environment | python 3.11.2, mindspore 2.10.0 |

## Batch

Global batch 32 = 2 ranks x 16, learning rate 0.002.

## Candidates on the select split

Rule: highest top-1

| epoch | step | weights | top-1 % | top-5 % | loss | images | chosen |
| --- | --- | --- | --- | --- | --- | --- | --- |
| 1 | 37 | last | 73.53 | 95.59 | 1.2500 | 136 |  |
| 2 | 74 | last | 97.06 | 100.00 | 0.1250 | 136 | ✓ |
"""


def test_the_report_reads_so() -> None:
    assert report_markdown(data()) == EXPECTED


def test_it_is_plain_json_from_which_the_text_can_be_made_again() -> None:
    assert json.loads(json.dumps(data())) == data()
    assert report_markdown(json.loads(json.dumps(data()))) == EXPECTED


def test_it_holds_no_path_of_the_machine() -> None:
    assert "/runs" not in json.dumps(data())
    assert "/data" not in json.dumps(data())


def test_without_a_release_there_is_no_line_about_one() -> None:
    expected = EXPECTED.replace("Release: `digits-1`\n\n", "")
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
    assert "| 2 | 74 | average | 100.00 |" in text
    assert "epoch 2, step 74, moving averages, sha256 `cccc" in text


def test_a_recipes_name_cannot_break_the_table() -> None:
    recipe = RECIPE.model_copy(update={"name": "a | b\nc"})
    assert "| recipe | a \\| b c, fingerprint" in report_markdown(data(recipe=recipe))


def test_versions_are_the_installed_ones() -> None:
    assert versions()["mindspore"] == metadata.version("mindspore")


@pytest.mark.parametrize(
    ("correct", "count", "low", "high"),
    # The first four: Newcombe, Statistics in Medicine 17 (1998) 857, table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
    ],
)
def test_the_interval_is_wilsons(correct: int, count: int, low: float, high: float) -> None:
    assert wilson_interval(correct, count) == pytest.approx((low, high), abs=5e-5)
