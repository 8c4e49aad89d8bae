"""The stage `publish`."""

from __future__ import annotations

from pathlib import Path

from mixnet_core.accepting import require_accepted
from mixnet_core.recipe import Recipe
from mixnet_core.release.publish import publish_release
from mixnet_core.run_dir import RunDir
from mixnet_core.runs import key_of, write_record
from mixnet_core.values import (
    Decision,
    FetchedWeights,
    PreparedDataset,
    Release,
    Validation,
)


def publish(
    recipe: Recipe,
    run: RunDir,
    dataset: PreparedDataset,
    validation: Validation,
    decision: Decision,
    *,
    to: str,
    weights: FetchedWeights | None = None,
    name: str | None = None,
) -> Release:
    """Publishes the validated checkpoint with its evidence (`release.publish.publish_release`).

    Args:
        to: URI that holds releases, `file://` or `s3://`.
        weights: what training started from, for the manifest.
        name: of the release; None: the run's.

    Raises:
        NotAccepted: it may not be.
        ReleaseConflict: another release has this name.
    """
    require_accepted(decision)
    files = {
        "weights": validation.checkpoint.weights,
        "recipe": run.recipe,
        "answers": Path(validation.answers),
        "report": Path(validation.report_json),
        "report_markdown": Path(validation.report_markdown),
        "report_page": Path(validation.report_page),
    }
    release = publish_release(
        name or run.name,
        to=to,
        files=files,
        facts=_facts(recipe, dataset, validation, decision, weights),
    )
    write_record(run, "publish", key_of(to=to, name=release.name), release)
    return release


def _facts(
    recipe: Recipe,
    dataset: PreparedDataset,
    validation: Validation,
    decision: Decision,
    weights: FetchedWeights | None,
) -> dict[str, object]:
    score, checkpoint = validation.score, validation.checkpoint
    return {
        "variant": recipe.network.variant,
        "flavour": recipe.network.flavour,
        "in_channels": recipe.network.in_channels,
        "stem_stride": recipe.network.stem_stride,
        "image_size": recipe.input.image_size,
        "classes": list(dataset.classes),
        "recipe": {"name": recipe.name, "fingerprint": recipe.fingerprint},
        "dataset": {
            "fingerprint": dataset.fingerprint,
            "val_fingerprint": dataset.val_fingerprint,
            "counts": dataset.counts,
        },
        "checkpoint": {
            "step": checkpoint.step,
            "epoch": checkpoint.epoch,
            "weights": checkpoint.kind,
            "mean_of": list(checkpoint.mean_of),
        },
        "started_from": {"name": weights.name, "sha256": weights.sha256} if weights else None,
        "val": {**score.model_dump(), "top1": score.top1, "top5": score.top5},
        "engine": validation.engine,
        "acceptance": decision.model_dump(mode="json", exclude={"reused"}),
    }
