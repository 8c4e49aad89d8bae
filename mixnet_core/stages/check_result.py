"""What a check found, as a value."""

from __future__ import annotations

from mixnet_core.errors import MachineError, MixnetError
from mixnet_core.runs.values import Value


class CheckResult(Value):
    """One check's outcome.

    Attributes:
        name: workspace, disk, packages, extras, device, operators, engine, msrun, weights, data,
            replaces (where a recipe demands it) or publish.
        detail: what was found, in one line.
        fix: what to do; empty if ok, or where `detail` says it already.
        more: what else was found, a line each.
        error: the class in `errors` that `require` raises.
    """

    name: str
    ok: bool
    detail: str
    fix: str = ""
    more: tuple[str, ...] = ()
    error: str = "MachineError"


def failed(
    name: str, detail: str, fix: str, error: type[MixnetError] = MachineError
) -> CheckResult:
    """Returns a failure: what was found, what to do, and the error that the work would end with."""
    return CheckResult(name=name, ok=False, detail=detail, fix=fix, error=error.__name__)


def from_error(name: str, error: MixnetError) -> CheckResult:
    """Its message already ends with what to do."""
    return failed(name, str(error), "", type(error))
