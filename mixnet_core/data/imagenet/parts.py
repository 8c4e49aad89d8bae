"""Images out of an archive into folders: read once, looked into, hashed and written in threads.

An image is in memory once, as it is decoded, hashed and written; a part that is complete is moved
to its folder and recorded. Threads suffice: all of that lets other threads run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from mixnet_core.data.imagenet.archives import Archive, Member
from mixnet_core.data.imagenet.listing import Listed, Split
from mixnet_core.data.imagenet.records import LeftOut, Part, Records
from mixnet_core.data.inspection import Unusable, header, inspected
from mixnet_core.processes.cores import usable_cores
from mixnet_core.storage.files import os_errors_explained

# Images per thread that are read but not yet written: enough that none waits while headers are
# read.
_AHEAD = 4


@dataclass
class PartToUnpack:
    """Holds images that are finished together.

    Attributes:
        name: unique in its split.
        images: members of the archive with their classes.
        aside: folder that they are written to first.
        rows: those that were written.
        left_out: those that cannot be used.
    """

    split: Split
    name: str
    images: Iterable[tuple[Member, str]]
    aside: Path = field(init=False)
    rows: list[Listed] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


Settled = Callable[[Member], None]


def unpack_parts(
    parts: Iterable[PartToUnpack],
    archive: Archive,
    records: Records,
    root: Path,
    *,
    decode: bool,
    reading: Callable[[int], None],
    settled: Settled,
) -> None:
    """Unpacks the parts in their order.

    Args:
        decode: whether every image is decoded, not only its header read.
        reading: called with the offset of every image before it is read.
        settled: called for every image after it is written or left out.

    Raises:
        MachineError: something cannot be read or written.
        MixnetError: whatever `parts` raises.
    """
    threads = usable_cores()
    making: deque[tuple[PartToUnpack, Member, Future[Listed | LeftOut]] | PartToUnpack] = deque()

    def settle() -> None:
        first = making.popleft()
        if isinstance(first, PartToUnpack):
            _finish(first, records, root)
            return
        part, member, future = first
        result = future.result()
        if isinstance(result, LeftOut):
            part.left_out.append(result)
        else:
            part.rows.append(result)
        settled(member)

    with _quiet_pillow(), _pool(threads) as pool:
        for part in parts:
            part.aside = records.aside(f"{part.split}-{part.name}")
            with os_errors_explained(root):
                part.aside.mkdir()
            for member, wnid in part.images:
                reading(member.offset)
                path = f"{part.split}/{wnid}/{member.name}"
                target = part.aside / member.name
                work = pool.submit(_keep, archive, member, target, root, path, wnid, decode)
                making.append((part, member, work))
                while len(making) > _AHEAD * threads:
                    settle()
            making.append(part)
        while making:
            settle()


def _keep(
    archive: Archive, member: Member, target: Path, root: Path, path: str, wnid: str, decode: bool
) -> Listed | LeftOut:
    content = archive.content(member)
    try:
        found = inspected(content) if decode else header(content)
    except Unusable as error:
        return LeftOut(path, str(error))
    with os_errors_explained(root):
        _write(target, content)
    return Listed(path, wnid, len(content), hashlib.sha256(content).hexdigest(), *found[:3])


def _write(target: Path, content: bytes) -> None:
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        rest = memoryview(content)
        while rest:
            # A disk that is nearly full takes a part.
            rest = rest[os.write(handle, rest) :]
        # Starts writing it to the disk now, while other images are hashed, and not all at the end;
        # and leaves the memory to the archive's pages, which are read twice.
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


def _finish(part: PartToUnpack, records: Records, root: Path) -> None:
    part.rows.sort()
    with os_errors_explained(root):
        if part.split == "train":
            target = root / "train" / part.name
            target.parent.mkdir(exist_ok=True)
            if target.exists():
                # A killed process left it before it was recorded, or it was damaged since.
                shutil.rmtree(target)
            if part.rows:
                part.aside.rename(target)
            else:
                part.aside.rmdir()
        else:
            for row in part.rows:
                target = root / row.path
                target.parent.mkdir(parents=True, exist_ok=True)
                (part.aside / target.name).replace(target)
            part.aside.rmdir()
    records.write(part.split, part.name, Part(part.rows, part.left_out))


@contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Yields a pool that, after an error or Ctrl-C, does not start what is waiting."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="images")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Silences Pillow, which warns of every corrupt EXIF block, in the whole process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
        yield
