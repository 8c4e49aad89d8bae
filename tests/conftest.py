from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from mixnet_core.storage.user_cache import VARIABLE
from tests.eager import eager  # noqa: F401
from tests.mindcv_cells import trained_by_mindcv  # noqa: F401
from tests.object_store import object_store, s3_environment  # noqa: F401
from tests.registries import to  # noqa: F401
from tests.slow_job import slow_job  # noqa: F401
from tests.tiny import finished_job  # noqa: F401
from tests.train.network import hosts  # noqa: F401
from tests.web_server import plain_network, server  # noqa: F401

# Tests that share something which takes long to make: one of pytest's workers has all of them.
TOGETHER = {
    "flows": ("tests/flows/",),
    "job": (
        "tests/stages/",
        "tests/cli/test_app.py",
        "tests/revalidation/test_weights_file.py",
        "tests/test_face.py",
        "tests/test_old_versions.py",
    ),
}
# What takes minutes goes first: begun last, one worker would do it while the others idle.
LONGEST = (
    "tests/flows/",
    "tests/stages/",
    "tests/cli/test_app.py",
    "tests/revalidation/test_weights_file.py",
    "tests/test_face.py",
    "tests/test_old_versions.py",
    "tests/train/test_step.py",
    "tests/test_wheel.py",
    "tests/evaluate/test_job.py",
    "tests/processes/test_launch.py",
    "tests/model/test_native_layers.py",
    "tests/model/native/",
    "tests/evaluate/",
    "tests/benchmarks/",
    "tests/train/",
)


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Of pytest-xdist: the tests of a file stay together, for their shared fixtures."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((name for name, some in TOGETHER.items() if file.startswith(some)), file)


def pytest_configure(config: pytest.Config) -> None:
    # pytest-xdist's own order is by how many tests a file has.
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        found = (i for i, start in enumerate(LONGEST) if item.nodeid.startswith(start))
        return next(found, len(LONGEST))

    items.sort(key=place)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return Scheduling(config, log)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither use nor leave anything in the user's cache."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ[VARIABLE]
    else:
        os.environ[VARIABLE] = before


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """Whatever a test starts can be interrupted.

    A shell without job control starts what it puts into the background with SIGINT ignored, and
    every process below inherits that: a test that sends Ctrl-C would wait for nothing.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
