"""All stages in their order, for scripts and notebooks; flows and the command line show each."""

from __future__ import annotations

from mixnet_core.runs.values import Release
from mixnet_core.stages.accept import accept
from mixnet_core.stages.check import check
from mixnet_core.stages.context import Context
from mixnet_core.stages.export import export
from mixnet_core.stages.fetch import fetch
from mixnet_core.stages.prepare import prepare
from mixnet_core.stages.publish import publish
from mixnet_core.stages.select import select
from mixnet_core.stages.train import train
from mixnet_core.stages.validate import validate


def run_stages(
    context: Context, *, override: str | None = None, release: str | None = None
) -> Release:
    """Runs check and the seven stages; what is finished is not done again.

    Args:
        override: a reason to publish whatever is demanded; recorded.
        release: name of what is published; None: the run's.

    Returns:
        The published release.

    Raises:
        NotAccepted: it falls short of what the recipe demands.
        MixnetError: as the stages.

    Example:
        >>> import mixnet_core
        >>> recipe = mixnet_core.load_recipe("tiny.yaml")
        >>> context = mixnet_core.open_context(recipe, "workspace", run="tiny")
        >>> mixnet_core.run_stages(context).name
        'tiny'
    """
    check(context)
    dataset = prepare(context, override)
    weights = fetch(context)
    trained = train(context, dataset, weights)
    selection = select(context, dataset, trained)
    validation = validate(context, dataset, trained, selection)
    decision = accept(context, dataset, validation, override)
    exported = export(context, dataset, validation, decision, release)
    return publish(context, dataset, validation, decision, weights, release, exported)
