"""Measures a published release again and compares it with what its manifest says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from mixnet_core.data.prepare import expect_classes, prepare_dataset
from mixnet_core.errors import DatasetError, DigestMismatch, IntegrityError, MixnetError
from mixnet_core.options import adjusted_recipe
from mixnet_core.recipe import save_recipe
from mixnet_core.release.manifest import PublishedRelease, ReleasedFile
from mixnet_core.release.publish import read_release
from mixnet_core.release.weights import fetch_weights
from mixnet_core.run_dir import Workspace
from mixnet_core.stages import score_files
from mixnet_core.storage import open_storage
from mixnet_core.summaries import summary
from mixnet_core.ticks import Tick, Watch, unwatched
from mixnet_core.values import EvaluateResult, PreparedDataset, Score, Value

STAGE = "revalidate"


class Revalidation(Value):
    """One release measured again.

    Attributes:
        verdict: holds: top-1 is at least the published one less the tolerance; regressed: it is
            below that; no figures: the manifest has none to compare with; failed: not measured.
        measured: on the val split; None if it failed.
        published_top1: share in 0..1; None if the manifest has none.
        engine: what computed the logits; empty if it failed.
        note: that the images differ from those of the published figure, or why it failed.
    """

    release: str
    uri: str
    verdict: Literal["holds", "regressed", "no figures", "failed"]
    measured: Score | None
    published_top1: float | None
    engine: str = ""
    note: str = ""

    @property
    def bad(self) -> bool:
        return self.verdict in ("regressed", "failed")

    @property
    def line(self) -> str:
        """The outcome in one line."""
        figures = []
        if self.measured is not None:
            figures.append(f"top-1 {_percent(self.measured.top1)}")
        if self.published_top1 is not None:
            figures.append(f"published {_percent(self.published_top1)}")
        if self.engine:
            figures.append(f"by {self.engine}")
        if self.note:
            figures.append(self.note)
        return f"{self.release} {self.verdict} ({', '.join(figures)})"


@summary.register
def _(value: Revalidation) -> str:
    return value.line


def revalidate_release(
    uri: str,
    *,
    workspace: Workspace,
    data: str | None = None,
    tolerance: float = 0.001,
    watch: Watch = unwatched,
) -> Revalidation:
    """Fetches a release's weights and recipe, both verified, and scores them on the val split.

    Args:
        uri: of the release's folder.
        data: folder of images instead of the recipe's, for a machine that has them elsewhere.
        tolerance: share of the images by which top-1 may fall below the published one: another
            device or version rounds a few images otherwise.

    Raises:
        InputError: there is no such release, or it holds no recipe.
        DatasetError: the images are not there, or are of other classes than the release's.
        IntegrityError: what is stored is not what was published.
        MixnetError: as `stages.score_files`.
    """
    release = read_release(uri)
    folder = workspace.root / "revalidations" / f"{release.name}-{release.manifest_sha256[:12]}"
    published = _fetch(release, "recipe", folder / "published-recipe.yaml")
    recipe = adjusted_recipe(str(published), data=data)
    save_recipe(recipe, folder / "recipe.yaml")
    weights = fetch_weights(
        release.uri,
        cache=workspace.weights,
        releases_uri=release.uri,
        on_bytes=lambda done, total: watch(Tick(STAGE, done, total, "B", detail="weights")),
    )
    data_here = recipe.data
    if data_here.layout == "mindrecord":
        # Shards are for training on a network disk; the same images are measured without them.
        data_here = data_here.model_copy(update={"layout": "links"})
    dataset = prepare_dataset(
        data_here,
        workspace.datasets,
        lambda done, total: watch(Tick(STAGE, done, total, "img", detail="dataset")),
    )
    expect_classes(dataset, recipe.network.num_classes)
    _expect_same_classes(release, dataset)
    result = score_files(
        folder / "recipe.yaml",
        recipe,
        dataset,
        [Path(weights.path)],
        split="val",
        stage=STAGE,
        attempts=folder / "attempts",
        watch=watch,
    )
    return compared(release, result, dataset.fingerprint, tolerance)


def compared(
    release: PublishedRelease, result: EvaluateResult, dataset_fingerprint: str, tolerance: float
) -> Revalidation:
    """The verdict on a result with one score."""
    (score,) = result.scores
    top1 = _number(release.facts, "val", "top1")
    # A little more than the tolerance: 0.9 - 0.1 is not 0.8 in binary.
    if top1 is None:
        verdict: Literal["holds", "regressed", "no figures"] = "no figures"
    else:
        verdict = "holds" if score.top1 >= top1 - tolerance - 1e-9 else "regressed"
    there = _entry(release.facts, "dataset", "fingerprint")
    other = there is not None and there != dataset_fingerprint
    return Revalidation(
        release=release.name,
        uri=release.uri,
        verdict=verdict,
        measured=score,
        published_top1=top1,
        engine=result.engine,
        note="on other images than the published figure" if other else "",
    )


def not_measured(uri: str, error: MixnetError) -> Revalidation:
    """A release whose measuring raised `error`: said beside the others, not instead of them."""
    name = uri.rstrip("/").rpartition("/")[2]
    return Revalidation(
        release=name,
        uri=uri,
        verdict="failed",
        measured=None,
        published_top1=None,
        note=f"{type(error).__name__}: {error}",
    )


def table(results: Sequence[Revalidation]) -> list[dict[str, Any]]:
    """A row a release, of text."""
    return [
        {
            "release": result.release,
            "verdict": result.verdict,
            "top-1": _percent(result.measured.top1) if result.measured else "",
            "published": "" if result.published_top1 is None else _percent(result.published_top1),
            "images": f"{result.measured.count:,}" if result.measured else "",
            "engine": result.engine,
            "note": result.note,
        }
        for result in results
    ]


def require_all_hold(results: Sequence[Revalidation]) -> None:
    """Raises IntegrityError that names every release that regressed or could not be measured."""
    bad = [result.line for result in results if result.bad]
    if bad:
        raise IntegrityError(
            f"{len(bad)} of {len(results)} releases did not hold: {'; '.join(bad)}; do not use "
            "them until it is clear why"
        )


def _fetch(release: PublishedRelease, role: str, target: Path) -> Path:
    file: ReleasedFile | None = release.files.get(role)
    if file is None:
        raise IntegrityError(
            f"release {release.uri} holds no {role}, so it cannot be measured: expected files in "
            f"the roles weights and {role}; publish it again with `mixnet publish`"
        )
    sha256 = open_storage(release.uri).download(file.name, target)
    if sha256 != file.sha256:
        target.unlink()
        raise DigestMismatch(
            f"{release.uri}/{file.name} has sha256 {sha256}, expected {file.sha256}, as its "
            "manifest says: publish the release again; nothing was kept"
        )
    return target


def _expect_same_classes(release: PublishedRelease, dataset: PreparedDataset) -> None:
    """Other names in the same number would give every image the wrong label, without an error."""
    classes = release.facts.get("classes")
    if isinstance(classes, list) and classes != list(dataset.classes):
        raise DatasetError(
            f"{dataset.root} has the classes {_few(dataset.classes)}, release {release.name} was "
            f"made for {_few(classes)}: give the folder of the release's images"
        )


def _few(names: Sequence[Any]) -> str:
    more = f", ... ({len(names)})" if len(names) > 3 else ""
    return ", ".join(str(name) for name in names[:3]) + more


def _entry(facts: dict[str, Any], section: str, key: str) -> Any:
    """Facts are whatever the publisher chose."""
    inner = facts.get(section)
    return inner.get(key) if isinstance(inner, dict) else None


def _number(facts: dict[str, Any], section: str, key: str) -> float | None:
    value = _entry(facts, section, key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
