"""`mixnet run` and a subcommand for each stage."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import typer

from mixnet_core.cli import imagenet as cli_imagenet
from mixnet_core.cli.options import (
    EPILOG,
    HostsOption,
    JsonOption,
    MasterOption,
    NearDuplicatesOption,
    NodeRankOption,
    QuietOption,
    RecipeArgument,
    RecipeOption,
    SetOption,
    SignWithOption,
    ToOption,
    one_recipe,
)
from mixnet_core.cli.outcome import print_json
from mixnet_core.data.near_duplicates import find_near_duplicates
from mixnet_core.data.prepared_copy import expect_copyable
from mixnet_core.errors import InputError, Stopped
from mixnet_core.processes.host_ranks import HostRanks
from mixnet_core.recipe.lines import recipe_lines
from mixnet_core.recipe.recipe import Recipe, stored_recipe
from mixnet_core.runs.records import existing_run
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.runs.summaries import summary
from mixnet_core.runs.terminal import TerminalWatch
from mixnet_core.runs.ticks import Tick
from mixnet_core.runs.values import NEAR_DUPLICATES_FILE, Decision, Validation, Value
from mixnet_core.stages import table
from mixnet_core.stages.accept import accept, standing_decision
from mixnet_core.stages.check import check
from mixnet_core.stages.context import Context, open_context
from mixnet_core.stages.export import export
from mixnet_core.stages.fetch import fetch
from mixnet_core.stages.on_record import OnRecord
from mixnet_core.stages.options import (
    DEFAULT_RECIPE,
    AcceptAnywayOption,
    DataOption,
    EpochsOption,
    GlobalBatchOption,
    LrOption,
    RanksOption,
    RegistryOption,
    ReleaseOption,
    RunOption,
    ScaleLrOption,
    SingleWriterOption,
    WeightsOption,
    WorkspaceOption,
    adjusted_recipe,
    open_workspace,
    parse_settings,
    registry_uri,
)
from mixnet_core.stages.prepare import copy_to, prepare
from mixnet_core.stages.publish import publish
from mixnet_core.stages.select import select
from mixnet_core.stages.train import train
from mixnet_core.stages.validate import validate
from mixnet_core.stages.which_host import hosts_told, says_which, which_host
from mixnet_core.storage.uris import refuse_credentials

Results = dict[str, Value | None]

# Of publishing, mostly: a stage that does not heed one refuses it.
_OF_A_RUN = ("accept_anyway", "release", "single_writer")
_OF_HOSTS = ("hosts", "node_rank", "master")
_NOT_OF_EVERY_STAGE = (*_OF_A_RUN, "near_duplicates", "sign_with", "to", *_OF_HOSTS)


@dataclass(frozen=True)
class Invocation:
    """What one call of the command works on.

    Attributes:
        release: name of what is published; None: the run's.
        override: a reason to publish it whatever is demanded.
        near_duplicates: bits within which images that look alike are counted too.
        to: URI that the prepared shards are written to; None: nowhere.
        host: which of several hosts this one is; None: there is one.
    """

    context: Context
    watch: TerminalWatch
    release: str | None
    override: str | None
    near_duplicates: int | None
    to: str | None
    host: HostRanks | None = None

    @property
    def records(self) -> OnRecord:
        """Returns what the run's finished stages left."""
        return OnRecord(self.context.recipe, self.context.run)


def add_to(app: typer.Typer) -> None:
    """Registers the subcommands in the order of the work."""
    _add(app, "run", _run, "All stages; started again, it goes on where it stopped.")
    for stage, work, own in (
        (table.PREPARE, _prepare, ("near_duplicates", "to")),
        (table.FETCH, _fetch, ()),
        (table.TRAIN, _train, ("single_writer", *_OF_HOSTS)),
        (table.SELECT, _select, _OF_HOSTS),
        (table.VALIDATE, _validate, _OF_HOSTS),
        (table.ACCEPT, _accept, ("accept_anyway",)),
        (table.PUBLISH, _publish, (*_OF_A_RUN, "sign_with")),
    ):
        _add(app, stage.name, work, stage.help, own)
        if stage is table.PREPARE:
            cli_imagenet.add_to(app)


def _add(
    app: typer.Typer,
    name: str,
    work: Callable[[Invocation], Results],
    text: str,
    own: tuple[str, ...] = _OF_A_RUN,
) -> None:
    """Registers a subcommand.

    Args:
        own: which of the options that not every stage has are its own; the others are refused.
    """

    def command(
        recipe: RecipeArgument = None,
        recipe_option: RecipeOption = None,
        run: RunOption = None,
        workspace: WorkspaceOption = None,
        registry: RegistryOption = None,
        release: ReleaseOption = None,
        accept_anyway: AcceptAnywayOption = None,
        near_duplicates: NearDuplicatesOption = None,
        to: ToOption = None,
        single_writer: SingleWriterOption = False,
        sign_with: SignWithOption = None,
        data: DataOption = None,
        weights: WeightsOption = None,
        epochs: EpochsOption = None,
        global_batch: GlobalBatchOption = None,
        lr: LrOption = None,
        ranks: RanksOption = None,
        hosts: HostsOption = None,
        node_rank: NodeRankOption = None,
        master: MasterOption = None,
        scale_lr: ScaleLrOption = False,
        set_: SetOption = None,
        as_json: JsonOption = False,
        quiet: QuietOption = False,
    ) -> None:
        opened = open_workspace(workspace)
        refuse_credentials(master)
        measures = name in ("select", "validate")
        if name == "train":
            hosts = hosts_told(hosts, os.environ)
        context = _context(
            name,
            one_recipe(recipe, recipe_option),
            run,
            opened,
            registry,
            settings=parse_settings(set_ or []),
            data=data,
            weights=weights,
            epochs=epochs,
            global_batch=global_batch,
            lr=lr,
            ranks=ranks,
            # How many measure changes nothing of the run.
            hosts=None if measures else hosts,
            scale_lr=scale_lr,
        )
        host, devices = None, context.recipe.devices
        if measures and (hosts, node_rank, master) != (None, None, None):
            devices = devices.model_copy(update={"hosts": hosts or devices.hosts})
            host = which_host(devices, node_rank=node_rank, master=master, environment=os.environ)
        # What is trained already is so on any host, whichever it is.
        elif name == "train" and (
            says_which(node_rank, os.environ) or not context.run.record("train").is_file()
        ):
            host = which_host(devices, node_rank=node_rank, master=master, environment=os.environ)
        refuse_credentials(sign_with, to)
        context = replace(context, single_writer=single_writer, sign_with=sign_with)
        with TerminalWatch(quiet=quiet) as watch:
            results = work(
                Invocation(
                    context.watched_by(watch),
                    watch,
                    release,
                    accept_anyway,
                    near_duplicates,
                    to,
                    host,
                )
            )
        if as_json:
            values = {
                stage: value.model_dump(mode="json") if value else None
                for stage, value in results.items()
            }
            print_json({"run": context.run.name, **values})

    # typer makes an option of each parameter that the signature says; one that is set has to have
    # types, not their names.
    signature = inspect.signature(command, eval_str=True)
    others = set(_NOT_OF_EVERY_STAGE) - set(own)
    kept = [item for item in signature.parameters.values() if item.name not in others]
    command.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    app.command(name, help=text, epilog=EPILOG)(command)


def _context(
    stage: str,
    recipe: str | None,
    run: str | None,
    workspace: Workspace,
    named_registry: str | None,
    *,
    settings: dict[str, Any],
    **options: Any,
) -> Context:
    registry = registry_uri(workspace, named_registry)
    if recipe is not None or run is None:
        chosen = adjusted_recipe(
            recipe or DEFAULT_RECIPE, registry=registry, settings=settings, **options
        )
        _expect_use(named_registry, stage, chosen, named=True)
        return open_context(chosen, workspace, run=run, registry=registry)
    # Where it trains a begun run may change: it is no key of what it computes.
    if (hosts := options.pop("hosts", None)) is not None:
        settings = {"devices.hosts": hosts} | settings
    # A number that is 0 is given too.
    given = [
        f"--{key.replace('_', '-')}"
        for key, value in options.items()
        if value is not None and value is not False
    ]
    if given:
        raise InputError(
            f"{', '.join(given)} would change the recipe of run {run}: leave it out, or "
            "name a recipe"
        )
    existing, kept = existing_run(workspace, run)
    # What computes nothing may change, as selection and acceptance; opening refuses the rest.
    changed = stored_recipe(existing.recipe, settings) if settings else kept
    _expect_use(named_registry, stage, changed, named=False)
    if not settings:
        return Context(kept, existing, workspace, registry)
    return open_context(changed, workspace, run=run, registry=registry)


def _expect_use(registry: str | None, stage: str, recipe: Recipe, *, named: bool) -> None:
    """Refuses a registry in which the stage neither looks anything up nor puts something.

    Args:
        named: whether the recipe is a named one, whose initial weights are looked up with it; a
            run's own says what they are.
    """
    if registry is None or stage in ("run", "train", "publish"):
        return
    looks_up = recipe.weights.name is not None and (named or stage == "fetch")
    if not looks_up and not (stage == "accept" and recipe.acceptance.replaces is not None):
        raise InputError(
            f"--registry says nothing here: mixnet {stage} of this recipe looks no release up and "
            "publishes none; leave it out"
        )


def _run(invocation: Invocation) -> Results:
    context = invocation.context
    if not context.run.record("train").is_file():
        # Said now, not once the images are prepared: this command is of one host.
        which_host(context.recipe.devices, environment={})
    check(context)
    results: Results = {}
    for work in (_prepare, _fetch, _train_checked, _select, _validate, _accept, _publish):
        results |= work(invocation)
    invocation.watch.line("report", str(context.run.report_page))
    return results


def _prepare(invocation: Invocation) -> Results:
    context, to = invocation.context, invocation.to
    if to is not None:
        expect_copyable(context.recipe.data.layout, to)
    dataset = prepare(context, invocation.override)
    results = _finished(invocation, "prepare", dataset)
    if to is not None:
        results["copy"] = copy_to(context, dataset, to)
        invocation.watch.finished("prepare", summary(results["copy"]))
    if invocation.near_duplicates is not None:

        def on_image(done: int, total: int) -> None:
            detail = "compared with each other"
            invocation.watch(Tick("prepare", done, total, "img", detail=detail))

        found = find_near_duplicates(dataset, invocation.near_duplicates, on_image)
        listed = f", listed in {dataset.root}/{NEAR_DUPLICATES_FILE}" if found.all else ""
        invocation.watch.line("prepare", f"{summary(found)}{listed}")
        results["near_duplicates"] = found
    return results


def _fetch(invocation: Invocation) -> Results:
    return _finished(invocation, "fetch", fetch(invocation.context))


def _train(invocation: Invocation) -> Results:
    check(invocation.context, invocation.records.dataset())
    return _train_checked(invocation)


def _train_checked(invocation: Invocation) -> Results:
    records = invocation.records
    dataset, weights = records.dataset(), records.weights()
    for line in recipe_lines(invocation.context.recipe):
        invocation.watch.line("recipe", line)
    try:
        trained = train(invocation.context, dataset, weights, invocation.host)
    except BaseException as interruption:
        # Here, because typer makes a plain exit code of Ctrl-C.
        if isinstance(interruption.__cause__, Stopped):
            raise interruption.__cause__ from None
        raise
    return _finished(invocation, "train", trained)


def _select(invocation: Invocation) -> Results:
    records = invocation.records
    dataset, trained = records.dataset(), records.trained()
    selection = select(invocation.context, dataset, trained, invocation.host)
    return _finished(invocation, "select", selection)


def _validate(invocation: Invocation) -> Results:
    records = invocation.records
    dataset, trained, selection = records.dataset(), records.trained(), records.selection()
    validation = validate(invocation.context, dataset, trained, selection, invocation.host)
    return _finished(invocation, "validate", validation)


def _accept(invocation: Invocation) -> Results:
    decision = _decided(invocation, invocation.records.validation())
    return _finished(invocation, "accept", decision)


def _publish(invocation: Invocation) -> Results:
    records = invocation.records
    validation = records.validation()
    decision = standing_decision(invocation.context, validation, invocation.override)
    if decision is None:
        # There is none, or it is on another checkpoint or on other demands than these.
        decision = _decided(invocation, validation)
        _finished(invocation, "accept", decision)
    dataset = records.dataset()
    exported = export(invocation.context, dataset, validation, decision, invocation.release)
    results = _finished(invocation, "export", exported) if exported.proofs else {}
    release = publish(
        invocation.context,
        dataset,
        validation,
        decision,
        records.weights(),
        invocation.release,
        exported,
    )
    return results | _finished(invocation, "publish", release)


def _decided(invocation: Invocation, validation: Validation) -> Decision:
    dataset = invocation.records.dataset()
    return accept(invocation.context, dataset, validation, invocation.override)


def _finished(invocation: Invocation, stage: str, value: Value | None) -> Results:
    invocation.watch.finished(stage, summary(value))
    return {stage: value}
