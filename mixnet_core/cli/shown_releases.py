"""Releases as people and programs read them: tables, lines, JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mixnet_core.cli.outcome import print_json
from mixnet_core.evaluate.report.registry_index import (
    ReleaseRow,
    release_row,
)
from mixnet_core.evaluate.statistics import mcnemar
from mixnet_core.release.aliases import FOLDER as ALIASES
from mixnet_core.release.aliases import Alias, alias_history, all_aliases
from mixnet_core.release.collect import Collected
from mixnet_core.release.manifest import PublishedRelease
from mixnet_core.release.numbered import Numbered, key_of
from mixnet_core.release.promotion import no_alias
from mixnet_core.release.standing import Standing
from mixnet_core.revalidation.history import last_state
from mixnet_core.revalidation.states import Revalidation, percent
from mixnet_core.runs.markup import visible
from mixnet_core.stages.comparison import Comparison
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.sizes import size
from mixnet_core.storage.uris import shown, shown_words


def last_result(item: Standing, history: list[Revalidation]) -> Revalidation | None:
    release = item.release
    return last_state(history, release.name, release.files["weights"].sha256)


def release_json(item: Standing, last: Revalidation | None) -> dict[str, Any]:
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


def releases_table(uri: str, listed: list[tuple[Standing, Revalidation | None]]) -> Table:
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


def release_line(item: Standing, last: Revalidation | None) -> str:
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


def release_facts(item: Standing, last: Revalidation | None) -> list[tuple[str, str]]:
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


def comparison_json(found: Comparison) -> dict[str, Any]:
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


def print_comparison(found: Comparison) -> None:
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


def print_alias_history(uri: str, name: str, *, as_json: bool) -> None:
    storage = open_storage(uri)
    history = alias_history(storage, name)
    if not history:
        raise no_alias(storage, name)
    dates = {item.key: item.modified for item in storage.listed(f"{ALIASES}/{name}")}

    def date(item: Numbered[Alias]) -> str:
        return utc_date(dates.get(key_of(f"{ALIASES}/{name}", item.number), 0.0))

    if as_json:
        rows = [
            {"number": item.number, "release": item.record.release, "date": date(item)}
            for item in history
        ]
        print_json({"alias": name, "release": history[-1].record.release, "history": rows})
        return
    for item in history:
        typer.echo(f"{item.number:>4}  {date(item)}  {item.record.release or 'removed'}")


def print_aliases(uri: str, *, as_json: bool) -> None:
    found = all_aliases(open_storage(uri))
    if as_json:
        print_json({"aliases": {item.alias: item.release for item in found}})
        return
    for item in found:
        typer.echo(f"{item.alias:<24} {item.release}")
    if not found:
        typer.echo(f"no aliases at {shown(uri)}: `mixnet release alias NAME RELEASE` sets one")


def collected_json(found: Collected) -> dict[str, Any]:
    return {
        "unnamed": [item._asdict() for item in found.unnamed],
        "unfinished": [item._asdict() for item in found.unfinished],
        "young": [item._asdict() for item in found.young],
        "foreign": found.foreign,
        "unreadable": found.unreadable,
        "removed": found.removed,
    }


def collected_line(found: Collected, *, delete: bool) -> str:
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


def utc_date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
