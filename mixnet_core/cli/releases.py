"""`mixnet releases`, and `mixnet release ...`: what is published, and what becomes of it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mixnet_core.cli.ages import OlderThanOption, seconds_of
from mixnet_core.cli.options import EPILOG, JsonOption
from mixnet_core.cli.outcome import print_json
from mixnet_core.errors import InputError
from mixnet_core.evaluate.report.registry_index import (
    ReleaseRow,
    release_row,
    renew_index,
    write_index,
)
from mixnet_core.evaluate.statistics import mcnemar
from mixnet_core.release.aliases import FOLDER as ALIASES
from mixnet_core.release.aliases import Alias, alias_history, all_aliases
from mixnet_core.release.catalog import CatalogEntry, find_release
from mixnet_core.release.collect import DAY_SECONDS, Collected, collect
from mixnet_core.release.deletion import delete_release
from mixnet_core.release.manifest import PublishedRelease
from mixnet_core.release.numbered import Numbered, key_of
from mixnet_core.release.promotion import bring_back, demote, no_alias, promote, published, retire
from mixnet_core.release.publish import require_registry
from mixnet_core.release.standing import Standing, standing, standings
from mixnet_core.revalidation.history import last_state, read_history
from mixnet_core.revalidation.states import Revalidation, percent
from mixnet_core.runs.markup import visible
from mixnet_core.stages.comparison import Comparison, compare
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
from mixnet_core.storage.uris import shown, shown_words

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
    listed = [(item, _last(item, history)) for item in found]
    if as_json:
        print_json({"releases": [_as_json(item, last) for item, last in listed]})
    elif not found:
        typer.echo(f"{shown(uri)} is empty: no release is published there")
    elif sys.stdout.isatty():
        Console().print(_table(uri, listed))
    else:
        for item, last in listed:
            typer.echo(_line(item, last))


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
    last = _last(item, read_history(storage.uri))
    if as_json:
        print_json({"release": _as_json(item, last)})
        return
    for title, text in _facts(item, last):
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
        print_json({"comparison": _comparison_json(found)})
    else:
        _print_comparison(found)


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
        _print_alias_history(uri, name, as_json=as_json)
    else:
        _print_aliases(uri, as_json=as_json)


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
    workspace: WorkspaceOption = None,
    registry: RegistryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read a release again, every file, and fail naming what is not what was published.

    Also looked at: the copies beside the manifest, the figures against the predictions, what
    aliases were set to, and the index.
    """
    release = _found(name, _registry(workspace, registry))
    findings = verify_release(release)
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
        print_json({"collected": _collected_json(found)})
        return
    gone = set(found.removed)
    for item in (*found.unnamed, *found.unfinished):
        state = "removed" if item.key in gone else "left" if delete else "unnamed"
        typer.echo(f"{state:<8} {_date(item.modified)} {size(item.bytes):>9} {visible(item.key)}")
    typer.echo(_collected_line(found, delete=delete))


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
        {"index": f"{uri}/index.html", "releases": [row.name for row in made.releases]},
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


def _last(item: Standing, history: list[Revalidation]) -> Revalidation | None:
    release = item.release
    return last_state(history, release.name, release.files["weights"].sha256)


def _as_json(item: Standing, last: Revalidation | None) -> dict[str, Any]:
    row = release_row(item)
    return {
        **item.release.model_dump(mode="json"),
        "date": item.date,
        "aliases": row.aliases,
        "retired": row.retired,
        "images": row.images,
        "top1": row.top1,
        "top1_interval": None if row.top1_low is None else [row.top1_low, row.top1_high],
        "revalidated": None
        if last is None
        else {"state": last.state, "time": last.time, "note": last.note},
    }


def _table(uri: str, listed: list[tuple[Standing, Revalidation | None]]) -> Table:
    table = Table(title=visible(shown(uri)))
    table.add_column("release", overflow="fold")
    table.add_column("variant")
    table.add_column("top-1", justify="right")
    table.add_column("95 % interval", justify="right")
    table.add_column("images", justify="right")
    table.add_column("published, UTC")
    table.add_column("last re-validation")
    table.add_column("aliases")
    for item, last in listed:
        row = release_row(item)
        name = Text(row.name, style="dim" if row.retired is not None else "")
        if row.retired is not None:
            name.append(f"\nretired: {visible(shown_words(row.retired))}")
        table.add_row(
            name,
            Text(visible(row.variant or "")),
            _share(row.top1),
            _interval(row),
            "" if row.images is None else f"{row.images:,}",
            item.date[:16].replace("T", " "),
            "" if last is None else f"{last.state}, {last.time[:10]}",
            Text(", ".join(row.aliases)),
        )
    return table


def _line(item: Standing, last: Revalidation | None) -> str:
    """Returns a release in one line, as it was before there was more to say, with that after it."""
    release = item.release
    claimed = release.claims.get("top-1")
    top1 = "no figures" if claimed is None else f"top-1 {100 * claimed:.2f} %"
    more = [item.date]
    more += [f"alias {name}" for name in item.aliases]
    more += [] if last is None else [f"{last.state} {last.time[:10]}"]
    more += [] if item.retired is None else [f"retired: {visible(shown_words(item.retired))}"]
    line = f"{release.name:<24} {top1:<14} {release.uri}{release.images}"
    return f"{line}; {'; '.join(more)}"


def _facts(item: Standing, last: Revalidation | None) -> list[tuple[str, str]]:
    release, row = item.release, release_row(item)
    network = [f"MixNet-{row.variant.upper()}" if row.variant else "", row.flavour or ""]
    network += [f"{row.image_size} px" if row.image_size else ""]
    network += [f"{row.classes:,} classes" if row.classes else ""]
    facts = [("release", release.name), ("at", shown(release.uri))]
    facts += [("network", visible(", ".join(text for text in network if text)))]
    if row.top1 is not None:
        interval = f" ({_interval(row)})" if row.top1_low is not None else ""
        facts.append(("top-1", f"{_share(row.top1)}{interval}{release.images}"))
    if row.top5 is not None:
        facts.append(("top-5", _share(row.top5)))
    started = release.facts.get("started_from")
    if isinstance(started, dict) and started.get("name"):
        facts.append(("started from", visible(shown_words(str(started["name"])))))
    recipe = release.facts.get("recipe")
    if isinstance(recipe, dict) and recipe.get("name"):
        facts.append(("recipe", visible(shown_words(str(recipe["name"])))))
    facts.append(("published", item.date))
    if item.aliases:
        facts.append(("aliases", ", ".join(item.aliases)))
    if item.retired is not None:
        facts.append(("retired", visible(shown_words(item.retired))))
    if last is not None:
        facts.append(("re-validated", f"{last.time}: {visible(last.line)}"))
    facts.append(("manifest", f"sha256 {release.manifest_sha256}"))
    return facts


def _comparison_json(found: Comparison) -> dict[str, Any]:
    pair = found.pair
    return {
        "before": release_row(_alone(found.before)).model_dump(mode="json", exclude=_STANDING),
        "now": release_row(_alone(found.now)).model_dump(mode="json", exclude=_STANDING),
        "common": None
        if pair is None
        else {
            "images": pair.count,
            "gained": pair.gained,
            "lost": pair.lost,
            "difference": pair.difference,
            "p": mcnemar(pair),
        },
        "note": found.unpaired,
        "recipe": {key: {"before": a, "now": b} for key, (a, b) in found.recipe.items()},
    }


def _print_comparison(found: Comparison) -> None:
    rows = [release_row(_alone(item)) for item in (found.before, found.now)]
    table = Table()
    table.add_column("")
    for row in rows:
        table.add_column(row.name, justify="right", overflow="fold")
    lines: list[tuple[str, list[str]]] = [
        ("variant", [row.variant or "" for row in rows]),
        ("flavour", [row.flavour or "" for row in rows]),
        ("image size", [str(row.image_size or "") for row in rows]),
        ("top-1", [_share(row.top1) for row in rows]),
        ("95 % interval", [_interval(row) for row in rows]),
        ("top-5", [_share(row.top5) for row in rows]),
        ("images", ["" if row.images is None else f"{row.images:,}" for row in rows]),
        ("weights", [size(row.files["weights"].bytes) for row in rows]),
    ]
    for title, cells in lines:
        table.add_row(title, *(Text(visible(cell)) for cell in cells))
    Console().print(table)
    pair = found.pair
    if pair is not None:
        typer.echo(
            f"on the same {pair.count:,} images {found.now.name} has {100 * pair.difference:+.2f} "
            f"points: {pair.gained:,} gained, {pair.lost:,} lost, McNemar's exact p = "
            f"{mcnemar(pair):.3g}"
        )
    if found.unpaired:
        typer.echo(f"{'not paired: ' if pair is None else ''}{found.unpaired}")
    for key, (before, now) in found.recipe.items():
        typer.echo(visible(f"{key}: {_worded(before)} -> {_worded(now)}"))


def _print_alias_history(uri: str, name: str, *, as_json: bool) -> None:
    storage = open_storage(uri)
    history = alias_history(storage, name)
    if not history:
        raise no_alias(storage, name)
    dates = {item.key: item.modified for item in storage.listed(f"{ALIASES}/{name}")}

    def date(item: Numbered[Alias]) -> str:
        return _date(dates.get(key_of(f"{ALIASES}/{name}", item.number), 0.0))

    if as_json:
        rows = [
            {"number": item.number, "release": item.record.release, "date": date(item)}
            for item in history
        ]
        print_json({"alias": name, "release": history[-1].record.release, "history": rows})
        return
    for item in history:
        typer.echo(f"{item.number:>4}  {date(item)}  {item.record.release or 'removed'}")


def _print_aliases(uri: str, *, as_json: bool) -> None:
    found = all_aliases(open_storage(uri))
    if as_json:
        print_json({"aliases": {item.alias: item.release for item in found}})
        return
    for item in found:
        typer.echo(f"{item.alias:<24} {item.release}")
    if not found:
        typer.echo(f"no aliases at {shown(uri)}: `mixnet release alias NAME RELEASE` sets one")


def _collected_json(found: Collected) -> dict[str, Any]:
    return {
        "unnamed": [item._asdict() for item in found.unnamed],
        "unfinished": [item._asdict() for item in found.unfinished],
        "young": [item._asdict() for item in found.young],
        "foreign": found.foreign,
        "unreadable": found.unreadable,
        "removed": found.removed,
    }


def _collected_line(found: Collected, *, delete: bool) -> str:
    items = (*found.unnamed, *found.unfinished)
    total = size(sum(item.bytes for item in items))
    said = [f"{len(items)} files that no manifest names ({total})"]
    if delete:
        said.append(f"{len(found.removed)} removed")
    elif items:
        said.append("--delete removes them")
    if found.young:
        said.append(f"{len(found.young)} younger ones stay, as somebody may be at work")
    if found.foreign:
        said.append(f"{found.foreign} other files are not releases' and stay")
    return "; ".join(said)


# What a registry says of a release, and no manifest.
_STANDING = {"date", "aliases", "retired", "card"}


def _alone(release: PublishedRelease) -> Standing:
    return Standing(release, 0.0, (), None, ())


def _share(share: float | None) -> str:
    return "" if share is None else percent(share)


def _interval(row: ReleaseRow) -> str:
    if row.top1_low is None or row.top1_high is None:
        return ""
    return f"{percent(row.top1_low)} to {percent(row.top1_high)}"


def _worded(value: Any) -> str:
    return shown_words(str(value))


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _say(as_json: bool, result: dict[str, Any], line: str) -> None:
    if as_json:
        print_json(result)
    else:
        typer.echo(line)
