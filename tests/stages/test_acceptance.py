from __future__ import annotations

import math

import numpy as np
import pytest

from mixnet_core.errors import InputError, NotAccepted
from mixnet_core.evaluate.counting import JUDGED, Judged
from mixnet_core.evaluate.statistics import Pairing, wilson_interval, worse
from mixnet_core.recipe.choices import Acceptance
from mixnet_core.runs.values import Checkpoint, Decision, Score, Validation
from mixnet_core.stages.acceptance import (
    decide,
    decided_on,
    differences,
    paired,
    require_accepted,
    require_decided_on,
    right,
)


def scored(correct1: int, count: int = 1000, correct5: int | None = None) -> Score:
    among = count if correct5 is None else correct5
    return Score(count=count, correct1=correct1, correct5=among, loss=1.0)


def against(pair: Pairing, **wanted: float) -> Decision:
    return decide(Acceptance(replaces="old", **wanted), scored(900), replaced="old", pair=pair)


def test_where_nothing_is_demanded_everything_is_accepted() -> None:
    decision = decide(Acceptance(), scored(0))
    assert decision.accepted
    assert decision.checks == ()


@pytest.mark.parametrize(
    ("correct", "accepted", "words"),
    [
        # The interval of 874 of 1,000 ends at 0.8931, that of 882 at 0.9005.
        (920, True, "reaches the demanded 90.00 %"),
        (900, True, "reaches the demanded 90.00 %"),
        (882, True, "is not significantly below the demanded 90.00 %"),
        (874, False, "is below the demanded 90.00 %"),
    ],
)
def test_a_threshold_is_missed_only_beyond_what_chance_explains(
    correct: int, accepted: bool, words: str
) -> None:
    decision = decide(Acceptance(min_top1=0.9), scored(correct))
    assert decision.accepted is accepted
    assert words in decision.checks[0].line
    assert "95 % interval" in decision.checks[0].line


def test_top5_has_a_threshold_of_its_own() -> None:
    wanted = Acceptance(min_top1=0.5, min_top5=0.99)
    decision = decide(wanted, scored(900, correct5=950))
    assert [check.ok for check in decision.checks] == [True, False]


def test_few_images_that_changed_prove_nothing_and_many_do() -> None:
    # One-sided: 5 lost and none gained happens by chance in 1 of 32; 4 in 1 of 16.
    assert against(Pairing(1000, 4, 0)).accepted
    refused = against(Pairing(1000, 5, 0))
    assert not refused.accepted
    assert "-0.50 points against old on the same 1,000 images (0 gained, 5 lost" in (
        refused.checks[0].line
    )
    # The same difference between networks that disagree on many images.
    assert against(Pairing(1000, 55, 50)).accepted
    assert against(Pairing(1000, 0, 50)).accepted


def test_a_drop_within_the_allowed_one_is_accepted_however_certain() -> None:
    pair = Pairing(50_000, 400, 200)
    assert against(pair, max_drop=0.005).accepted
    assert not against(pair, max_drop=0.003).accepted
    assert not against(pair).accepted


def test_the_significance_is_the_recipes() -> None:
    assert against(Pairing(1000, 5, 0), significance=0.01).accepted
    assert not against(Pairing(1000, 4, 0), significance=0.1).accepted


def test_a_refusal_names_every_reason_in_one_line_and_the_way_out() -> None:
    decision = decide(Acceptance(min_top1=0.9, min_top5=0.99), scored(500, correct5=600))
    with pytest.raises(NotAccepted) as raised:
        require_accepted(decision)
    text = str(raised.value)
    assert "top-1 50.00 %" in text
    assert "top-5 60.00 %" in text
    assert "--accept-anyway" in text
    assert "\n" not in text
    assert raised.value.exit_code == 8
    assert not raised.value.retryable


def test_an_override_accepts_and_leaves_the_reasons_on_record() -> None:
    decision = decide(Acceptance(min_top1=0.9), scored(500), override="for a demonstration")
    require_accepted(decision)
    assert decision.override == "for a demonstration"
    assert [check.ok for check in decision.checks] == [False]


def rows(*places: int) -> Judged:
    made = np.zeros(len(places), JUDGED)
    made["place"] = places
    return made


def test_an_answer_is_right_where_no_class_comes_before_the_label() -> None:
    assert right(rows(0, 1, 4, 0, 999)).tolist() == [True, False, False, True, False]


def test_images_are_paired_one_by_one() -> None:
    assert paired(rows(0, 0, 0, 1, 2), rows(0, 3, 1, 0, 1)) == Pairing(5, 2, 1)


def test_a_demand_at_the_very_end_of_the_interval_is_not_missed() -> None:
    _, high = wilson_interval(874, 1000)
    assert decide(Acceptance(min_top1=high), scored(874)).accepted
    assert not decide(Acceptance(min_top1=math.nextafter(high, 1)), scored(874)).accepted


def test_a_p_that_equals_the_significance_is_chance() -> None:
    pair = Pairing(1000, 5, 0)
    assert worse(pair) == 1 / 32
    assert against(pair, significance=1 / 32).accepted
    assert not against(pair, significance=math.nextafter(1 / 32, 1)).accepted


def test_a_drop_of_exactly_what_is_allowed_is_allowed() -> None:
    # 64 of 1,024 images: both shares are exact in binary.
    pair = Pairing(1024, 64, 0)
    assert against(pair, max_drop=1 / 16).accepted
    assert not against(pair, max_drop=math.nextafter(1 / 16, 0)).accepted


def test_a_comparison_says_by_which_reason_it_is_accepted_or_how_much_was_allowed() -> None:
    def said(pair: Pairing, **wanted: float) -> str:
        return against(pair, **wanted).checks[0].line.partition("): ")[2]

    assert said(Pairing(1000, 4, 0)) == "not worse"
    assert said(Pairing(1000, 20, 0), max_drop=0.02) == "allowed"
    assert said(Pairing(1000, 20, 0)) == "worse, not by chance"
    assert said(Pairing(1000, 20, 0), max_drop=0.0125) == (
        "worse, not by chance, more than the allowed 1.25"
    )


def test_without_the_other_releases_answers_only_thresholds_decide() -> None:
    decision = decide(Acceptance(min_top1=0.5, replaces="old"), scored(900), replaced="old")
    assert [check.line.partition(" ")[0] for check in decision.checks] == ["top-1"]
    assert decision.replaces == "old"
    assert decide(Acceptance(), scored(900), pair=Pairing(1000, 50, 0)).checks == ()


WANTED = Acceptance(min_top1=0.9)


def validation(weights: str = "a", answers: str = "b") -> Validation:
    return Validation(
        checkpoint=Checkpoint(path="/c", step=1, epoch=1, weights_sha256=weights * 64),
        score=Score(count=100, correct1=97, correct5=100, loss=0.1),
        dataset_fingerprint="",
        answers="",
        answers_sha256=answers * 64,
        report_json="",
        report_markdown="",
        report_page="",
        engine="",
    )


DECISION = decided_on(decide(WANTED, validation().score), WANTED, validation())


@pytest.mark.parametrize(
    ("wanted", "now", "named"),
    [
        (WANTED, validation(), ()),
        (WANTED, validation(weights="c"), ("weights",)),
        (WANTED, validation(answers="c"), ("predictions",)),
        (Acceptance(min_top1=0.95), validation(), ("demands",)),
        (Acceptance(), validation("c", "c"), ("weights", "predictions", "demands")),
    ],
)
def test_a_decision_holds_for_what_it_was_made_on_and_for_nothing_else(
    wanted: Acceptance, now: Validation, named: tuple[str, ...]
) -> None:
    assert differences(DECISION, wanted, now) == named
    if not named:
        require_decided_on(DECISION, wanted, now)
        return
    words = "other demands" if named == ("demands",) else f"another checkpoint's {named[0]}"
    with pytest.raises(InputError, match=f"made on {words}.*run `mixnet accept` again"):
        require_decided_on(DECISION, wanted, now)


def test_a_decision_that_names_nothing_holds_for_nothing() -> None:
    before = Decision(checks=DECISION.checks)
    assert differences(before, WANTED, validation()) == ("weights", "predictions", "demands")
