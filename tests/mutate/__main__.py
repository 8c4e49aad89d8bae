"""`python -m tests.mutate`: whether each module's own tests notice small changes of it.

Prints a table of modules and every change that was not noticed; ends with 1 if a module is below
95 %, and with 2 if that cannot be said.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mutate.copied_tree import CopiedTree, MutateError
from tests.mutate.mutants import Mutant, mutants_of, sample

LEAST_SHARE = 0.95
CHECKOUT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Outcome:
    """What became of a module's mutants."""

    module: str
    sampled: int
    unnoticed: tuple[Mutant, ...]

    @property
    def noticed(self) -> int:
        return self.sampled - len(self.unnoticed)

    @property
    def share(self) -> float:
        return self.noticed / self.sampled if self.sampled else 1.0


@dataclass(frozen=True)
class Plan:
    """What `modules.toml` and `equivalent.toml` say.

    Attributes:
        tests: module -> files of tests, or single ones of them, as pytest takes them.
        equivalent: `Mutant.key` -> why no test can notice it.
    """

    package: str
    copied: tuple[str, ...]
    preloaded: tuple[str, ...]
    tests: dict[str, list[str]]
    equivalent: dict[tuple[str, str, str, str], str]

    def path(self, module: str) -> Path:
        return Path(self.package) / f"{module}.py"


def read_plan(folder: Path) -> Plan:
    """Raises MutateError for an equivalent without a reason."""
    modules = _toml(folder / "modules.toml")
    equivalent = {}
    for row in _toml(folder / "equivalent.toml").get("equivalent", []):
        if not row.get("reason"):
            raise MutateError(f"{folder / 'equivalent.toml'}: no reason for {row}")
        equivalent[row["module"], row["line"], row["before"], row["after"]] = row["reason"]
    return Plan(
        modules["package"],
        tuple(modules["copied"]),
        tuple(modules["preloaded"]),
        modules["tests"],
        equivalent,
    )


def _toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def sampled(plan: Plan, root: Path, module: str, per_module: int, seed: int) -> list[Mutant]:
    """Returns the mutants of a module to try, without those that are listed as equivalent.

    Raises:
        MutateError: one is listed that the module does not have any more.
    """
    source = (root / plan.path(module)).read_text(encoding="utf-8")
    every = mutants_of(module, source)
    listed = {key for key in plan.equivalent if key[0] == module}
    for _, line, before, after in listed - {mutant.key for mutant in every}:
        raise MutateError(
            f"equivalent.toml lists `{before}` -> `{after}` in the line `{line}` of {module}, "
            "which is not there any more: take it out, or correct its line"
        )
    return sample((mutant for mutant in every if mutant.key not in listed), per_module, seed)


def tried(plan: Plan, tree: CopiedTree, module: str, mutants: Sequence[Mutant]) -> Outcome:
    """Runs a module's tests with each mutant, and as they are before and after.

    Raises:
        MutateError: they fail as they are; then a failure with a mutant says nothing.
    """
    path, tests = plan.path(module), plan.tests[module]
    tree.time_tests(path, tests)
    unnoticed = tuple(m for m in mutants if not tree.notices(path, tests, m.source))
    tree.time_tests(path, tests)
    return Outcome(module, len(mutants), unnoticed)


def printed(plan: Plan, outcomes: Sequence[Outcome]) -> str:
    """Returns the table in Markdown, then a line for each change that was not noticed."""
    lines = ["| module | sampled | noticed | share |", "|---|---|---|---|"]
    lines += [
        f"| {o.module} | {o.sampled} | {o.noticed} | {100 * o.share:.1f} % |" for o in outcomes
    ]
    unnoticed = [
        f"- {plan.path(mutant.module)}:{mutant.number}: `{mutant.before}` -> `{mutant.after}`"
        for outcome in outcomes
        for mutant in outcome.unnoticed
    ]
    return "\n".join([*lines, *(["", "Not noticed:", "", *unnoticed] if unnoticed else [])]) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutate", description=__doc__)
    parser.add_argument("--modules", nargs="+", metavar="MODULE", help="of modules.toml; all")
    parser.add_argument("--per-module", type=int, default=30, help="mutants; 30, or all there are")
    parser.add_argument("--seed", type=int, default=0, help="another one takes other mutants; 0")
    parser.add_argument("--seconds", type=float, default=30.0, help="a mutant has at least; 30")
    parser.add_argument("--root", type=Path, default=CHECKOUT, help="of the tree; this checkout")
    given = parser.parse_args(argv)
    root = given.root.resolve()
    try:
        plan = read_plan(root / "tests" / "mutate")
        modules = given.modules or list(plan.tests)
        if unknown := sorted(set(modules) - set(plan.tests)):
            parser.error(f"{', '.join(unknown)} not among {', '.join(plan.tests)}")
        work = {m: sampled(plan, root, m, given.per_module, given.seed) for m in modules}
        for name in plan.preloaded:
            importlib.import_module(name)
        outcomes = []
        for module, mutants in work.items():
            with tempfile.TemporaryDirectory(
                prefix="mutate-", ignore_cleanup_errors=True
            ) as temporary:
                tree = CopiedTree(root, plan.copied, Path(temporary), given.seconds)
                outcomes.append(tried(plan, tree, module, mutants))
            done = outcomes[-1]
            sys.stderr.write(f"{module}: {done.noticed} of {done.sampled} noticed\n")
    except MutateError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(printed(plan, outcomes))
    return 0 if all(outcome.share >= LEAST_SHARE for outcome in outcomes) else 1


if __name__ == "__main__":
    raise SystemExit(main())
