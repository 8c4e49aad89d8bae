from __future__ import annotations

import pytest

from tests.mutate.mutants import Mutant, mutants_of, sample


def changes(source: str) -> set[tuple[str, str]]:
    return {(mutant.before, mutant.after) for mutant in mutants_of("tiny", source)}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", {("a < b", "a <= b"), ("a < b", "a > b")}),
        ("a == b", {("a == b", "a != b")}),
        ("a is b", {("a is b", "a is not b")}),
        ("a in b", {("a in b", "a not in b")}),
        ("a + b", {("a + b", "a - b")}),
        ("a * b", {("a * b", "a / b")}),
        ("a << b", {("a << b", "a >> b")}),
        ("a and b", {("a and b", "a or b")}),
        ("not a", {("not a", "a")}),
        ("-a", {("-a", "a")}),
        ("7", {("7", "8")}),
        ("0.5", {("0.5", "1.5")}),
        ("5000000", {("5000000", "10000000")}),
        ("True", {("True", "False")}),
        ("'text'", set()),
        ("a[b:c]", {("b:c", ":c"), ("b:c", "b:")}),
        ("min(a, b)", {("min(a, b)", "max(a, b)")}),
        (
            "sorted(a, key=b, reverse=c)",
            {
                ("sorted(a, key=b, reverse=c)", "sorted(a, reverse=c)"),
                ("sorted(a, key=b, reverse=c)", "sorted(a, key=b)"),
            },
        ),
        ("a if b else c", {("b", "not b")}),
        ("[a for a in b if a]", {("a", "not a")}),
        # Joining a path or a text: every change of it is a TypeError.
        ("a / 'b'", set()),
        ("'a' + b", set()),
    ],
)
def test_an_expression_is_changed_in_every_way_that_a_test_ought_to_notice(
    source: str, expected: set[tuple[str, str]]
) -> None:
    assert changes(f"x = {source}") == expected


def test_statements_are_removed_and_early_returns_return_none() -> None:
    source = """
def f(a, b):
    b.append(a)
    b[a] = a
    for c in b:
        if c:
            continue
        return c
    raise ValueError(a)
"""
    assert changes(source) == {
        ("b.append(a)", "pass"),
        ("b[a] = a", "pass"),
        ("c", "not c"),
        ("continue", "pass"),
        ("return c", "return None"),
        ("raise ValueError(a)", "pass"),
    }


def test_docstrings_types_logging_and_the_text_of_errors_are_left_alone() -> None:
    source = '''
"""Counts 3 things."""
Kind = Literal[1, 2]

def f(a: Annotated[int, Field(ge=1)]) -> Literal[3]:
    """Counts."""
    log.warning("%s of %s", a, 4)
    raise InputError(f"{100 * a} %" if a != 5 else "five", retryable=False)
'''
    assert {after for _, after in changes(source)} == {"pass", "True"}


def test_a_mutant_names_its_line_and_holds_the_whole_changed_module() -> None:
    source = "def f(a, b):\n    # Of equals the first.\n    return a < b or a - b\n"
    (found,) = (m for m in mutants_of("tiny", source) if m.after == "a + b")
    assert (found.number, found.line) == (3, "return a < b or a - b")
    assert found.source == "def f(a, b):\n    return a < b or a + b"


def lines(mutants: list[Mutant]) -> list[str]:
    return [mutant.before for mutant in mutants]


def test_a_sample_is_the_same_for_a_seed_and_another_one_for_another() -> None:
    every = mutants_of("tiny", "\n".join(f"x{n} = a{n} + b" for n in range(40)))
    first = sample(every, 10, 3)
    assert len(first) == 10
    assert first == sample(list(reversed(every)), 10, 3)
    assert lines(first) != lines(sample(every, 10, 4))
    assert sample(every, 100, 3) == every


def test_a_line_that_is_added_or_left_out_leaves_the_rest_of_a_sample() -> None:
    source = [f"x{n} = a{n} + b" for n in range(40)]
    before = lines(sample(mutants_of("tiny", "\n".join(source)), 10, 0))
    after = lines(sample(mutants_of("tiny", "\n".join(["y = a * b", *source])), 10, 0))
    assert len(set(before) - set(after)) <= 1
    less = lines(sample(mutants_of("tiny", "\n".join(source[1:])), 10, 0))
    assert len(set(before) - set(less)) <= 1
