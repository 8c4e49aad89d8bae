from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.processes.row_follower import RowFollower


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.jsonl"


def lines(*steps: int) -> str:
    return "".join(json.dumps({"step": step}) + "\n" for step in steps)


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def rewrite(path: Path, text: str) -> None:
    """As a resumed training does: another file under the same name."""
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)


def steps(rows: list[dict[str, Any]]) -> list[int]:
    return [row["step"] for row in rows]


def test_a_file_that_appears_later_is_followed_from_its_start(path: Path) -> None:
    follower = RowFollower(path)
    assert follower.rows() == []
    append(path, lines(1, 2))
    assert steps(follower.rows()) == [1, 2]
    append(path, lines(3))
    assert steps(follower.rows()) == [3]
    assert follower.rows() == []


def test_rows_that_stood_there_before_are_not_reported(path: Path) -> None:
    append(path, lines(1, 2))
    follower = RowFollower(path)
    assert follower.rows() == []
    append(path, lines(2))
    assert steps(follower.rows()) == [2]


def test_a_line_is_reported_once_it_is_whole(path: Path) -> None:
    follower = RowFollower(path)
    append(path, lines(1) + '{"st')
    assert steps(follower.rows()) == [1]
    append(path, 'ep": 2}')
    assert follower.rows() == []
    append(path, "\n")
    assert steps(follower.rows()) == [2]


def test_rows_kept_by_a_rewriting_are_not_reported_and_the_new_ones_after_them_are(
    path: Path,
) -> None:
    append(path, lines(1, 2, 3, 4))
    follower = RowFollower(path)
    rewrite(path, lines(1, 2))
    assert follower.rows() == []
    append(path, lines(3, 4, 5))
    # Equal to old ones, but 3 and 4 continue the kept rows and are taken for them.
    assert steps(follower.rows()) == [5]
    append(path, lines(3))
    assert steps(follower.rows()) == [3]


def test_a_file_begun_anew_is_reported_from_its_first_new_row(path: Path) -> None:
    append(path, lines(1, 2, 3))
    follower = RowFollower(path)
    rewrite(path, lines(7, 1, 2))
    assert steps(follower.rows()) == [7, 1, 2]


def test_a_truncated_file_is_read_from_its_start_even_if_it_has_grown_beyond(path: Path) -> None:
    follower = RowFollower(path)
    append(path, lines(1, 2))
    assert steps(follower.rows()) == [1, 2]
    path.write_text(lines(8, 9, 10))
    assert steps(follower.rows()) == [8, 9, 10]


def test_a_line_that_is_no_object_is_passed_over(path: Path) -> None:
    follower = RowFollower(path)
    append(path, '{"step": 1}{"st\n[2]\n\xff\n' + lines(3))
    assert steps(follower.rows()) == [3]
