"""`python -m tests.fuzz --seconds 600`: looks for cases in which a rule does not hold.

Goes round all rules, with other cases each round, and prints a line a rule: cases tried, failures,
seconds. A failing case is made small and printed as it can be pasted into a test. Ends with 1 if a
rule does not hold.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mixnet_core.storage.user_cache import VARIABLE
from tests.fuzz.apart import searched_apart
from tests.fuzz.searching import Found, Rule, rules

# In which even a rule that needs a server gets somewhere.
_SLICE_SECONDS = 6.0
_MOST_TRIPS = 1000


def round_trips(chosen: Sequence[Rule], seconds: float, number: int) -> dict[str, Found]:
    """Searches each rule in slices of the time; one that failed is not tried again."""
    end = time.monotonic() + seconds
    totals = {rule.name: Found() for rule in chosen}
    for trip in range(_MOST_TRIPS):
        waiting = [rule for rule in chosen if not _is_done(totals[rule.name])]
        left = end - time.monotonic()
        if not waiting or (trip and left <= 0):
            break
        trips_left = max(1, round(left / (_SLICE_SECONDS * len(waiting))))
        for place, rule in enumerate(waiting):
            share = (end - time.monotonic()) / (trips_left * len(waiting) - place)
            if trip and share <= 0:
                break
            found = searched_apart(rule, number * _MOST_TRIPS + trip, max(share, 0.01))
            _add(totals[rule.name], found)
            if found.failure:
                _say(_failure(rule, found, number))
    return totals


def _is_done(found: Found) -> bool:
    return bool(found.failure or found.skipped)


def _add(total: Found, found: Found) -> None:
    total.tried += found.tried
    total.seconds += found.seconds
    total.failure = found.failure
    total.skipped = found.skipped


def _failure(rule: Rule, found: Found, number: int) -> str:
    again = f"python -m tests.fuzz --only {rule.name} --seed {number}"
    return f"--- {rule.name} does not hold; again: {again}\n{found.failure}\n---"


def _line(rule: Rule, found: Found) -> str:
    more = f", skipped: {found.skipped}" if found.skipped else ""
    failures = "1 failure" if found.failure else "0 failures"
    return f"{found.tried:>9,} cases, {failures}, {found.seconds:6.1f} s  {rule.name}{more}"


def _say(line: str) -> None:
    # A case may hold what is no text.
    sys.stdout.write(line.encode("utf-8", "backslashreplace").decode() + "\n")
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="in all; 60")
    parser.add_argument("--only", default="", metavar="NAME", help="rules with this in their name")
    parser.add_argument("--seed", type=int, help="another one tries other cases; a random one")
    given = parser.parse_args(argv)
    chosen = [rule for rule in rules() if given.only in rule.name]
    if not chosen:
        parser.error(f"no rule has {given.only!r} in its name")
    number = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    _say(f"seed {number}")
    with tempfile.TemporaryDirectory(prefix="mixnet-fuzz-cache-") as cache:
        os.environ[VARIABLE] = str(Path(cache))
        totals = round_trips(chosen, given.seconds, number)
    for rule in chosen:
        _say(_line(rule, totals[rule.name]))
    cases = sum(found.tried for found in totals.values())
    failures = sum(bool(found.failure) for found in totals.values())
    _say(f"{cases:,} cases, {failures} failure{'' if failures == 1 else 's'}")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
