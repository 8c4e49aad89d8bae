"""What every stage is given alike, as one value: a stage's own arguments are what others left."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.records import open_run
from mixnet_core.runs.run_dir import RunDir, Workspace
from mixnet_core.runs.ticks import Watch, unwatched
from mixnet_core.storage.uris import refuse_credentials


@dataclass(frozen=True)
class Context:
    """One run of a recipe, and where it finds and leaves what is not its own.

    Attributes:
        recipe: as the run computes it.
        run: its folder.
        workspace: where datasets and fetched weights are shared between runs.
        registry: URI where releases are published and looked up, after the catalog.
        watch: is told how far a stage is.
        single_writer: nobody else publishes there (`storage.storage.Storage.single_writer`).
        sign_with: path of the private key for what is published; None: what MIXNET_SIGN_KEY names,
            if it is set (`release.signing`).
    """

    recipe: Recipe
    run: RunDir
    workspace: Workspace
    registry: str
    watch: Watch = unwatched
    single_writer: bool = False
    sign_with: str | None = None

    def watched_by(self, watch: Watch) -> Context:
        """Returns the same for somebody else who looks."""
        return replace(self, watch=watch)


def open_context(
    recipe: Recipe,
    workspace: Workspace | str | Path,
    *,
    run: str | None = None,
    registry: str | None = None,
    single_writer: bool = False,
) -> Context:
    """Opens a run, new or begun earlier, for its stages.

    Args:
        workspace: a folder, made if missing.
        run: its name; None: as `runs.records.open_run`.
        registry: None: the workspace's own.
        single_writer: as `Context`.

    Raises:
        InputError, MachineError, TransientError: as `runs.records.open_run`.

    Example:
        >>> import mixnet_core
        >>> context = mixnet_core.open_context(mixnet_core.load_recipe("digits"), "w", run="mine")
        >>> context.run.name
        'mine'
    """
    refuse_credentials(registry)
    if not isinstance(workspace, Workspace):
        refuse_credentials(str(workspace))
        workspace = Workspace(Path(workspace).expanduser().absolute())
    opened, kept = open_run(recipe, workspace, run)
    return Context(
        kept,
        opened,
        workspace,
        registry or str(workspace.releases),
        single_writer=single_writer,
    )
