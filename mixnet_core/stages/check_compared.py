"""What hosts say of themselves, compared: a verdict for each thing that has to be the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from mixnet_core.errors import DatasetError, InputError, MachineError, TransientError
from mixnet_core.stages.check_facts import Facts, Images
from mixnet_core.stages.check_result import CheckResult, failed, good, unknown, warning

SAME_DISK = "mount one disk on all hosts, at the same path (docs: Train on several hosts)"
_DIGITS = 8
# Of results that are ok: what is worse is said.
_RANK = {"": 0, "absent": 0, "unknown": 1, "warning": 2}


def judge_presence(
    hosts: int, present: Sequence[int], lost: Mapping[int, str], seconds: float
) -> CheckResult:
    """Says which hosts came.

    Args:
        hosts: how many there are to be.
        present: the numbers of those that are there.
        lost: host -> what became of it, of those that came and did not stay.
        seconds: how long they were waited for.
    """
    absent = [host for host in range(hosts) if host not in present and host not in lost]
    if not absent and not lost:
        return good("hosts", f"all {hosts} are here")
    said = [f"host {host} of {hosts} {why}" for host, why in lost.items()]
    if absent:
        have = "has" if len(absent) == 1 else "have"
        said.insert(0, f"{_named(absent, hosts)} {have} not joined within {seconds:g} s")
    fix = (
        "start the same command there, with its --node-rank and the same workspace on a disk that "
        "all hosts share"
    )
    return failed("hosts", "; ".join(said), fix, TransientError)


def judge_told(
    told: Mapping[str, object], others: Mapping[int, Mapping[str, object]]
) -> list[CheckResult]:
    """Says what hosts were told otherwise than host 0; nothing where all were told the same.

    Args:
        told: name -> value, as host 0 was told.
        others: host -> the same of others.
    """
    for host, theirs in others.items():
        for name, value in told.items():
            if theirs.get(name) != value:
                said = f"host {host} was told {name} {theirs.get(name)}, host 0 {value}"
                return [failed("told", said, "start the same command on all", InputError)]
    return []


def judge_folder(
    workspaces: Mapping[int, str],
    file_system: str,
    blind: Mapping[int, Sequence[int]],
    elsewhere: Mapping[int, str],
    locks: Mapping[int, bool | str],
) -> CheckResult:
    """Says whether the workspace is one folder on all hosts, and whether its locks reach them.

    Args:
        workspaces: host -> path of the workspace there.
        file_system: host 0's.
        blind: host -> hosts whose file it does not see as they wrote it.
        elsewhere: host -> what its workspace is, of those that answer and do not see host 0's.
        locks: host -> whether it finds locked what host 0 has locked; or why it cannot say.
    """
    for host, theirs in elsewhere.items():
        said = f"host {host} answers, and does not see this folder: its workspace is {theirs}"
        return failed("folder", said, SAME_DISK, MachineError)
    own = workspaces[0]
    for host, path in workspaces.items():
        if path != own:
            said = f"the workspace is {path} on host {host} and {own} on host 0: files name others"
            return failed("folder", said, "mount it at the same path", InputError)
    for host, unseen in blind.items():
        if unseen:
            said = f"host {host} does not see in {own} what host {unseen[0]} wrote there"
            return failed("folder", said, SAME_DISK, MachineError)
    detail = f"{own} ({file_system}): each sees what the others write"
    if len(workspaces) < 2:
        return unknown("folder", f"{own} ({file_system}): no other host has seen it")
    free = [host for host, held in locks.items() if held is not True]
    if not free:
        return good("folder", f"{detail}, and its locks")
    why = locks[free[0]]
    said = f"host {free[0]} {'finds free' if why is False else f'cannot say of ({why})'}"
    fix = (
        "mount it with locks (NFS: without nolock and local_lock); a second leader is refused "
        "without them too"
    )
    return warning("folder", f"{detail}, but not its locks: {said} what host 0 has locked", fix)


def judge_versions(facts: Mapping[int, Facts]) -> CheckResult:
    """Says whether all hosts compute with the same versions, and where their systems differ."""
    own = facts[0]
    for host, theirs in facts.items():
        for name, version in own.versions.items():
            if theirs.versions.get(name) != version:
                said = f"host {host} has {name} {theirs.versions.get(name)}, host 0 has {version}"
                return failed("versions", said, "install the same on all", MachineError)
    detail = ", ".join(f"{name} {version}" for name, version in own.versions.items())
    differing = [
        f"host {host} has {name} {theirs.system.get(name)}, host 0 has {value}"
        for host, theirs in facts.items()
        for name, value in own.system.items()
        if theirs.system.get(name) != value
    ]
    if not differing:
        return good("versions", f"{detail} on all; {own.system['system']}, {own.system['machine']}")
    fix = "take equal hosts where a run has to come out bit for bit"
    return warning("versions", f"{detail} on all, but {differing[0]}", fix, tuple(differing[1:8]))


def judge_images(images: Mapping[int, Images]) -> CheckResult:
    """Says whether all hosts have the same images."""
    hosts = len(images)
    for host, said in images.items():
        if said.error:
            found = failed("images", f"host {host} of {hosts}: {said.error}", "", DatasetError)
            return found.model_copy(update={"error": said.error_type})
    own = images[0]
    for host, theirs in images.items():
        if theirs.line != own.line or (theirs.prepared and theirs.digest != own.digest):
            detail = f"host {host} has {_in_words(theirs)}; host 0 has {_in_words(own)}"
            fix = "give all hosts the same images, at the same path"
            return failed("images", detail, fix, DatasetError)
    for host, theirs in images.items():
        if theirs.digest != own.digest:
            detail = f"host {host} has as many as host 0, of other sizes or times of change"
            fix = "`mixnet prepare` once, then check again: it compares their content"
            return warning("images", f"{detail} ({own.line})", fix)
    if own.digest is None:
        return unknown("images", f"{own.line}, on all; nothing says whether they are the same")
    what = "fingerprint" if own.prepared else "not prepared yet; names, sizes and times"
    return good("images", f"{own.line}; {what} {own.digest[:_DIGITS]} on all {hosts}")


def _in_words(images: Images) -> str:
    digest = f", fingerprint {images.digest[:_DIGITS]}" if images.prepared and images.digest else ""
    return f"{images.line}{digest}"


def merged(checks: Mapping[int, Sequence[CheckResult]]) -> list[CheckResult]:
    """Makes one result of what every host found by itself, of each kind of check.

    Where one is worse than host 0's, it is that host's, by its number.

    Args:
        checks: host -> what it found; host 0's order counts.
    """
    by_name: dict[str, dict[int, CheckResult]] = {}
    for host, found in checks.items():
        seen: Counter[str] = Counter()
        for result in found:
            # Some stand twice, as the keys of signing.
            seen[result.name] += 1
            key = f"{result.name} {seen[result.name]}"
            by_name.setdefault(key, {})[host] = result
    return [_worst(found, len(checks)) for found in by_name.values()]


def _worst(found: Mapping[int, CheckResult], hosts: int) -> CheckResult:
    badness = {host: _badness(result) for host, result in found.items()}
    most = max(badness.values())
    bad = [host for host in found if badness[host] == most]
    first = found[bad[0]]
    if most == 0 or (len(bad) == hosts and len({found[host].detail for host in bad}) == 1):
        return first
    others = tuple(f"host {host}: {found[host].detail}" for host in bad[1:8])
    said = {"detail": f"host {bad[0]} of {hosts}: {first.detail}", "more": (*first.more, *others)}
    return first.model_copy(update=said)


def _badness(result: CheckResult) -> int:
    return _RANK[result.note] if result.ok else len(_RANK)


def _named(hosts: Sequence[int], of: int) -> str:
    numbers = ", ".join(map(str, hosts))
    return f"host{'s' if len(hosts) > 1 else ''} {numbers} of {of}"
