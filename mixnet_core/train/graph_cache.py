"""MindSpore's compile cache for one run: its second start need not compile the graph again.

    graphs/rank-N/KEY/          what MindSpore wrote while compiling
        files.json              its files and their digests, written last

MindSpore's own check looks at scripts only: given a graph of another batch size, of other operators
or of another learning rate it computes with that one. So KEY covers whatever goes into the graph,
the graph is kept once a step of it has run, and a damaged one is not offered to MindSpore.

On a CPU unless MS_COMPILER_CACHE_ENABLE is 0; elsewhere only if it is 1, because there nobody has
compared yet what comes out of the cache.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

from mixnet_core.errors import MixnetError
from mixnet_core.model.ranks import Ranks
from mixnet_core.processes.requests import TrainRequest
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.storage.files import (
    ASIDE_PREFIX,
    fingerprint,
    os_errors_explained,
    read_json,
    sha256_of,
    write_json,
)

_FILES = "files.json"
# How MindSpore is told; it reads them when a graph is compiled.
_SWITCH, _PATH = "MS_COMPILER_CACHE_ENABLE", "MS_COMPILER_CACHE_PATH"
# Of a recipe: names, patience, and what is done with a training's checkpoints. All else counts.
_NOT_IN_THE_GRAPH: dict[str, Any] = {
    "name": True,
    "description": True,
    "training": {"on_divergence", "rewinds", "keep_checkpoints"},
    "devices": {
        "stall_seconds",
        "compile_seconds",
        "grace_seconds",
        # How many ranks there are, and which this is, counts; not on how many hosts they are.
        "hosts",
        "min_hosts",
        "ranks",
        "join_seconds",
        "lost_seconds",
        "run_store",
        "restarts",
        "full_disk_seconds",
    },
    "selection": True,
    "acceptance": True,
    "export": True,
    "card": True,
}


class GraphCache:
    """Has MindSpore compile from and into this rank's cache, as long as it is entered.

    Args:
        run: whose `graphs` folder holds the cache.
        request: what the graph is compiled for.
        ranks: which rank this is, of how many.
        target: the device; see the module's header.

    Attributes:
        warm: whether an earlier start's graph is found and used.
    """

    def __init__(self, run: RunDir, request: TrainRequest, ranks: Ranks, target: str) -> None:
        self._enabled = os.environ.get(_SWITCH, "1" if target == "CPU" else "0") == "1"
        self._folder = run.graphs / f"rank-{ranks.rank}" / _key(request, ranks)
        self.warm = self._enabled and _intact(self._folder)
        self._aside: Path | None = None
        self._before: dict[str, str | None] = {}

    def __enter__(self) -> GraphCache:
        if not self._enabled:
            return self
        with os_errors_explained(self._folder):
            if not self.warm:
                # Graphs of other settings, and what a killed start left.
                shutil.rmtree(self._folder.parent, ignore_errors=True)
                self._folder.parent.mkdir(parents=True)
                self._aside = Path(tempfile.mkdtemp(prefix=ASIDE_PREFIX, dir=self._folder.parent))
        self._before = {name: os.environ.get(name) for name in (_SWITCH, _PATH)}
        os.environ |= {_SWITCH: "1", _PATH: str(self._aside or self._folder)}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if self._aside is not None:
            shutil.rmtree(self._aside, ignore_errors=True)

    def keep(self) -> None:
        """Keeps the graph for the next start; to be called after a step of it has run.

        What is compiled later, as for scoring, does not go into the cache: it would look damaged.

        Raises:
            MachineError: the disk is full or not writable.
        """
        if self._enabled:
            os.environ[_SWITCH] = "0"
        if self._aside is None:
            return
        aside, self._aside = self._aside, None
        write_json(aside / _FILES, _digests(aside))
        with os_errors_explained(self._folder):
            aside.rename(self._folder)


def _key(request: TrainRequest, ranks: Ranks) -> str:
    package = Path(__file__).parents[1]
    sources = sorted(path for path in package.rglob("*") if path.suffix in (".py", ".cpp", ".h"))
    return fingerprint(
        {
            "recipe": request.recipe.model_dump(mode="json", exclude=_NOT_IN_THE_GRAPH),
            "dataset": request.dataset.fingerprint,
            "classes": len(request.dataset.classes),
            "operators": request.operators,
            "rank": [ranks.rank, ranks.count],
            "sources": {str(path.relative_to(package)): sha256_of(path) for path in sources},
            "packages": {name: metadata.version(name) for name in ("mindspore", "numpy")},
            "python": platform.python_version(),
            "machine": platform.machine(),
        }
    )[:16]


def _intact(folder: Path) -> bool:
    try:
        return bool(read_json(folder / _FILES) == _digests(folder))
    except (MixnetError, OSError):
        return False


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != _FILES
    }
