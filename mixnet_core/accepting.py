"""Whether a validated checkpoint is good enough to be published, judged with its uncertainty."""

from __future__ import annotations

import numpy as np

from mixnet_core.errors import NotAccepted
from mixnet_core.evaluate.counting import Judged
from mixnet_core.evaluate.statistics import Pairing, mcnemar, pairing, wilson_interval, worse
from mixnet_core.recipe_choices import Acceptance
from mixnet_core.values import Check, Decision, Score


def decide(
    wanted: Acceptance,
    score: Score,
    *,
    replaced: str | None = None,
    pair: Pairing | None = None,
    override: str | None = None,
) -> Decision:
    """Judges a score on the val split.

    Args:
        replaced: the release that it is to replace, pair: both files' answers to the same images.
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
    return Decision(checks=tuple(checks), replaces=replaced, override=override)


def right(rows: Judged) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(N,): whether each image's answer is its label."""
    return np.asarray(rows["place"] == 0)


def paired(before: Judged, now: Judged) -> Pairing:
    """Two files' rows of the same split."""
    return pairing(right(before), right(now))


def require_accepted(decision: Decision) -> None:
    """Raises NotAccepted with every reason, unless all is well or was overridden."""
    if not decision.accepted:
        reasons = "; ".join(check.line for check in decision.checks if not check.ok)
        raise NotAccepted(
            f"not accepted: {reasons}; train longer, lower acceptance.* in the recipe, or publish "
            "it anyway with --accept-anyway REASON (accept_anyway), which is recorded"
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
