"""On a tree of one module, with `python -m tests.mutate` as a process of its own."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutate.__main__ import CHECKOUT

MODULE = """
def larger(a, b):
    return a if a > b else b


def first(items):
    return sorted(items)[0]
"""
GOOD = """
import tiny.chosen as chosen


def test_the_larger_one_is_taken():
    assert chosen.larger(1, 2) == 2
    assert chosen.larger(2, 1) == 2
    assert chosen.first([3, 1, 2]) == 1
"""
WEAK = """
from tiny.chosen import first, larger


def test_something_is_taken():
    assert larger(2, 2) == 2
    assert first([3, 3, 3]) == 3
"""
PLAN = """
package = "tiny"
copied = ["tiny", "tests"]
preloaded = []
[tests]
chosen = ["tests/test_chosen.py"]
"""
# Of two equals it does not matter which one is taken.
SAME_OF_EQUALS = """
[[equivalent]]
module = "chosen"
line = "return a if a > b else b"
before = "a > b"
after = "a >= b"
reason = "of two equals either one is the larger"
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A module whose tests notice everything that can be noticed."""
    for name, text in (
        ("tiny/__init__.py", ""),
        ("tiny/chosen.py", MODULE),
        ("tests/__init__.py", ""),
        ("tests/test_chosen.py", GOOD),
        ("tests/mutate/modules.toml", PLAN),
        ("tests/mutate/equivalent.toml", ""),
        ("pyproject.toml", "[tool.pytest.ini_options]\n"),
    ):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "tree"


def mutate(tree: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.mutate", "--root", str(tree), *options],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )


def digests(tree: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in tree.rglob("*")
        if path.is_file()
    }


def test_tests_that_notice_all_but_an_equivalent_pass(tree: Path) -> None:
    without = mutate(tree)
    assert without.returncode == 1
    assert "- tiny/chosen.py:3: `a > b` -> `a >= b`" in without.stdout
    (tree / "tests/mutate/equivalent.toml").write_text(SAME_OF_EQUALS)
    left_out = mutate(tree)
    assert left_out.returncode == 0
    assert left_out.stdout == (
        "| module | sampled | noticed | share |\n|---|---|---|---|\n| chosen | 2 | 2 | 100.0 % |\n"
    )


def test_a_weak_test_is_found_out(tree: Path) -> None:
    (tree / "tests/test_chosen.py").write_text(WEAK)
    found = mutate(tree)
    assert found.returncode == 1
    assert "| chosen | 3 | 0 | 0.0 % |" in found.stdout
    assert "- tiny/chosen.py:3: `a > b` -> `a < b`\n" in found.stdout
    assert "- tiny/chosen.py:7: `0` -> `1`\n" in found.stdout


def test_the_checkout_is_never_written_to(tree: Path) -> None:
    # Were the checkout imported in place of the copy, the test could tell, and nothing be noticed.
    before = digests(tree)
    assert "| chosen | 3 | 2 |" in mutate(tree).stdout
    assert digests(tree) == before


def test_a_module_that_its_tests_run_in_a_child_process_is_the_changed_one_too(tree: Path) -> None:
    (tree / "tests/test_chosen.py").write_text(
        "import subprocess, sys\nimport tiny.chosen\n\n"
        "def test_a_child_takes_the_larger_one():\n"
        "    program = 'from tiny.chosen import larger; assert larger(1, 2) == 2 == larger(2, 1)'\n"
        "    subprocess.run([sys.executable, '-c', program], check=True)\n"
    )
    assert "`a > b` -> `a < b`" not in mutate(tree).stdout


def test_the_same_seed_samples_the_same_mutants(tree: Path) -> None:
    (tree / "tests/test_chosen.py").write_text(WEAK)
    printed = [mutate(tree, "--per-module", "1", "--seed", seed).stdout for seed in "11234"]
    assert printed[0] == printed[1]
    assert len(set(printed)) > 1
    assert all("| chosen | 1 | 0 |" in text for text in printed)


def test_a_mutant_that_never_ends_is_noticed(tree: Path) -> None:
    (tree / "tiny/chosen.py").write_text(
        "def down(n):\n    while n > 0:\n        n -= 1\n    return n\n"
    )
    (tree / "tests/test_chosen.py").write_text(
        "from tiny.chosen import down\n\ndef test_it_ends():\n    assert down(3) == 0\n"
    )
    assert "`n -= 1`" not in mutate(tree, "--seconds", "2").stdout


def test_tests_that_fail_as_they_are_say_nothing(tree: Path) -> None:
    (tree / "tests/test_chosen.py").write_text(GOOD.replace("== 1", "== 7"))
    found = mutate(tree)
    assert (found.returncode, found.stdout) == (2, "")
    assert "tests/test_chosen.py fail as they are" in found.stderr
    assert "assert 1 == 7" in found.stderr


def test_tests_that_never_import_the_module_are_refused(tree: Path) -> None:
    (tree / "tests/test_chosen.py").write_text("def test_nothing():\n    assert True\n")
    found = mutate(tree)
    assert found.returncode == 2
    assert "tests/test_chosen.py never imports tiny/chosen.py" in found.stderr


def test_an_equivalent_whose_line_is_gone_or_that_has_no_reason_is_refused(tree: Path) -> None:
    listed = tree / "tests/mutate/equivalent.toml"
    listed.write_text(SAME_OF_EQUALS.replace("a if", "b if"))
    found = mutate(tree)
    assert found.returncode == 2
    assert "`a > b` -> `a >= b` in the line `return b if a > b else b` of chosen" in found.stderr
    listed.write_text(SAME_OF_EQUALS.replace("of two equals either one is the larger", ""))
    found = mutate(tree)
    assert found.returncode == 2
    assert "no reason for" in found.stderr
