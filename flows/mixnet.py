"""The flow `mixnet`: from a recipe to a published release."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow
from pydantic import Field

from flows import tasks
from mixnet_core.options import DEFAULT_RECIPE, adjusted_recipe, open_workspace, releases_uri
from mixnet_core.runs import open_run
from mixnet_core.uris import refuse_credentials
from mixnet_core.values import Release

Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


@flow(name="mixnet")
def mixnet(
    recipe: Text = DEFAULT_RECIPE,
    data: Text | None = None,
    run: Text | None = None,
    workspace: Text | None = None,
    publish_to: Text | None = None,
    release: Text | None = None,
    weights: Text | None = None,
    epochs: Count | None = None,
    global_batch: Count | None = None,
    lr: Positive | None = None,
    ranks: Count | None = None,
    scale_lr: bool = False,
    accept_anyway: Text | None = None,
    settings: dict[str, Any] | None = None,
) -> Release:
    """Train, select, validate, accept and publish one MixNet. Started again, it skips what is done.

    Prefect takes the form's texts from here; a description in an annotation would be dropped.

    Args:
        recipe: A bundled recipe's name, or the path of a YAML file, ours or MindCV's.
        data: Folder of images with train/ and val/ (or of IDX files) instead of the recipe's data.
        run: Name of the run; given again, it goes on where it stopped. Default: the recipe's name
            and fingerprint, so that equal recipes share a run.
        workspace: Folder for datasets, runs and releases on the worker's machine. Default:
            $MIXNET_HOME there, else ./workspace.
        publish_to: Where releases go and are looked up: a folder, file:///PATH or
            s3://BUCKET/PREFIX. Default: releases/ in the workspace.
        release: Name of the release. Default: the run's.
        weights: Name or URI of the release to start from. Its network is taken over; the classifier
            is, where the images are of its classes.
        epochs: Length; the schedule is stretched with it.
        global_batch: Images an optimizer step, over all ranks.
        lr: Peak learning rate; where rates are scaled, the one for schedule.lr_batch.
        ranks: Worker processes, one a device; 1 runs without msrun. The global batch stays.
        scale_lr: With `ranks`, keep the images a rank instead: the global batch follows. The
            learning rates are scaled with the global batch.
        accept_anyway: A reason to publish whatever acceptance.* demands; it is recorded.
        settings: Any other key of the recipe, dotted, as in {"training.seed": 7}.
    """
    refuse_credentials(recipe, data, run, workspace, publish_to, release, weights)
    refuse_credentials(accept_anyway, settings)
    place = open_workspace(workspace)
    releases = releases_uri(place, publish_to)
    effective = adjusted_recipe(
        recipe,
        data=data,
        weights=weights,
        releases=releases,
        epochs=epochs,
        global_batch=global_batch,
        lr=lr,
        ranks=ranks,
        scale_lr=scale_lr,
        settings=settings,
    )
    begun, effective = open_run(effective, place, run)
    tasks.check(effective, place, releases)
    dataset = tasks.prepare(effective, begun, place)
    start = tasks.fetch(effective, begun, place, releases)
    trained = tasks.train(effective, begun, dataset, start)
    selection = tasks.select(effective, begun, dataset, trained)
    validation = tasks.validate(effective, begun, dataset, trained, selection)
    decision = tasks.accept(
        effective, begun, place, dataset, validation, releases=releases, anyway=accept_anyway
    )
    return tasks.publish(
        effective, begun, dataset, validation, decision, start, to=releases, name=release
    )
