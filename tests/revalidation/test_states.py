from __future__ import annotations

import math

import numpy as np
import pytest

from mixnet_core.errors import (
    CheckpointMismatch,
    DatasetError,
    DigestMismatch,
    IntegrityError,
    JobFailed,
    MachineError,
    MixnetError,
    ReleaseMissing,
    TransientError,
)
from mixnet_core.evaluate.counting import JUDGED, Judged, score
from mixnet_core.evaluate.statistics import wilson_interval
from mixnet_core.revalidation.states import (
    Claim,
    Revalidation,
    judged_claims,
    judged_state,
    require_all_confirmed,
    table,
    unmeasured,
)
from mixnet_core.runs.values import Score

NOW = "2026-11-26T03:00:00Z"


def predicted(right: int, count: int = 1000) -> Judged:
    """The first `right` images are predicted rightly, all among the first five."""
    rows = np.zeros(count, JUDGED)
    rows["position"] = np.arange(count)
    rows["place"] = np.arange(count) >= right
    return rows


def state(
    right: int,
    *,
    top1: float | None = None,
    top5: float | None = None,
    same_images: bool = True,
    published: int | None = None,
    earlier: int | None = None,
    count: int = 1000,
    tolerance: float = 0.001,
) -> tuple[str, str]:
    found = predicted(right, count)
    claimed = {name: v for name, v in (("top-1", top1), ("top-5", top5)) if v is not None}
    claims = judged_claims(claimed, score(found), same_images=same_images, tolerance=tolerance)
    return judged_state(
        claims,
        found,
        published=None if published is None else predicted(published, count),
        earlier=None if earlier is None else score(predicted(earlier, count)),
        tolerance=tolerance,
    )


def test_a_claim_that_comes_out_again_is_confirmed() -> None:
    assert state(900, top1=0.9, published=900) == ("confirmed", "")
    assert state(900) == ("confirmed", "it claims no figures")


@pytest.mark.parametrize("right", [899, 900, 901])
def test_one_image_of_a_thousand_may_be_rounded_otherwise(right: int) -> None:
    assert state(right, top1=0.9, published=900)[0] == "confirmed"


def test_three_points_too_many_are_not_supported_where_the_predictions_never_gave_them() -> None:
    found, note = state(900, top1=0.93, published=900)
    assert found == "claim not supported"
    assert note.startswith("top-1 93.00 % is claimed, 90.00 % measured (95 % interval 87.98 % to")


def test_what_was_reached_once_and_is_not_any_more_has_regressed() -> None:
    found, note = state(870, top1=0.9, published=900)
    assert found == "regressed"
    assert note == "30 of 1,000 images lost and 0 gained since it was published"


def test_a_loss_that_chance_explains_is_no_regression_but_the_claim_is_not_reached() -> None:
    # Three images of a thousand: one-sided 1 in 8.
    assert state(897, top1=0.9, published=900)[0] == "claim not supported"
    assert state(897, top1=0.9, published=900, tolerance=0.003)[0] == "confirmed"


def test_without_published_predictions_the_last_measuring_tells_a_regression() -> None:
    assert state(870, top1=0.9, earlier=900)[0] == "regressed"
    assert state(870, top1=0.9, earlier=870)[0] == "claim not supported"
    assert state(870, top1=0.9)[0] == "claim not supported"


def test_a_drop_of_exactly_the_tolerance_is_no_regression() -> None:
    # Shares of 65,536 images are exact in binary; the drop of a sixteenth is far beyond chance.
    sixteenth = 4096
    for kind in ({"published": 61_440}, {"earlier": 61_440}):
        for right, expected in ((61_440 - sixteenth, "confirmed"), (57_000, "regressed")):
            assert state(right, count=65_536, tolerance=1 / 16, **kind)[0] == expected


def test_a_significant_drop_within_the_tolerance_is_no_regression() -> None:
    # Of 50,000: 90.00 to 90.50 %, where the interval of the lower one ends at 90.26 %.
    assert state(45_000, count=50_000, earlier=45_250, tolerance=0.01)[0] == "confirmed"
    assert state(45_000, count=50_000, earlier=45_250, tolerance=0.001)[0] == "regressed"


def supported(claimed: float, found: Score, *, same_images: bool) -> bool:
    (claim,) = judged_claims({"top-1": claimed}, found, same_images=same_images, tolerance=0.0)
    return claim.supported


def test_a_claim_may_differ_by_exactly_what_printing_rounds() -> None:
    half = 0.00005
    none = Score(count=1000, correct1=0, correct5=0, loss=1.0)
    assert supported(half, none, same_images=True)
    assert not supported(math.nextafter(half, 1), none, same_images=True)
    found = Score(count=1000, correct1=900, correct5=1000, loss=1.0)
    most = wilson_interval(900, 1000)[1] + half
    assert supported(most, found, same_images=False)
    assert not supported(math.nextafter(most, 1), found, same_images=False)


def test_on_other_images_a_claim_is_judged_by_the_interval() -> None:
    # 900 of 1,000: 87.98 to 91.71 %.
    assert state(900, top1=0.917, same_images=False)[0] == "confirmed"
    assert state(900, top1=0.93, same_images=False)[0] == "claim not supported"
    # A modest claim is not a wrong one.
    assert state(900, top1=0.8, same_images=False)[0] == "confirmed"


def test_the_published_top5_of_mixnet_s_is_found_out() -> None:
    claimed = {"top-1": 0.7558, "top-5": 0.9554}
    # What every comparable model reaches, of 50,000 images.
    found = Score(count=50_000, correct1=37_790, correct5=46_300, loss=1.0)
    top1, top5 = judged_claims(claimed, found, same_images=False, tolerance=0.001)
    assert (top1.supported, top5.supported) == (True, False)


def test_a_figure_is_as_exact_as_it_is_printed() -> None:
    found = Score(count=50_000, correct1=37_789, correct5=46_262, loss=1.0)
    (claim,) = judged_claims({"top-1": 0.7558}, found, same_images=True, tolerance=0.0)
    assert claim.supported


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DigestMismatch("other bytes"), "file changed"),
        # No digest of stored bytes: what it means is in its own words.
        (IntegrityError("a broken manifest"), "not measured"),
        (IntegrityError("the answers of worker 0 are not there"), "not measured"),
        (ReleaseMissing("no file"), "unreachable"),
        (TransientError("no answer"), "unreachable"),
        (DatasetError("no images"), "not measured"),
        (MachineError("no memory"), "not measured"),
        (JobFailed("killed", retryable=True), "not measured"),
    ],
)
def test_every_failure_has_its_state(error: MixnetError, expected: str) -> None:
    found = unmeasured("r", "file:///r", NOW, error)
    assert found.state == expected
    assert found.bad
    assert str(error) in found.line


def test_a_file_with_the_right_digest_that_does_not_fit_is_not_called_changed() -> None:
    assert unmeasured("r", "u", NOW, CheckpointMismatch("other names")).state == "not measured"


def test_every_release_that_is_not_confirmed_is_named_in_one_line() -> None:
    held = Revalidation(release="good", uri="u", state="confirmed", time=NOW)
    require_all_confirmed([held])
    claim = Claim(figure="top-1", claimed=0.9, measured=0.8, low=0.77, high=0.82, supported=False)
    bad = Revalidation(
        release="bad",
        uri="u",
        state="claim not supported",
        time=NOW,
        measured=Score(count=1000, correct1=800, correct5=1000, loss=1.0),
        claims=(claim,),
        engine="mindspore 2, CPU",
    )
    lost = unmeasured("lost", "u", NOW, ReleaseMissing("no file"))
    with pytest.raises(IntegrityError, match="2 of 3 releases were not confirmed") as caught:
        require_all_confirmed([held, bad, lost])
    text = str(caught.value)
    assert "bad claim not supported, lost unreachable;" in text
    assert bad.line == (
        "bad claim not supported (top-1 80.00 %, claimed top-1 90.00 %, by mindspore 2, CPU)"
    )
    assert lost.line == "lost unreachable (no file)"
    assert "\n" not in text
    assert [row["state"] for row in table([held, bad, lost])] == [
        "confirmed",
        "claim not supported",
        "unreachable",
    ]
