"""The flow `mixnet-revalidate`: every published release measured again."""

from __future__ import annotations

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from flows.mixnet import Text
from flows.showing import show_table, shown
from flows.tasks import worth_a_retry
from mixnet_core.errors import MixnetError
from mixnet_core.options import open_workspace, releases_uri
from mixnet_core.recipe_sections import Share
from mixnet_core.release.publish import release_names
from mixnet_core.revalidation import (
    STAGE,
    Revalidation,
    not_measured,
    require_all_hold,
    revalidate_release,
    table,
)
from mixnet_core.run_dir import Workspace


# 30 and 60 s, spread: the storage service; nobody waits for the result.
@task(
    name="revalidate",
    task_run_name="revalidate {uri}",
    retries=2,
    retry_delay_seconds=exponential_backoff(30),
    retry_jitter_factor=0.5,
    retry_condition_fn=worth_a_retry,
    cache_policy=NO_CACHE,
)
def measure_again(
    uri: str, workspace: Workspace, data: str | None, tolerance: float
) -> Revalidation:
    name = uri.rpartition("/")[2]
    return shown(
        STAGE,
        name,
        lambda watch: revalidate_release(
            uri, workspace=workspace, data=data, tolerance=tolerance, watch=watch
        ),
    )


@flow(name="mixnet-revalidate")
def revalidate(
    releases: Text | None = None,
    data: Text | None = None,
    workspace: Text | None = None,
    tolerance: Share = 0.001,
) -> list[Revalidation]:
    """Measure every published release again; fail naming those that are worse than published.

    Args:
        releases: Where the releases are: a folder, file:///PATH or s3://BUCKET/PREFIX. Default:
            releases/ in the workspace.
        data: Folder of images to measure on, instead of each recipe's own.
        workspace: Folder on the worker's machine for what is fetched and prepared. Default:
            $MIXNET_HOME there, else ./workspace.
        tolerance: Share of the images by which top-1 may be below the published one.
    """
    place = open_workspace(workspace)
    where = releases_uri(place, releases)
    results = []
    for name in release_names(where):
        uri = f"{where}/{name}"
        try:
            results.append(measure_again(uri, place, data, tolerance))
        except MixnetError as error:
            results.append(not_measured(uri, error))
    show_table("revalidation", table(results), f"Releases at {where}")
    require_all_hold(results)
    return results
