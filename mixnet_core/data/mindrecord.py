"""A prepared dataset's images in MindRecord shards: a few large files instead of a million.

A record is {"data": the image file's bytes, "label": int32, "position": int64 in the split's
index}; records are in index order. Beside each shard MindSpore keeps an index of it,
`*.mindrecord.db`.

Run as a stage it writes the shards of a dataset whose indexes are there, and reads them back.
"""

from __future__ import annotations

import hashlib
import json
import resource
from collections.abc import Generator, Sequence
from functools import partial
from multiprocessing import cpu_count
from pathlib import Path
from typing import Any

import mindspore.dataset as ds
import numpy as np
from mindspore.mindrecord import FileWriter
from numpy.typing import NDArray

from mixnet_core.data.index import SPLITS, Index, Row, read_rows
from mixnet_core.data.shards import shard_name, shard_ranges
from mixnet_core.errors import IntegrityError, MachineError
from mixnet_core.processes.child import (
    beat,
    long_stretch,
    main,
    slow_at_first,
    still_working,
)
from mixnet_core.processes.requests import PackedDataset, PackRequest, Shard
from mixnet_core.storage.files import os_errors_explained, sha256_of, write_text

_SCHEMA = {
    "data": {"type": "bytes"},
    "label": {"type": "int32"},
    "position": {"type": "int64"},
}
# Records handed to MindSpore at a time: some ten megabytes.
_RECORDS = 100
# They wait for the disk, which may be a network's; MindSpore refuses more than there are cores.
_MOST_THREADS = 4
# Other files that this process opens: logs, libraries, and what is opened later.
_OTHER_FILES = 128
_REMEDY = "run `mixnet prepare` again to have them made anew"


def pack(request: PackRequest) -> PackedDataset:
    """Writes the shards of every split into `request.folder`.

    Raises:
        IntegrityError: what was read back is not what was written, or an image changed meanwhile.
        MachineError: an image cannot be read, the disk is full or cannot be written.
    """
    shards: dict[str, tuple[Shard, ...]] = {}
    folder, root = Path(request.folder), Path(request.images)
    rows_of = {split: read_rows(folder, split) for split in SPLITS}
    told = _Told(request.progress, 2 * sum(len(rows) for rows in rows_of.values()))
    # Twice: nothing is compiled, so what comes next is no first step.
    beat()
    beat()
    for split, rows in rows_of.items():
        ranges = shard_ranges([row.bytes for row in rows], request.shard_bytes)
        names = [shard_name(split, number) for number in range(len(ranges))]
        for name, positions in zip(names, ranges, strict=True):
            _write(folder / name, root, rows, positions, told)
        _read_back(split, [folder / name for name in names], rows, told)
        files = [file for name in names for file in (name, f"{name}.db")]
        shards[split] = tuple(
            Shard(
                file=file,
                bytes=(folder / file).stat().st_size,
                sha256=sha256_of(folder / file),
            )
            for file in files
        )
    return PackedDataset(shards=shards)


def record_contents(
    index: Index, order: NDArray[np.integer[Any]]
) -> Generator[partial[bytes], None, None]:
    """Yields what `reading.contents` does; MindSpore's threads read the bytes, a few ahead.

    Raises:
        IntegrityError: the shards do not hold what the index says.
        MachineError: the process may not open as many files as there are shards.
    """
    folder = index.shards[0].parent
    threads = _threads(len(index.shards))
    try:
        records = ds.MindDataset(
            [str(shard) for shard in index.shards],
            columns_list=["data", "position"],
            sampler=ds.SubsetSampler(order.tolist()),
            num_parallel_workers=threads,
        )
        found = records.create_tuple_iterator(num_epochs=1, output_numpy=True)
        for expected in order.tolist():
            data, position = next(found)
            content = data.tobytes()
            size = len(content) if index.sizes is None else int(index.sizes[expected])
            if int(position) != expected or len(content) != size:
                raise IntegrityError(
                    f"the shards in {folder} hold another image at place {expected} than "
                    f"{index.paths[expected]}, which the index says: {_REMEDY}"
                )
            yield partial(_given, content)
    except StopIteration:
        raise IntegrityError(
            f"the shards in {folder} hold fewer images than the index's {len(index.paths)}: "
            f"{_REMEDY}"
        ) from None
    except (RuntimeError, ValueError) as error:
        raise IntegrityError(
            f"cannot read the shards in {folder} ({_reason(error)}): {_REMEDY}"
        ) from error


def _threads(shards: int) -> int:
    """Returns how many threads may read, and allows the process the files that these open.

    Each thread opens every shard.

    Raises:
        MachineError: the process may not open enough of them for even one.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        most = _files(shards, _MOST_THREADS)
    threads = min(_MOST_THREADS, cpu_count())
    while threads > 1 and _files(shards, threads) > most:
        threads -= 1
    needed = _files(shards, threads)
    if needed > most:
        raise MachineError(
            f"{shards} shards need {needed} open files, this process may open {most}: raise the "
            "limit (`ulimit -Hn`)"
        )
    now, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if now != resource.RLIM_INFINITY and now < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return threads


def _files(shards: int, threads: int) -> int:
    # One more per shard is for its own index.
    return shards * (threads + 1) + _OTHER_FILES


def _given(content: bytes) -> bytes:
    return content


class _Told:
    """Tells the caller's watchdog and its progress how far packing is."""

    def __init__(self, file: str | None, total: int) -> None:
        self._file, self._done, self._total = file, 0, total
        if file is not None:
            write_text(Path(file), "")

    def add(self, count: int) -> None:
        """Counts images that were written or read back."""
        self._done += count
        beat()
        if self._file is not None:
            row = json.dumps({"done": self._done, "total": self._total})
            with os_errors_explained(self._file), Path(self._file).open("a") as file:
                file.write(f"{row}\n")


def _write(path: Path, root: Path, rows: Sequence[Row], positions: range, told: _Told) -> None:
    try:
        with long_stretch():
            writer = FileWriter(str(path), shard_num=1)
            writer.add_schema(_SCHEMA, "images")
        for first in range(positions.start, positions.stop, _RECORDS):
            some = range(first, min(first + _RECORDS, positions.stop))
            writer.write_raw_data([_record(root, rows[i], i) for i in some])
            told.add(len(some))
        with long_stretch():
            writer.commit()
    except RuntimeError as error:
        raise MachineError(
            f"cannot write {path} ({_reason(error)}): free space or choose another workspace"
        ) from error


def _record(root: Path, row: Row, position: int) -> dict[str, bytes | int]:
    with os_errors_explained(root / row.path, "read"):
        content = (root / row.path).read_bytes()
    still_working()
    return {"data": content, "label": row.label, "position": position}


def _read_back(split: str, shards: list[Path], rows: Sequence[Row], told: _Told) -> None:
    try:
        with long_stretch():
            records = ds.MindDataset([str(shard) for shard in shards], shuffle=False)
            opened = records.create_dict_iterator(num_epochs=1, output_numpy=True)
        columns = slow_at_first(opened)
        for position, row in enumerate(rows):
            record = next(columns, None)
            still_working()
            if (
                record is None
                or int(record["position"]) != position
                or int(record["label"]) != row.label
                or hashlib.sha256(record["data"].tobytes()).hexdigest() != row.sha256
            ):
                raise IntegrityError(
                    f"{row.path} of split {split} is not in its shard as it was checked: it was "
                    "changed meanwhile, or the disk lost it; run `mixnet prepare` again"
                )
            if (position + 1) % _RECORDS == 0:
                told.add(_RECORDS)
        told.add(len(rows) % _RECORDS)
        if next(columns, None) is not None:
            raise IntegrityError(f"the shards of split {split} hold more than {len(rows)} images")
    except RuntimeError as error:
        raise IntegrityError(
            f"the shards of split {split} cannot be read back ({_reason(error)}): check the disk, "
            "then run `mixnet prepare` again"
        ) from error


def _reason(error: Exception) -> str:
    """Returns the line that says something, out of headings, rules and a call stack."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # "[ERROR] ..." or "[Internal ERROR] ...", where it comes from the reading threads.
    marked = [line.rpartition("ERROR] ")[2] for line in lines if "ERROR] " in line]
    return next(iter([*marked, *lines]), type(error).__name__).rstrip(".!")


if __name__ == "__main__":
    raise SystemExit(main(pack, PackRequest))
