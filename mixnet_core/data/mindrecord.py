"""A prepared dataset's images in MindRecord shards: a few large files instead of a million.

A record is {"data": the image file's bytes, "label": int32, "position": int64 in the split's
index}; records are in index order. Beside each shard MindSpore keeps an index of it,
`*.mindrecord.db`.

Run as a stage it writes the shards of a dataset whose indexes are there, and reads them back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from functools import partial
from pathlib import Path

import mindspore.dataset as ds
import numpy as np
from mindspore.mindrecord import FileWriter
from numpy.typing import NDArray

from mixnet_core.child import beat, main
from mixnet_core.data.index import SPLITS, Index, Row, read_rows
from mixnet_core.data.shards import shard_name, shard_ranges
from mixnet_core.errors import IntegrityError
from mixnet_core.files import sha256_of
from mixnet_core.values import PackedDataset, PackRequest, Shard

_SCHEMA = {
    "data": {"type": "bytes"},
    "label": {"type": "int32"},
    "position": {"type": "int64"},
}
# Records handed to MindSpore at a time: some ten megabytes.
_RECORDS = 100
_THREADS = 2


def pack(request: PackRequest) -> PackedDataset:
    """Writes the shards of every split into `request.folder`.

    Raises:
        IntegrityError: what was read back is not what was written, or an image changed meanwhile.
    """
    shards: dict[str, tuple[Shard, ...]] = {}
    folder, root = Path(request.folder), Path(request.images)
    for split in SPLITS:
        rows = read_rows(folder, split)
        ranges = shard_ranges([row.bytes for row in rows], request.shard_bytes)
        names = [shard_name(split, number) for number in range(len(ranges))]
        for name, positions in zip(names, ranges, strict=True):
            _write(folder / name, root, rows, positions)
        _read_back([folder / name for name in names], rows)
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
    index: Index, order: NDArray[np.int64]
) -> Generator[partial[bytes], None, None]:
    """As `reading.contents`; the bytes are read by MindSpore's threads, a few ahead.

    Raises:
        IntegrityError: the shards do not hold what the index says.
    """
    records = ds.MindDataset(
        [str(shard) for shard in index.shards],
        columns_list=["data", "position"],
        sampler=ds.SubsetSampler(order.tolist()),
        num_parallel_workers=_THREADS,
    )
    try:
        found = records.create_tuple_iterator(num_epochs=1, output_numpy=True)
        for expected, (data, position) in zip(order.tolist(), found, strict=True):
            content = data.tobytes()
            size = len(content) if index.sizes is None else int(index.sizes[expected])
            if int(position) != expected or len(content) != size:
                raise IntegrityError(_other(index.shards[0].parent, expected))
            yield partial(_given, content)
    except (RuntimeError, ValueError) as error:
        raise IntegrityError(
            f"cannot read the shards in {index.shards[0].parent} ({_first_line(error)}): run "
            "`mixnet prepare` again to have them made anew"
        ) from error


def _given(content: bytes) -> bytes:
    return content


def _write(path: Path, root: Path, rows: list[Row], positions: range) -> None:
    writer = FileWriter(str(path), shard_num=1)
    writer.add_schema(_SCHEMA, "images")
    for first in range(positions.start, positions.stop, _RECORDS):
        writer.write_raw_data(
            [
                {
                    "data": (root / rows[position].path).read_bytes(),
                    "label": rows[position].label,
                    "position": position,
                }
                for position in range(first, min(first + _RECORDS, positions.stop))
            ]
        )
        beat()
    writer.commit()


def _read_back(shards: list[Path], rows: list[Row]) -> None:
    records = ds.MindDataset([str(shard) for shard in shards], shuffle=False)
    columns = records.create_dict_iterator(num_epochs=1, output_numpy=True)
    for position, row in enumerate(rows):
        record = next(columns, None)
        if (
            record is None
            or int(record["position"]) != position
            or int(record["label"]) != row.label
            or hashlib.sha256(record["data"].tobytes()).hexdigest() != row.sha256
        ):
            raise IntegrityError(_other(shards[0].parent, position))
        if position % _RECORDS == 0:
            beat()
    if next(columns, None) is not None:
        raise IntegrityError(_other(shards[0].parent, len(rows)))


def _other(folder: Path, position: int) -> str:
    return (
        f"the shards in {folder} hold another image at place {position} than the index says: run "
        "`mixnet prepare` again to have them made anew"
    )


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason")


if __name__ == "__main__":
    raise SystemExit(main(pack, PackRequest))
