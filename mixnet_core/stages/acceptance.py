"""Whether a validated checkpoint is good enough to be published, judged with its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mixnet_core.errors import InputError, NotAccepted
from mixnet_core.evaluate.counting import Judged
from mixnet_core.evaluate.statistics import Pairing, mcnemar, pairing, wilson_interval, worse
from mixnet_core.recipe.choices import Acceptance
from mixnet_core.runs.values import Check, Decision, PreparedDataset, Score, Validation


def decide(
    wanted: Acceptance,
    score: Score,
    *,
    replaced: str | None = None,
    pair: Pairing | None = None,
    further: Sequence[Check] = (),
    override: str | None = None,
) -> Decision:
    """Judges a score on the val split.

    Args:
        replaced: the release that it is to replace.
        pair: both files' predictions of the same images.
        further: verdicts on what is demanded besides (`stages.demand`).
        override: why it is published anyway; recorded, also where it was not needed.
    """
    checks = [
        _threshold(name, correct, score.count, threshold)
        for name, correct, threshold in (
            ("top-1", score.correct1, wanted.min_top1),
            ("top-5", score.correct5, wanted.min_top5),
        )
        if threshold is not None
    ]
    if pair is not None and replaced is not None:
        checks.append(_against(wanted, replaced, pair))
    return Decision(checks=(*checks, *further), replaces=replaced, override=override)


def decided_on(decision: Decision, wanted: Acceptance, validation: Validation) -> Decision:
    """Returns the decision with what it decided on: the weights, their predictions, the demands."""
    return decision.model_copy(
        update={
            "weights_sha256": validation.checkpoint.weights_sha256,
            "answers_sha256": validation.answers_sha256,
            "demands": wanted.model_dump(mode="json"),
        }
    )


def differences(decision: Decision, wanted: Acceptance, validation: Validation) -> tuple[str, ...]:
    """Names what the decision was made on and is another one now; empty where it holds."""
    now = decided_on(decision, wanted, validation)
    return tuple(
        name
        for name, field in (
            ("weights", "weights_sha256"),
            ("predictions", "answers_sha256"),
            ("demands", "demands"),
        )
        if getattr(decision, field) != getattr(now, field)
    )


def require_decided_on(decision: Decision, wanted: Acceptance, validation: Validation) -> None:
    """Checks that a decision is on this checkpoint, these predictions and these demands.

    Raises:
        InputError: it is on something else, which is named.
    """
    others = differences(decision, wanted, validation)
    if others:
        raise InputError(
            f"the decision was made on another checkpoint's {', '.join(others)} or before such "
            "things were recorded: run `mixnet accept` again"
            if others != ("demands",)
            else "the decision was made on other demands (acceptance.*): run `mixnet accept` again"
        )


def right(rows: Judged) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Returns (N,) whether each image's predicted class is its label."""
    return np.asarray(rows["place"] == 0)


def paired(before: Judged, now: Judged) -> Pairing:
    """Pairs two files' rows of the same split."""
    return pairing(right(before), right(now))


def require_accepted(decision: Decision) -> None:
    """Raises NotAccepted with every reason, unless all is well or was overridden."""
    if not decision.accepted:
        reasons = "; ".join(check.line for check in decision.checks if not check.ok)
        raise NotAccepted(
            f"not accepted: {reasons}; train longer, lower acceptance.* in the recipe, or publish "
            "it anyway with --accept-anyway REASON (accept_anyway), which is recorded"
        )


def require_images(checks: Sequence[Check], dataset: PreparedDataset) -> None:
    """Raises NotAccepted with every reason not to train on these images, before anybody does."""
    reasons = "; ".join(check.line for check in checks if not check.ok)
    if reasons:
        raise NotAccepted(
            f"not accepted: {reasons} (prepared in {dataset.root}); change the images, or "
            "acceptance.* in the recipe, or run it anyway with `mixnet run ... --accept-anyway "
            "REASON` (accept_anyway), which is recorded"
        )


def _threshold(name: str, correct: int, count: int, threshold: float) -> Check:
    low, high = wilson_interval(correct, count)
    measured = (
        f"{name} {_percent(correct / count)} (95 % interval {_percent(low)} to {_percent(high)} on "
        f"{count:,} images)"
    )
    if high < threshold:
        return Check(ok=False, line=f"{measured} is below the demanded {_percent(threshold)}")
    verb = "reaches" if correct >= threshold * count else "is not significantly below"
    return Check(ok=True, line=f"{measured} {verb} the demanded {_percent(threshold)}")


def _against(wanted: Acceptance, replaced: str, pair: Pairing) -> Check:
    points = f"{100 * pair.difference:+.2f} points"
    counted = (
        f"top-1 {points} against {replaced} on the same {pair.count:,} images ({pair.gained:,} "
        f"gained, {pair.lost:,} lost, McNemar's exact p = {mcnemar(pair):.3g})"
    )
    by_chance = worse(pair) >= wanted.significance
    within = -pair.difference <= wanted.max_drop
    if by_chance or within:
        return Check(ok=True, line=f"{counted}: not worse" if by_chance else f"{counted}: allowed")
    allowed = f", more than the allowed {100 * wanted.max_drop:.2f}" if wanted.max_drop else ""
    return Check(ok=False, line=f"{counted}: worse, not by chance{allowed}")


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
