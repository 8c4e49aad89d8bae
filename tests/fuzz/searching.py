"""Rules, and the search for a case in which one does not hold.

    @rule(few=40, tree=folders.trees())
    def test_every_file_is_accounted_for(tree: Tree) -> None: ...

is a test for pytest, which tries the same `few` cases each time, and a `Rule` for `search`, which
tries others as long as it is given time.
"""

from __future__ import annotations

import importlib
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import UnsatisfiedAssumption
from hypothesis.strategies import SearchStrategy

FOLDER = Path(__file__).parent
# A case may write files or start a server: how long one takes is no fault of the case.
_PATIENT = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
_FEWEST, _MOST = 10, 2000
_LINES = 12

Holds = Callable[..., None]


@dataclass(frozen=True)
class Rule:
    """What has to hold for every case.

    Attributes:
        name: the test's, without `test_`.
        cases: parameter -> what it is drawn from.
        holds: raises where it does not.
        before: called once before the search, in the process that all cases are tried below.
    """

    name: str
    cases: dict[str, SearchStrategy[Any]]
    holds: Holds
    before: Callable[[], object] | None = None


@dataclass
class Found:
    """What came of searching.

    Attributes:
        tried: cases, those of making a failing one smaller too.
        failure: what the smallest failing case raised, and the case; empty: none failed.
        skipped: why nothing was tried.
    """

    tried: int = 0
    seconds: float = 0.0
    failure: str = ""
    skipped: str = ""


def rule(
    *,
    few: int,
    before: Callable[[], object] | None = None,
    **cases: SearchStrategy[Any],
) -> Callable[[Holds], Holds]:
    """Makes a test of a function that raises where a rule does not hold.

    Args:
        few: how many cases pytest tries; 0: none, for what takes too long there.
        before: as of `Rule`.
        cases: parameter -> what it is drawn from.
    """

    def made(holds: Holds) -> Holds:
        test = settings(
            max_examples=max(few, 1),
            derandomize=True,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=_PATIENT,
        )(given(**cases)(holds))
        if few == 0:
            test = pytest.mark.skip(reason="`make fuzz` tries it")(test)
        test.rule = Rule(holds.__name__.removeprefix("test_"), cases, holds, before)
        return test

    return made


def rules() -> list[Rule]:
    """All of this folder's, in the order of their files."""
    found = []
    for path in sorted(FOLDER.glob("test_*.py")):
        module = importlib.import_module(f"{__package__}.{path.stem}")
        found += [test.rule for test in vars(module).values() if hasattr(test, "rule")]
    return found


def search(
    rule: Rule, number: int, seconds: float, on_case: Callable[[str], object] = str
) -> Found:
    """Tries cases of a rule until the time is up or one fails, which is made small.

    Args:
        number: another one gives other cases.
        on_case: told of each before it is tried.
    """
    found = Found()
    began = time.monotonic()
    end = began + seconds
    batch = 0
    while batch == 0 or (time.monotonic() < end and not (found.failure or found.skipped)):
        _try_batch(rule, f"{number}-{batch}", _size(found, began, end), found, end, on_case)
        batch += 1
    found.seconds = time.monotonic() - began
    return found


def _size(found: Found, began: float, end: float) -> int:
    """As many cases as the time left should be enough for, at half of the pace so far."""
    now = time.monotonic()
    pace = found.tried / max(now - began, 1e-6)
    return max(_FEWEST, min(_MOST, int(pace * (end - now) / 2)))


def _try_batch(
    rule: Rule,
    key: str,
    size: int,
    found: Found,
    end: float,
    on_case: Callable[[str], object],
) -> None:
    failed = False

    def tried(**case: Any) -> None:
        nonlocal failed
        # Once one failed, all of the time that making it smaller takes is well spent.
        if not failed and time.monotonic() > end and found.tried:
            return
        found.tried += 1
        on_case(", ".join(f"{name}={value!r}" for name, value in case.items()))
        try:
            rule.holds(**case)
        except (UnsatisfiedAssumption, pytest.skip.Exception):
            raise
        except BaseException:
            failed = True
            raise

    tried.__name__ = tried.__qualname__ = f"test_{rule.name}"
    searched = settings(
        max_examples=size,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )(given(**rule.cases)(tried))
    try:
        seed(key)(searched)()
    except pytest.skip.Exception as skipped:
        found.skipped = str(skipped)
    except KeyboardInterrupt:
        raise
    except BaseException as failure:
        found.failure = _told(failure)


def _told(failure: BaseException) -> str:
    """The last lines of an error, and the case, which stands in its notes."""
    notes = "\n".join(getattr(failure, "__notes__", []))
    text = "".join(traceback.format_exception(failure, chain=False)).rstrip()
    lines = text.removesuffix(notes).rstrip().splitlines()[-_LINES:]
    return "\n".join([*lines, notes])
