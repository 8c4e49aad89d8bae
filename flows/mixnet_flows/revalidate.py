"""The flow `mixnet-revalidate`: every release measured again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Completed
from prefect.tasks import exponential_backoff

from mixnet_core.evaluate.report.plots import trend_png
from mixnet_core.recipe.sections import Share
from mixnet_core.revalidation.all_releases import Item, fetch_item, items, one_by_one
from mixnet_core.revalidation.history import of_release, read_history, trend
from mixnet_core.revalidation.release import STAGE, Fetched, measure_again
from mixnet_core.revalidation.states import (
    Revalidation,
    require_all_confirmed,
    table,
)
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.runs.ticks import Watch
from mixnet_core.stages.options import Text, open_workspace, registry_uri
from mixnet_core.storage.uris import refuse_credentials, shown
from mixnet_flows.accelerators import accelerators_held
from mixnet_flows.artifacts import artifact_key, show_image, show_table
from mixnet_flows.guarded import guarded
from mixnet_flows.showing import told
from mixnet_flows.tasks import worth_a_retry

# Events are named mixnet.release.STATE; `triggers` in prefect.yaml waits for all but "confirmed".
EVENT = "mixnet.release"


# 30 and 60 s, spread: the storage service; nobody waits for the result.
@task(
    name="revalidate",
    task_run_name="revalidate {item.name}",
    retries=2,
    retry_delay_seconds=exponential_backoff(30),
    retry_jitter_factor=0.5,
    retry_condition_fn=worth_a_retry,
    cache_policy=NO_CACHE,
)
def revalidate_one(
    item: Item, workspace: Workspace, history: Sequence[Revalidation], tolerance: float
) -> Revalidation:
    def measure(fetched: Fetched, watch: Watch) -> Revalidation:
        with accelerators_held(fetched.ready.recipe.devices):
            return measure_again(
                fetched, workspace, history=history, tolerance=tolerance, watch=watch
            )

    return told(
        STAGE, item.name, lambda watch: measure(fetch_item(item, workspace, watch=watch), watch)
    )


@flow(name="mixnet-revalidate", flow_run_name="releases")
@guarded
def revalidate(
    releases: Text | None = None,
    data: Text | None = None,
    imagenet: Text | None = None,
    retired: list[Text] | None = None,
    workspace: Text | None = None,
    tolerance: Share = 0.001,
) -> list[Revalidation] | State[list[Revalidation]]:
    """Measure every release again; fail naming those that are not what they claim to be.

    Where nothing was ever published at the default place it ends well, and says so.

    Args:
        releases: Where the releases are: a folder, file:///PATH or s3://BUCKET/PREFIX. Default:
            releases/ in the workspace.
        data: Folder of images to measure published releases on, instead of each recipe's own.
        imagenet: Folder of ImageNet on the worker's machine. With it the catalog's releases are
            measured too.
        retired: Names of releases that were deleted on purpose.
        workspace: Folder on the worker's machine for what is fetched and prepared. Default:
            $MIXNET_HOME there, else ./workspace.
        tolerance: Share of the images by which top-1 may differ from what was counted on them.
    """
    refuse_credentials(releases, data, imagenet, workspace, *(retired or ()))
    opened = open_workspace(workspace)
    registry = registry_uri(opened, releases)
    history = read_history(registry)
    found = items(
        registry,
        history,
        data=data,
        imagenet=imagenet,
        retired=retired or (),
        # Of a place that somebody names there is a release, or a slip in its name.
        may_be_none=releases is None,
    )
    if not found:
        return Completed(
            message=f"nothing is published at {shown(registry)} yet: nothing to measure"
        )

    def measure(item: Item) -> Revalidation:
        return revalidate_one(item, opened, history, tolerance)

    results = one_by_one(found, registry, measure, tell)
    show(registry, results, [*history, *results])
    require_all_confirmed(results)
    return results


def tell(result: Revalidation) -> None:
    """Emits an event of the release's state, which automations may wait for."""
    emit_event(
        event=f"{EVENT}.{result.state.replace(' ', '-')}",
        resource={
            "prefect.resource.id": f"{EVENT}.{result.release}",
            "prefect.resource.name": result.release,
        },
        payload={"state": result.state, "uri": result.uri, "line": result.line},
    )


def show(where: str, results: Sequence[Revalidation], every: Sequence[Revalidation]) -> None:
    """Shows the states as a table, each release's figures over time as an image."""
    show_table("revalidation", table(results), f"Releases at {where}")
    for result in results:
        points = trend(of_release(every, result.release))
        if any(point["top1"] is not None for point in points):
            show_image(
                artifact_key(result.release, "trend"),
                partial(trend_png, points),
                f"Top-1 of {result.release} over time",
            )
