"""What a check found, as a value."""

from __future__ import annotations

from typing import Literal

from mixnet_core.errors import MachineError, MixnetError
from mixnet_core.runs.values import Value


class CheckResult(Value):
    """One check's outcome.

    Attributes:
        name: workspace, disk, packages, extras, device, operators, engine, msrun, weights, data,
            replaces (where a recipe demands it), virtual ranks (where it has some) or publish; of
            `check_host` and `check_between` others too.
        detail: what was found, in one line.
        fix: what to do; empty if there is nothing, or where `detail` says it already.
        more: what else was found, a line each.
        error: the class in `errors` that `require` raises.
        note: of a result that is ok, as it ends no run: "warning": it is worth mending; "unknown":
            nothing here says; "absent": the machine has no such thing.
    """

    name: str
    ok: bool
    detail: str
    fix: str = ""
    more: tuple[str, ...] = ()
    error: str = "MachineError"
    note: Literal["", "warning", "unknown", "absent"] = ""


def failed(
    name: str, detail: str, fix: str, error: type[MixnetError] = MachineError
) -> CheckResult:
    """Returns a failure: what was found, what to do, and the error that the work would end with."""
    return CheckResult(name=name, ok=False, detail=detail, fix=fix, error=error.__name__)


def from_error(name: str, error: MixnetError) -> CheckResult:
    """Its message already ends with what to do."""
    return failed(name, str(error), "", type(error))


def good(name: str, detail: str, more: tuple[str, ...] = ()) -> CheckResult:
    """Returns that all is well."""
    return CheckResult(name=name, ok=True, detail=detail, more=more)


def warning(name: str, detail: str, fix: str, more: tuple[str, ...] = ()) -> CheckResult:
    """Returns what ends no run and is worth mending."""
    return CheckResult(name=name, ok=True, detail=detail, fix=fix, more=more, note="warning")


def unknown(name: str, detail: str, fix: str = "") -> CheckResult:
    """Returns that nothing on this machine says."""
    return CheckResult(name=name, ok=True, detail=detail, fix=fix, note="unknown")


def absent(name: str, detail: str) -> CheckResult:
    """Returns that the machine has no such thing, and needs none."""
    return CheckResult(name=name, ok=True, detail=detail, note="absent")


def gigabytes(count: float) -> str:
    """Returns a number of bytes in words, as in "1.5 GB"."""
    return f"{count / 1e9:.1f} GB"
