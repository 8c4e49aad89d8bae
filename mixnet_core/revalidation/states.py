"""The state of a release that was measured again.

confirmed             it reaches what it claims
claim not supported   it does not, and nothing shows that it ever did
regressed             it does not reach any more what was measured of these bytes before
file changed          the digest of a stored file is not the published one
unreachable           it cannot be fetched
not measured          it could not be measured: no images, no memory, a manifest that is broken, ...
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from mixnet_core.errors import (
    DigestMismatch,
    IntegrityError,
    MixnetError,
    ReleaseMissing,
    TransientError,
)
from mixnet_core.evaluate.counting import Judged, score
from mixnet_core.evaluate.statistics import wilson_interval, worse
from mixnet_core.runs.summaries import summary
from mixnet_core.runs.values import MeasuredOn, Score, Value
from mixnet_core.stages.acceptance import paired

State = Literal[
    "confirmed",
    "claim not supported",
    "regressed",
    "file changed",
    "unreachable",
    "not measured",
]
# One-sided, of McNemar's exact test against the published predictions.
_SIGNIFICANCE = 0.05
# Published figures are rounded to a hundredth of a per cent.
_ROUNDING = 0.00005


class Claim(Value):
    """Compares a figure that a release states with what was measured; shares in 0..1.

    Attributes:
        figure: "top-1" or "top-5".
        claimed, measured: the two shares.
        low, high: 95 % interval of `measured`.
        supported: whether what was measured does not contradict it.
    """

    figure: str
    claimed: float
    measured: float
    low: float
    high: float
    supported: bool


class Revalidation(Value):
    """Holds the outcome of one release.

    Attributes:
        release: its name.
        uri: where it lies, as it may be said.
        time: UTC, ISO 8601 to the second.
        sha256: of the weights file, hex; empty if it was not fetched.
        dataset: fingerprint of the images; empty if there were none.
        measured: on the val split; None where it was not.
        measured_on: the images; None likewise, and in the history of earlier versions.
        claims: what it states, beside what was measured.
        engine: the one that computed the logits; empty likewise.
        note: the reason for the state, in one line.
    """

    release: str
    uri: str
    state: State
    time: str
    sha256: str = ""
    dataset: str = ""
    measured: Score | None = None
    measured_on: MeasuredOn | None = None
    claims: tuple[Claim, ...] = ()
    engine: str = ""
    note: str = ""

    @property
    def bad(self) -> bool:
        """Tells whether it was not confirmed."""
        return self.state != "confirmed"

    @property
    def line(self) -> str:
        """Returns the outcome in one line."""
        figures = []
        if self.measured is not None:
            figures.append(f"top-1 {percent(self.measured.top1)}")
        figures += [f"claimed {claim.figure} {percent(claim.claimed)}" for claim in self.claims]
        if self.measured_on is not None:
            figures.append(f"on {self.measured_on.line}")
        figures += [text for text in (self.engine and f"by {self.engine}", self.note) if text]
        return f"{self.release} {self.state}" + (f" ({', '.join(figures)})" if figures else "")


@summary.register
def _(value: Revalidation) -> str:
    return value.line


def judged_claims(
    claimed: Mapping[str, float], found: Score, *, same_images: bool, tolerance: float
) -> tuple[Claim, ...]:
    """Compares each claim with what was measured.

    On the very images that a claim was counted on, it must come out again, but for the few that
    another engine rounds otherwise. On others it must not lie above the 95 % interval; a claim that
    lies below it is modest, not wrong.

    Args:
        claimed: "top-1" or "top-5" -> share.
        found: what was counted.
        same_images: whether the claims were counted on the same images.
        tolerance: share of the images by which a figure may differ on the same ones.
    """
    claims = []
    for figure, correct in (("top-1", found.correct1), ("top-5", found.correct5)):
        if figure not in claimed:
            continue
        share, value = correct / found.count, claimed[figure]
        low, high = wilson_interval(correct, found.count)
        if same_images:
            supported = abs(value - share) <= tolerance + _ROUNDING
        else:
            supported = value <= high + _ROUNDING
        claims.append(
            Claim(
                figure=figure,
                claimed=value,
                measured=share,
                low=low,
                high=high,
                supported=supported,
            )
        )
    return tuple(claims)


def judged_state(
    claims: Sequence[Claim],
    now: Judged,
    *,
    published: Judged | None,
    earlier: Score | None,
    tolerance: float,
) -> tuple[State, str]:
    """Decides the state of a release that was measured.

    Args:
        now: its predictions.
        published: its predictions for the same images when it was published; None where unknown.
        earlier: what the same bytes reached on these images the last time; None likewise.
        tolerance: share of the images by which top-1 may fall: another engine rounds a few images
            otherwise.

    Returns:
        The state, and the reason for it; "" where there is none to say.
    """
    found = score(now)
    if published is not None:
        pair = paired(published, now)
        drop = -pair.difference
        if drop > tolerance and worse(pair) < _SIGNIFICANCE:
            return "regressed", (
                f"{pair.lost:,} of {pair.count:,} images lost and {pair.gained:,} gained since it "
                "was published"
            )
    elif earlier is not None and earlier.top1 - found.top1 > tolerance:
        high = wilson_interval(found.correct1, found.count)[1]
        if earlier.top1 > high:
            return "regressed", f"top-1 {percent(earlier.top1)} the last time"
    wrong = [claim for claim in claims if not claim.supported]
    if wrong:
        return "claim not supported", ", ".join(
            f"{claim.figure} {percent(claim.claimed)} is claimed, {percent(claim.measured)} "
            f"measured (95 % interval {percent(claim.low)} to {percent(claim.high)})"
            for claim in wrong
        )
    return "confirmed", "" if claims else "it claims no figures"


def unmeasured(name: str, uri: str, time: str, error: MixnetError) -> Revalidation:
    """Returns the outcome of a release whose measuring raised `error`."""
    state: State = "not measured"
    if isinstance(error, ReleaseMissing | TransientError):
        state = "unreachable"
    elif isinstance(error, DigestMismatch):
        # Nothing else proves it: bytes that are not as expected are many, a lost prediction too.
        state = "file changed"
    return Revalidation(release=name, uri=uri, state=state, time=time, note=str(error))


def table(results: Iterable[Revalidation]) -> list[dict[str, Any]]:
    """Returns the results as a table: one row of text per release."""
    return [
        {
            "release": result.release,
            "state": result.state,
            "top-1": percent(result.measured.top1) if result.measured else "",
            "claimed": ", ".join(f"{c.figure} {percent(c.claimed)}" for c in result.claims),
            "images": f"{result.measured.count:,}" if result.measured else "",
            "on": result.measured_on.place if result.measured_on else "",
            "seen": _seen(result.measured_on),
            "engine": result.engine,
            "note": result.note,
        }
        for result in results
    ]


def require_all_confirmed(results: Sequence[Revalidation]) -> None:
    """Makes sure that every release was confirmed.

    Raises:
        IntegrityError: some were not; it names them.
    """
    bad = [f"{result.release} {result.state}" for result in results if result.bad]
    if bad:
        raise IntegrityError(
            f"{len(bad)} of {len(results)} releases were not confirmed: {', '.join(bad)}; do not "
            "use them until it is clear why"
        )


def _seen(on: MeasuredOn | None) -> str:
    """Returns how many images the weights had seen, for a table."""
    if on is None:
        return ""
    return "not known" if on.seen is None else f"{on.seen:,}"


def percent(share: float) -> str:
    """Returns a share in percent, with two decimals."""
    return f"{100 * share:.2f} %"
