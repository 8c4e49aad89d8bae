"""The search itself: it finds, makes small, prints what can be pasted, and survives a crash."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest
from hypothesis import assume
from hypothesis import strategies as st

from tests.fuzz import __main__ as command
from tests.fuzz.apart import searched_apart
from tests.fuzz.bounds import within
from tests.fuzz.searching import Rule, rules, search

Holds = Callable[..., None]


def rule_of(holds: Holds) -> Rule:
    return Rule("numbers_are_small", {"number": st.integers(0, 10**6)}, holds)


def small(number: int) -> None:
    assert number < 1000


def test_a_failing_case_is_made_small_and_can_be_pasted() -> None:
    found = search(rule_of(small), 1, 5)
    assert "test_numbers_are_small(\n    number=1000,\n)" in found.failure
    assert "assert number < 1000" in found.failure
    assert 1 <= found.tried < 2000


def test_another_number_tries_other_cases_and_the_same_one_the_same() -> None:
    def tried(number: int) -> list[str]:
        cases: list[str] = []
        search(rule_of(lambda number: None), number, 0.5, cases.append)
        return cases[:10]

    assert tried(1) == tried(1) != tried(2)


def test_the_time_is_kept_and_cases_that_do_not_fit_are_no_failures() -> None:
    found = search(rule_of(lambda number: assume(number % 2)), 1, 1)
    assert found.failure == ""
    assert found.tried > 100
    assert 0.9 < found.seconds < 3


def test_a_case_that_ends_the_process_is_told() -> None:
    def aborts(number: int) -> None:
        if number > 1000:
            os.abort()

    found = searched_apart(rule_of(aborts), 1, 5)
    # By SIGABRT, or by SIGSEGV where a library's handler of it fails.
    assert re.search(r"the process ended with -(6|11) on this case:\nnumber=", found.failure)


def test_what_cannot_be_tried_is_said() -> None:
    def needs_more(number: int) -> None:
        pytest.skip("no server")

    assert searched_apart(rule_of(needs_more), 1, 5).skipped == "no server"


def test_time_and_memory_of_a_case_are_bounded() -> None:
    with (
        pytest.raises(AssertionError, match="MB, expected 50 at most"),
        within(seconds=5, megabytes=50),
    ):
        assert len(bytearray(os.urandom(1)) * (200 << 20))
    with pytest.raises(AssertionError, match="of the processor"), within(seconds=0, megabytes=50):
        assert sum(range(10**6))
    with pytest.raises(MemoryError), within(seconds=5, megabytes=50):
        bytearray(8 << 30)


def test_the_command_prints_a_line_a_rule_and_ends_with_0(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.main(["--seconds", "1", "--only", "manifest", "--seed", "3"]) == 0
    first, line, total = capsys.readouterr().out.splitlines()
    assert first == "seed 3"
    assert line.endswith("a_releases_manifest_is_read_or_refused")
    assert total.endswith(" cases, 0 failures")


def test_the_command_prints_the_case_and_ends_with_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "rules", lambda: [rule_of(small)])
    assert command.main(["--seconds", "1", "--seed", "3"]) == 1
    said = capsys.readouterr().out
    assert "again: python -m tests.fuzz --only numbers_are_small --seed 3" in said
    assert "number=1000," in said
    assert said.endswith(" cases, 1 failure\n")


def test_each_rule_has_a_name_of_its_own() -> None:
    names = [rule.name for rule in rules()]
    assert len(names) == len(set(names)) > 20
