"""`objects`: data in an object store on this machine, against the same images in a folder.

The store is SeaweedFS, a process of its own that shares cores and disk with what is measured. First
preparing: from the folder, from the store with nothing on this machine, with everything there, and
shards that another host prepared. Then training's input, which reads links into the folder's copy
and the mirror in place.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.images.photographs import write_photographs
from benchmarks.jobs.requests import InputJob
from benchmarks.options import Options, Section, threads
from benchmarks.rounds import (
    Case,
    markdown,
    ratios,
    run_rounds,
    say,
    significant,
    speed_rows,
    speed_table,
    spread,
)
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.data.prepared_copy import write_copy
from mixnet_core.processes.launch import run_job
from mixnet_core.processes.requests import PackedDataset, PackRequest
from mixnet_core.recipe.recipe import load_recipe, save_recipe
from mixnet_core.recipe.sections import Data
from mixnet_core.runs.values import PreparedDataset
from mixnet_core.storage.mirror.mirror import Fetched
from mixnet_core.storage.sizes import size
from mixnet_core.storage.user_cache import VARIABLE
from tests.object_store import ObjectStore, running_store

FOLDER, COLD, WARM = "the folder", "the store, nothing here", "the store, all of it here"
SHARDS = "shards in the store, nothing here"
_ROUNDS = 3


class _Prepared(NamedTuple):
    seconds: float
    fetched: int
    dataset: PreparedDataset


def measure(options: Options) -> Section:
    """Prepares in every way once a round, then runs training's input on what was prepared."""
    batch, rounds = options.global_batch or 128, options.rounds or _ROUNDS
    with tempfile.TemporaryDirectory() as temporary, _set({}):
        folder = Path(temporary)
        what = write_photographs(folder / "photographs", options.images, options.photos)
        (folder / "store").mkdir()
        with running_store(folder / "store") as store, _set(store.environment):
            uri = _copied(store, folder / "photographs")
            changes = {
                "data.source": "image_folder",
                "data.path": str(folder / "photographs"),
                "data.layout": "in_place",
                "input.image_size": options.image_size or 224,
                "devices.target": "CPU",
                "devices.ranks": 1,
                "devices.micro_batch": batch,
                "training.global_batch": batch,
            }
            recipe = load_recipe(f"mixnet_{options.variant}", changes)
            save_recipe(recipe, folder / "recipe.yaml")
            data = {
                FOLDER: recipe.data,
                COLD: recipe.data.model_copy(update={"path": uri}),
                SHARDS: _shards(folder, recipe.data, f"s3://{store.bucket}/shards"),
            }
            found: dict[str, list[_Prepared]] = {}
            for number in range(rounds):
                place = folder / f"round-{number}"
                os.environ[VARIABLE] = str(place / "cache")
                for name, section in data.items():
                    found.setdefault(name, []).append(_prepared(section, place / name))
                found.setdefault(WARM, []).append(_prepared(data[COLD], place / WARM))
                said = ", ".join(f"{some[-1].seconds:.1f} s {name}" for name, some in found.items())
                say(f"round {number + 1}/{rounds}: {said}")
            speeds = run_rounds(
                [
                    Case(
                        f"training's input, {name}",
                        f"training's input, {FOLDER}",
                        "benchmarks.jobs.input",
                        InputJob(
                            case="training",
                            recipe=str(folder / "recipe.yaml"),
                            dataset=found[name][-1].dataset.root,
                            threads=threads(),
                        ),
                    )
                    for name in (FOLDER, WARM, SHARDS)
                ],
                rounds,
            )
    table, rows = _preparing(found, options.images)
    return Section(
        title=f"{options.images:,} JPEGs ({what}) in SeaweedFS on this machine, against a folder, "
        f"{rounds} rounds",
        table=f"{table}\n\n{speed_table(speeds)}",
        rows=[*rows, *speed_rows(speeds)],
    )


def _preparing(found: dict[str, list[_Prepared]], images: int) -> tuple[str, list[dict[str, Any]]]:
    base = [some.seconds for some in found[FOLDER]]
    table, rows = [], []
    for name in (FOLDER, COLD, WARM, SHARDS):
        seconds = [some.seconds for some in found[name]]
        against = ratios(base, seconds)
        fetched = found[name][-1].fetched
        rows.append({"case": name, "seconds": seconds, "ratio": against, "fetched": fetched})
        table.append(
            [
                f"prepare, {name}",
                spread(seconds),
                significant(images / statistics.median(seconds)),
                "1" if name == FOLDER else spread(against),
                size(fetched),
            ]
        )
    header = ["case", "s, median (min - max)", "img/s", "speed against the folder", "fetched"]
    return markdown(header, table), rows


def _prepared(data: Data, datasets: Path) -> _Prepared:
    steps: list[Fetched] = []
    began = time.perf_counter()
    dataset = prepare_dataset(data, datasets, on_fetched=steps.append)
    seconds = time.perf_counter() - began
    known = [step for step in steps if step.total]
    return _Prepared(seconds, known[-1].total - known[0].done if known else 0, dataset)


def _shards(folder: Path, data: Data, uri: str) -> Data:
    """Prepares shards, writes them to the store, and names them as data."""

    def pack(request: PackRequest) -> PackedDataset:
        attempts = folder / "attempts"
        return PackedDataset.model_validate(
            run_job("mixnet_core.data.mindrecord", request, attempts=attempts)
        )

    cut = data.model_copy(update={"layout": "mindrecord"})
    write_copy(prepare_dataset(cut, folder / "shards", pack=pack), uri)
    return cut.model_copy(update={"source": "prepared", "path": uri})


def _copied(store: ObjectStore, folder: Path) -> str:
    client = store.client()

    def put(path: Path) -> None:
        key = f"images/{path.relative_to(folder).as_posix()}"
        client.put_object(Bucket=store.bucket, Key=key, Body=path.read_bytes())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, [path for path in folder.rglob("*") if path.is_file()]))
    return f"s3://{store.bucket}/images"


@contextmanager
def _set(environment: dict[str, str]) -> Iterator[None]:
    """Has this process find the store, and its cache, for as long as the block runs."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
