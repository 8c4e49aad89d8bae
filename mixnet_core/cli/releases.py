"""`mixnet releases`, and `mixnet release ...`: what is published, and what becomes of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from mixnet_core.cli.ages import OlderThanOption, seconds_of
from mixnet_core.cli.options import EPILOG, JsonOption
from mixnet_core.cli.outcome import print_json
from mixnet_core.cli.shown_releases import (
    collected_json,
    collected_line,
    comparison_json,
    last_result,
    print_alias_history,
    print_aliases,
    print_comparison,
    release_facts,
    release_json,
    release_line,
    releases_table,
    utc_date,
)
from mixnet_core.errors import InputError
from mixnet_core.evaluate.report.registry_index import (
    renew_index,
    write_index,
)
from mixnet_core.release.catalog import CatalogEntry, find_release
from mixnet_core.release.collect import DAY_SECONDS, collect
from mixnet_core.release.deletion import delete_release
from mixnet_core.release.manifest import PublishedRelease
from mixnet_core.release.promotion import bring_back, demote, promote, published, retire
from mixnet_core.release.registry import require_registry
from mixnet_core.release.standing import standing, standings
from mixnet_core.revalidation.history import read_history
from mixnet_core.runs.markup import visible
from mixnet_core.stages.comparison import compare
from mixnet_core.stages.options import (
    RegistryOption,
    SingleWriterOption,
    WorkspaceOption,
    open_workspace,
    registry_uri,
)
from mixnet_core.stages.verifying import require_verified, verify_release
from mixnet_core.storage.open import open_object, open_storage
from mixnet_core.storage.sizes import size
from mixnet_core.storage.uris import shown

NameArgument = Annotated[
    str, typer.Argument(help="Name of a release in the registry, or an alias.", metavar="RELEASE")
]
WhyOption = Annotated[
    str, typer.Option("--why", help="The reason, one line; it is kept.", metavar="TEXT")
]

release_app = typer.Typer(
    help="Look at a release, promote, retire, compare, verify or delete it.",
    no_args_is_help=True,
    epilog=EPILOG,
)


def releases(
    workspace: WorkspaceOption = None,
    registry: RegistryOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what is published: figures, date, last re-validation, aliases.

    A table on a terminal; piped, a line a release.
    """
    uri = _registry(workspace, registry)
    found = standings(uri)
    if not found:
        require_registry(uri)
    history = read_history(uri) if found else []
    listed = [(item, last_result(item, history)) for item in found]
    if as_json:
        print_json({"releases": [release_json(item, last) for item, last in listed]})
    elif not found:
        typer.echo(f"{shown(uri)} is empty: no release is published there")
    elif sys.stdout.isatty():
        Console().print(releases_table(uri, listed))
    else:
        for item, last in listed:
            typer.echo(release_line(item, last))


@release_app.command("show", epilog=EPILOG)
def show(
    name: Annotated[
        str, typer.Argument(help="A release's name or URI, or an alias.", metavar="RELEASE")
    ],
    workspace: WorkspaceOption = None,
    registry: RegistryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one release: figures, files, where it comes from, what became of it."""
    release = _found(name, _registry(workspace, registry))
    storage, _ = open_object(release.uri)
    item = standing(release, storage)
    last = last_result(item, read_history(storage.uri))
    if as_json:
        print_json({"release": release_json(item, last)})
        return
    for title, text in release_facts(item, last):
        typer.echo(f"{title:<14} {text}")
    for role, file in sorted(release.files.items()):
        typer.echo(f"  {role:<16} {file.name:<40} {size(file.bytes):>9}")


@release_app.command("compare", epilog=EPILOG)
def compare_releases(
    before: Annotated[str, typer.Argument(help="A release's name or URI.", metavar="A")],
    now: Annotated[str, typer.Argument(help="Another one's.", metavar="B")],
    workspace: WorkspaceOption = None,
    registry: RegistryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two releases: figures, McNemar's test on common images, what their recipes differ in.

    Nothing is measured: it is what was published with them.
    """
    uri = _registry(workspace, registry)
    found = compare(_found(before, uri), _found(now, uri))
    if as_json:
        print_json({"comparison": comparison_json(found)})
    else:
        print_comparison(found)


@release_app.command("alias", epilog=EPILOG)
def alias(
    name: Annotated[
        str | None,
        typer.Argument(
            help="The alias, as in production. Without it: all of them.", metavar="NAME"
        ),
    ] = None,
    release: Annotated[
        str | None,
        typer.Argument(
            help="The release that it is to stand for. Without it: what it stood for so far.",
            metavar="RELEASE",
        ),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the alias NAME.")] = False,
    workspace: WorkspaceOption = None,
    registry: RegistryOption = None,
    single_writer: SingleWriterOption = False,
    as_json: JsonOption = False,
) -> None:
    """Set an alias, which is usable wherever a release's name is; or list aliases.

    What it stood for before is kept. A run that starts from an alias records the release.
    """
    uri = _registry(workspace, registry)
    if remove:
        if name is None or release is not None:
            raise InputError("--remove takes an alias' name and nothing else")
        removed = demote(name, uri, single_writer=single_writer)
        renew_index(uri)
        _say(as_json, {"alias": name, "release": None}, f"{name} stood for {removed.release}")
    elif name is not None and release is not None:
        changed = promote(name, release, uri, single_writer=single_writer)
        renew_index(uri)
        stands = published(open_storage(uri), release).name
        already = "" if changed else " already"
        said = f"{name} stands for {stands}{already}"
        _say(as_json, {"alias": name, "release": stands, "changed": changed}, said)
    elif name is not None:
        print_alias_history(uri, name, as_json=as_json)
    else:
        print_aliases(uri, as_json=as_json)


@release_app.command("retire", epilog=EPILOG)
def retire_release(
    name: NameArgument,
    why: WhyOption,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take it back: the release is in use again.")
    ] = False,
    workspace: WorkspaceOption = None,
    registry: RegistryOption = None,
    single_writer: SingleWriterOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say that a release is not to be used any more, and why; it stays where it is.

    Starting from it warns, re-validation passes it over, no alias can be set to it.
    """
    uri = _registry(workspace, registry)
    if remove:
        bring_back(name, uri, why=why, single_writer=single_writer)
        said = "is in use again"
    else:
        changed = retire(name, uri, why=why, single_writer=single_writer)
        said = "is retired" if changed else "is retired already"
    renew_index(uri)
    _say(as_json, {"release": name, "retired": not remove, "why": why}, f"{name} {said}")


@release_app.command("delete", epilog=EPILOG)
def delete(
    name: NameArgument,
    why: WhyOption = "no reason given",
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Also if an alias stands for it, which is removed, if another release started "
            "from it, or if its manifest cannot be read.",
        ),
    ] = False,
    workspace: WorkspaceOption = None,
    registry: RegistryOption = None,
    single_writer: SingleWriterOption = False,
    as_json: JsonOption = False,
) -> None:
    """Delete a release for good; that it was deleted, and why, stays on record."""
    uri = _registry(workspace, registry)
    done = delete_release(name, uri, why=why, force=force, single_writer=single_writer)
    renew_index(uri)
    more = f", alias {', '.join(done.aliases)} removed" if done.aliases else ""
    left = f", {len(done.left)} files in its folder left" if done.left else ""
    result = {"release": name, "files": done.files, "aliases": done.aliases, "left": done.left}
    _say(as_json, result, f"{name} is deleted: {len(done.files)} files{more}{left}")


@release_app.command("verify", epilog=EPILOG)
def verify(
    name: Annotated[
        str, typer.Argument(help="A release's name or URI, or an alias.", metavar="RELEASE")
    ],
    key: Annotated[
        Path | None,
        typer.Option(
            "--key",
            help="Public key or certificates (PEM) that it has to be signed by. Default: "
            "$MIXNET_VERIFY_KEY.",
            metavar="FILE",
        ),
    ] = None,
    workspace: WorkspaceOption = None,
    registry: RegistryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read a release again, every file, and fail naming what is not what was published.

    Also looked at: the copies beside the manifest, the figures against the predictions, what
    aliases were set to, and the index.
    """
    release = _found(name, _registry(workspace, registry))
    findings = verify_release(release, key)
    if as_json:
        print_json(
            {
                "release": release.name,
                "findings": [
                    {"what": item.what, "ok": item.ok, "said": item.said} for item in findings
                ],
            }
        )
    else:
        for item in findings:
            typer.echo(f"{'ok' if item.ok else 'FAIL':<4} {item.what} {item.said}")
    require_verified(release, findings)


@release_app.command("collect", epilog=EPILOG)
def collect_unnamed(
    older_than: OlderThanOption = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove them; without it they are only listed.")
    ] = False,
    workspace: WorkspaceOption = None,
    registry: RegistryOption = None,
    as_json: JsonOption = False,
) -> None:
    """List files that no manifest names, as a broken-off publishing leaves, or remove them.

    What is younger than --older-than stays, by the store's clock: a publisher may be at work.
    """
    uri = _registry(workspace, registry)
    require_registry(uri)
    seconds = DAY_SECONDS if older_than is None else seconds_of(older_than)
    found = collect(uri, older_seconds=seconds, delete=delete)
    if as_json:
        print_json({"collected": collected_json(found)})
        return
    gone = set(found.removed)
    for item in (*found.unnamed, *found.unfinished):
        state = "removed" if item.key in gone else "left" if delete else "unnamed"
        typer.echo(
            f"{state:<8} {utc_date(item.modified)} {size(item.bytes):>9} {visible(item.key)}"
        )
    typer.echo(collected_line(found, delete=delete))


@release_app.command("index", epilog=EPILOG)
def index(
    workspace: WorkspaceOption = None,
    registry: RegistryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make index.html and index.json at the registry's root anew, for whoever browses it."""
    uri = _registry(workspace, registry)
    require_registry(uri)
    made = write_index(uri)
    _say(
        as_json,
        {
            "index": f"{open_storage(uri).uri}/index.html",
            "releases": [row.name for row in made.releases],
        },
        f"{shown(uri)}/index.html lists {len(made.releases)} releases",
    )


def add_to(app: typer.Typer) -> None:
    """Registers the commands."""
    app.command(epilog=EPILOG)(releases)
    app.add_typer(release_app, name="release")


def _registry(workspace: str | None, registry: str | None) -> str:
    if workspace is not None and registry is not None:
        raise InputError("--workspace says nothing beside --registry here: leave one out")
    return registry_uri(open_workspace(workspace), registry)


def _found(name: str, registry: str) -> PublishedRelease:
    """Returns the published release that a name, an alias or a URI stands for."""
    if "/" not in name:
        return published(open_storage(registry), name)
    found = find_release(name, registry)
    if isinstance(found, CatalogEntry):
        raise InputError(f"{name} is a catalog entry: only published releases have files here")
    return found


def _say(as_json: bool, result: dict[str, Any], line: str) -> None:
    if as_json:
        print_json(result)
    else:
        typer.echo(line)
