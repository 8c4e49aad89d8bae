"""The stage `publish`."""

from __future__ import annotations

from typing import Any

from mixnet_core.errors import InputError, IntegrityError
from mixnet_core.evaluate.report.data import with_decision
from mixnet_core.evaluate.report.registry_index import renew_index
from mixnet_core.recipe.recipe import Recipe, stored_recipe
from mixnet_core.release.publish import publish_release
from mixnet_core.release.signing import expect_keys, is_signed, sign_release, signing_key
from mixnet_core.runs.export_values import Exported
from mixnet_core.runs.records import exclusive, write_record
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.runs.ticks import Tick
from mixnet_core.runs.values import (
    Decision,
    FetchedWeights,
    PreparedDataset,
    Release,
    Validation,
)
from mixnet_core.stages.acceptance import require_accepted, require_decided_on
from mixnet_core.stages.context import Context
from mixnet_core.stages.described import describe_release
from mixnet_core.stages.evidence import evidence
from mixnet_core.stages.export import files_of
from mixnet_core.storage.files import sha256_of


def publish(
    context: Context,
    dataset: PreparedDataset,
    validation: Validation,
    decision: Decision,
    weights: FetchedWeights | None = None,
    release: str | None = None,
    exported: Exported | None = None,
) -> Release:
    """Publishes the validated checkpoint with its evidence (`release.publish.publish_release`).

    Args:
        weights: what training started from, for the manifest.
        release: its name; None: the run's.
        exported: files for other runtimes; those that are proven are published with it.

    Raises:
        NotAccepted: it may not be.
        InputError: the decision is on another checkpoint, other predictions or other demands; or
            the run's files are by now.
        IntegrityError: the checkpoint's bytes are not those that were validated.
        ReleaseConflict: another release has this name.
        TransientError: another process works on this run.
        MachineError, IntegrityError: as `release.publish.publish_release` and
            `release.signing.sign_release`.
    """
    recipe, run, registry = context.recipe, context.run, context.registry
    key = context.sign_with or signing_key()
    expect_keys(key, None)
    require_decided_on(decision, recipe.acceptance, validation)
    require_accepted(decision)
    with exclusive(run):
        report = _check_files(recipe, run, validation, decision)
        _check_exports(exported)
        files = {
            "weights": validation.checkpoint.weights,
            "recipe": run.recipe,
            "answers": run.predictions,
            "report": run.report_json,
            "report_markdown": run.report_markdown,
            "report_page": run.report_page,
            # A run that an earlier version validated has none, and is published as it was.
            **({"seen": run.seen} if validation.seen_sha256 else {}),
            **({"diverged": run.diverged} if run.diverged.is_file() else {}),
            **{role: path for role, (path, _) in files_of(exported).items()},
        }
        files |= describe_release(
            release or run.name,
            run,
            files,
            report=report,
            recipe=recipe,
            dataset=dataset,
            decision=decision,
            start=weights,
            exported=exported,
        )
        published = publish_release(
            release or run.name,
            registry=registry,
            files=files,
            facts=_facts(recipe, dataset, validation, decision, weights),
            single_writer=context.single_writer,
            on_bytes=lambda done, total: context.watch(Tick("publish", done, total, "B")),
        )
        published = _signed(published, key)
        write_record(run, "publish", {"to": registry, "name": published.name}, published)
    renew_index(registry)
    return published


def _signed(published: Release, key: str | None) -> Release:
    """Signs a release where there is a key for it, and says whether it is signed."""
    if key is not None:
        sign_release(published.uri, key)
    signed = key is not None or is_signed(published.uri)
    return published.model_copy(update={"signed": signed})


def _check_files(
    recipe: Recipe, run: RunDir, validation: Validation, decision: Decision
) -> dict[str, Any]:
    """Checks that the run's files are those that were validated and decided on.

    Returns:
        Its report.
    """
    report = evidence(run, validation)
    if report != with_decision(report, decision):
        raise InputError(
            f"{run.report_json} does not say this decision: run `mixnet accept --run {run.name}` "
            "again"
        )
    weights = validation.checkpoint.weights
    if not weights.is_file() or sha256_of(weights) != validation.checkpoint.weights_sha256:
        raise IntegrityError(
            f"{weights} is not what was validated: run `mixnet run --run {run.name}`, which trains "
            "what is missing, or restore the file"
        )
    if validation.seen_sha256 and (
        not run.seen.is_file() or sha256_of(run.seen) != validation.seen_sha256
    ):
        raise InputError(
            f"{run.seen} is not what this validation left: run `mixnet validate --run {run.name}` "
            "again"
        )
    if stored_recipe(run.recipe) != recipe:
        raise InputError(
            f"{run.recipe} says another recipe than is published: run `mixnet publish --run "
            f"{run.name}` again"
        )
    return report


def _check_exports(exported: Exported | None) -> None:
    """Checks that the exported files are those that were proven."""
    for path, sha256 in files_of(exported).values():
        if not path.is_file() or sha256_of(path) != sha256:
            raise IntegrityError(
                f"{path} is not what was proven: run `mixnet publish` again, which exports it anew"
            )


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
        # On the files in the roles weights, answers and recipe, which have digests of their own.
        "acceptance": decision.model_dump(
            mode="json", exclude={"reused", "weights_sha256", "answers_sha256", "demands"}
        ),
        **_measured_by(recipe),
        **_measured_on(validation),
    }


def _measured_on(validation: Validation) -> dict[str, object]:
    """Returns which images the figures are on; nothing where an earlier version validated."""
    on = validation.measured_on
    if on is None:
        return {}
    unseen = {**on.unseen.model_dump(), "top1": on.unseen.top1} if on.unseen else None
    return {"measured_on": {**on.model_dump(), "unseen": unseen}}


def _measured_by(recipe: Recipe) -> dict[str, object]:
    """Returns how images were read for the figures; nothing where that was by rules 1."""
    if not recipe.follows(2):
        return {}
    given = recipe.input
    return {
        "evaluation": {
            "rules": recipe.rules,
            "short_side": recipe.short_side,
            "image_size": given.image_size,
            "interpolation": given.interpolation,
        }
    }
