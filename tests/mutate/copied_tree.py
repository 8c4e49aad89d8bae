"""A copy of the tree whose modules are changed one by one, and its tests run in forks.

The process that forks has loaded what the tests need from elsewhere, and nothing of the tree: every
fork imports the copy anew, changed module and all. The checkout is only ever read.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_SLOWEST_FACTOR = 5
_NEVER_IMPORTED = 97
_OUTPUT_LINES = 30


class MutateError(Exception):
    """What keeps mutants from being judged, in a line or more."""


class CopiedTree:
    """A copy of some files and folders of a tree, and runs of its tests.

    Attributes:
        root: of the copy.
    """

    def __init__(
        self, checkout: Path, copied: Sequence[str], temporary: Path, least_seconds: float
    ) -> None:
        """Copies without what Python compiled: that would be of other sources.

        Args:
            temporary: an empty folder that everything goes into.
            least_seconds: that a mutant has, however quick the tests are.
        """
        self.root = temporary / "tree"
        self._least_seconds = least_seconds
        self._checkout, self._temporary = checkout, temporary
        self._seconds: dict[str, float] = {}
        for name in copied:
            source, target = checkout / name, self.root / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)

    def time_tests(self, path: Path, tests: Sequence[str]) -> None:
        """Runs a module's tests as they are, which sets the order and the limit of later runs.

        Args:
            path: of the module, relative to the root.

        Raises:
            MutateError: they fail, or never import the module from the copy.
        """
        self._seconds = {}
        code = self._run(path, tests, seconds=None, compiled=True)
        # The rest stays compiled for all mutants; of this one the source changes.
        for file in (self.root / path.parent / "__pycache__").glob(f"{path.stem}.*"):
            file.unlink()
        if code == _NEVER_IMPORTED:
            raise MutateError(f"{', '.join(tests)} never imports {path} of the copied tree")
        if code:
            lines = self._output.read_text(errors="replace").splitlines()[-_OUTPUT_LINES:]
            raise MutateError("\n".join([f"{', '.join(tests)} fail as they are:", *lines]))
        self._seconds = json.loads(self._durations.read_text())

    def notices(self, path: Path, tests: Sequence[str], source: str) -> bool:
        """Says whether a module's tests fail, or hang, with another source."""
        limit = max(self._least_seconds, _SLOWEST_FACTOR * sum(self._seconds.values()))
        with self._changed(self.root / path, source):
            return self._run(path, tests, seconds=limit) != 0

    @property
    def _output(self) -> Path:
        return self._temporary / "output.txt"

    @property
    def _durations(self) -> Path:
        return self._temporary / "durations.json"

    @contextmanager
    def _changed(self, path: Path, source: str) -> Iterator[None]:
        before = path.read_bytes()
        path.write_text(source, encoding="utf-8")
        try:
            yield
        finally:
            path.write_bytes(before)

    def _run(
        self, path: Path, tests: Sequence[str], *, seconds: float | None, compiled: bool = False
    ) -> int:
        """Returns 0 if every test passes; whatever the tests have started is ended with them.

        Args:
            seconds: after which it counts as failed.
            compiled: whether to keep what Python compiles.
        """
        child = multiprocessing.get_context("fork").Process(
            target=self._child, args=(path, tests, compiled)
        )
        child.start()
        assert child.pid is not None
        try:
            child.join(seconds)
        finally:
            # Also where the person at the keyboard ends it all: the child is a session of its own.
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.kill()
            child.join()
        assert child.exitcode is not None
        return child.exitcode

    def _child(self, path: Path, tests: Sequence[str], compiled: bool) -> None:
        os.setsid()
        sys.dont_write_bytecode = not compiled
        os.environ["PYTHONDONTWRITEBYTECODE"] = "" if compiled else "1"
        with self._output.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        code = 1
        try:
            code = self._tested(path, tests)
        finally:
            # Not sys.exit: a thread that a broken module left would be waited for.
            os._exit(code)

    def _tested(self, path: Path, tests: Sequence[str]) -> int:
        os.chdir(self.root)
        _forget(self.root, self._checkout)
        timing = _Timing(self._seconds)
        options = ["-x", "-q", "-p", "no:cacheprovider", f"--basetemp={self._temporary / 'tmp'}"]
        code = int(pytest.main([*options, *tests], plugins=[timing]))
        self._durations.write_text(json.dumps(timing.seconds))
        module = sys.modules.get(".".join(path.with_suffix("").parts))
        if module is None or Path(module.__file__ or "") != self.root / path:
            return code or _NEVER_IMPORTED
        return code


class _Timing:
    """A pytest plugin: the quick tests first, since one that fails is enough.

    Attributes:
        seconds: test's id -> how long it took.
    """

    def __init__(self, earlier: dict[str, float]) -> None:
        self.seconds: dict[str, float] = {}
        self._earlier = earlier

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: self._earlier.get(item.nodeid, 0.0))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration


def _forget(root: Path, checkout: Path) -> None:
    """Lets this process and its children find the copy instead of the checkout."""
    names = {path.name for path in root.iterdir() if path.is_dir()}
    for name in [name for name in sys.modules if name.partition(".")[0] in names]:
        del sys.modules[name]
    elsewhere = [entry for entry in sys.path if Path(entry).resolve() != checkout.resolve()]
    sys.path[:] = [str(root), *elsewhere]
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        del os.environ[name]
    os.environ["PYTHONPATH"] = str(root)
