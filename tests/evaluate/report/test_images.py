"""What a report claims of its images, by what the digests say."""

from __future__ import annotations

from typing import Any

from mixnet_core.evaluate.report.images import images_facts, measured_sentence
from mixnet_core.evaluate.report.markdown import report_markdown
from mixnet_core.evaluate.report.page import report_page
from mixnet_core.evaluate.report.view import report_view
from mixnet_core.runs.values import MeasuredOn, Overlap, Score
from tests.evaluate.report.test_data import data

CLAIM = "neither training nor selection saw"


def of(
    seen: int | None, unseen: Score | None = None, start: str | None = None, **more: Any
) -> dict[str, Any]:
    """A report on 451 images of which so many were seen."""
    on = MeasuredOn(
        folder="/d", split="val/", count=451, seen=seen, unseen=unseen, unknown_start=start
    )
    return data(measured_on=on, **more)


def test_that_nobody_saw_them_is_said_only_where_no_digest_says_otherwise() -> None:
    assert CLAIM in measured_sentence(of(0))
    assert "(no byte-identical image)" in measured_sentence(of(0))
    for report in (
        of(1, Score(count=450, correct1=440, correct5=450, loss=0.1)),
        of(451),
        of(None),
    ):
        for text in (measured_sentence(report), report_markdown(report), page(report)):
            assert CLAIM not in text


def test_the_figure_without_the_seen_ones_stands_beside_the_figure_on_all() -> None:
    report = of(51, Score(count=400, correct1=300, correct5=390, loss=0.5))
    # All of them in the run's own training.
    report["dataset"]["overlap"]["val_in_training"] = 51
    said = (
        "51 of 451 val images stand in training or selection, byte for byte (duplicates.csv of the "
        "prepared dataset). On the other 400 top-1 is 75.00 % (95 % interval 70.53 to 78.99 %). "
        "Acceptance goes by all of them."
    )
    assert said in report_markdown(report)
    assert said in page(report)
    assert "| all | 97.56 | 95.69 – 98.63 |" in report_markdown(report)
    row = "| not seen in training or selection | 75.00 | 70.53 – 78.99 | 97.50 |"
    assert row in report_markdown(report)
    assert "Not seen in training or selection: <b>75.00 %</b>" in page(report)
    assert (report["val"]["top1"], report["unseen"]["top1"]) == (440 / 451, 0.75)
    assert report["unseen"]["top1_low"] < 0.75 < report["unseen"]["top1_high"]


def test_of_initial_weights_whose_images_are_not_known_that_is_said() -> None:
    some = Score(count=450, correct1=440, correct5=450, loss=0.1)
    for report in (of(0, start="mixnet_s"), of(1, some, "mixnet_s")):
        for text in (measured_sentence(report), report_markdown(report), page(report)):
            assert CLAIM not in text
            said = "hat the initial weights mixnet_s were trained on is not known"
            assert said in text.replace("\\_", "_")
    assert "none of its images stands in this run's training or selection" in measured_sentence(
        of(0, start="mixnet_s")
    )


def test_whose_training_saw_an_image_is_told_apart() -> None:
    overlap = Overlap(
        val_in_training=3, select_in_train=0, within={}, in_several_classes=0, all=3
    ).model_dump()
    for seen, own, said in (
        (3, 3, "byte for byte (duplicates.csv of the prepared dataset)."),
        (5, 3, "byte for byte: 3 in this run's (duplicates.csv of the prepared dataset), the "),
        (5, 0, "byte for byte, in that of the initial weights."),
    ):
        report = of(seen)
        report["dataset"]["overlap"] = overlap | {"val_in_training": own}
        assert said in measured_sentence(report)


def test_where_all_were_seen_no_figure_is_left() -> None:
    report = of(451)
    assert "No image is left that they did not see" in measured_sentence(report)
    assert report["unseen"] is None
    assert "not seen in training" not in report_markdown(report)


def test_folder_split_and_duplicates_are_facts() -> None:
    overlap = Overlap(
        val_in_training=3,
        select_in_train=1,
        within={"train": 4, "select": 0, "val": 2},
        in_several_classes=2,
        all=9,
    )
    report = of(3)
    report["dataset"]["overlap"] = overlap.model_dump()
    assert images_facts(report) == {
        "measured on": ["451 images", "val/ of /d"],
        "seen before": ["3 of 451 stand in training or selection, byte for byte"],
        "duplicates": [
            "images that stand twice, byte for byte: 3 of val in train or select too, 1 of select "
            "in train too, 4 more than once in train, 2 more than once in val, 2 under several "
            "classes"
        ],
    }


def test_a_report_of_an_earlier_version_claims_nothing_when_it_is_written_again() -> None:
    report = data()
    del report["measured_on"], report["unseen"], report["dataset"]["overlap"]
    assert images_facts(report) == {}
    for text in (report_markdown(report), page(report)):
        assert CLAIM not in text
        assert "training or selection saw was not counted" in text


def page(report: dict[str, Any]) -> str:
    return report_page(report_view(report), {})
