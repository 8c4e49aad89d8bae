"""A run's second start finds the first one's graph, and never a wrong one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.model.ranks import Ranks
from mixnet_core.processes.requests import TrainRequest
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.runs.values import PreparedDataset
from mixnet_core.train import graph_cache

CHILD = Path(__file__).parent / "graph_child.py"
# What MindSpore says when it takes a graph from the cache.
TAKEN = "Use the compilation cache"


def start(
    run: Path, keep: str = "keep", target: str = "CPU", **environment: str
) -> tuple[str, bool]:
    """What the child printed, and whether MindSpore took a graph from the cache.

    `target` is only what the cache is told: the child computes on a CPU.
    """
    done = subprocess.run(
        [sys.executable, str(CHILD), str(run), keep, target],
        env={**os.environ, "GLOG_v": "2", **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1], TAKEN in done.stdout + done.stderr


def graph_files(run: Path) -> list[Path]:
    return [path for path in (run / "graphs").rglob("*.mindir") if path.is_file()]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose first start is over."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "recipe.yaml").write_text("2")
    assert start(folder) == ("cold 2.0", False)
    return folder


def test_the_second_start_takes_the_first_ones_graph(run: Path) -> None:
    assert start(run) == ("warm 2.0", True)
    assert start(run) == ("warm 2.0", True)


def test_another_recipe_is_compiled_anew_and_its_graph_replaces_the_old(run: Path) -> None:
    (run / "recipe.yaml").write_text("3")
    assert start(run) == ("cold 3.0", False)
    assert len(graph_files(run)) == 1
    assert start(run) == ("warm 3.0", True)


def test_a_damaged_graph_is_compiled_anew(run: Path) -> None:
    (graph,) = graph_files(run)
    graph.chmod(0o600)
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    assert start(run) == ("cold 2.0", False)
    assert start(run) == ("warm 2.0", True)


def test_a_graph_whose_step_never_ended_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("2")
    assert start(tmp_path, keep="leave") == ("cold 2.0", False)
    assert graph_files(tmp_path) == []
    assert start(tmp_path) == ("cold 2.0", False)


def test_other_devices_cache_only_when_asked_to_and_a_cpu_unless_told_not_to(run: Path) -> None:
    assert start(run, MS_COMPILER_CACHE_ENABLE="0") == ("cold 2.0", False)
    assert start(run, target="Ascend") == ("cold 2.0", False)
    assert len(graph_files(run)) == 1
    assert start(run, target="Ascend", MS_COMPILER_CACHE_ENABLE="1") == ("warm 2.0", True)


def key(**settings: Any) -> str:
    changed = {name.replace("__", "."): value for name, value in settings.items()}
    request = TrainRequest(
        recipe=load_recipe("digits", changed),
        run_dir="/run",
        dataset=PreparedDataset(root="/x", fingerprint="f", classes=("a",), counts={}),
        weights=None,
        threads=1,
        operators="plain",
    )
    return graph_cache._key(request, Ranks(0, 1))


def test_only_what_goes_into_the_graph_makes_it_another_one() -> None:
    same = key()
    assert key(devices__stall_seconds=60.0, devices__grace_seconds=90.0) == same
    assert key(devices__join_seconds=60.0, devices__lost_seconds=90.0) == same
    assert key(devices__run_store="s3://bucket/runs") == same
    assert key(training__rewinds=1, acceptance__min_top1=0.1) == same
    others = [
        key(schedule__lr=0.123),
        key(devices__micro_batch=8),
        key(training__epochs=77),
        key(optimizer__momentum=0.77),
    ]
    assert len({same, *others}) == 5
