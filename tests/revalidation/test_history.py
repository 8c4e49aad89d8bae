from __future__ import annotations

from pathlib import Path

from mixnet_core.release.registry import release_names
from mixnet_core.revalidation.history import (
    FOLDER,
    add_to_history,
    last_measured,
    of_release,
    read_history,
    trend,
    vanished,
)
from mixnet_core.revalidation.states import Revalidation, State
from mixnet_core.runs.values import Score


def result(
    name: str,
    day: int,
    right: int | None = 90,
    state: State = "confirmed",
    where: str = "file:///r",
) -> Revalidation:
    return Revalidation(
        release=name,
        uri=f"{where}/{name}",
        state=state,
        time=f"2026-11-{day:02d}T03:00:00Z",
        sha256="a" * 64,
        dataset="d" * 64,
        measured=None if right is None else Score(count=100, correct1=right, correct5=99, loss=0.5),
    )


def test_results_read_back_by_time_whoever_wrote_first(tmp_path: Path) -> None:
    later = add_to_history(str(tmp_path), [result("a", 9), result("b", 9, None, "unreachable")])
    add_to_history(str(tmp_path), [result("a", 2)])
    assert [item.time[8:10] for item in read_history(str(tmp_path))] == ["02", "09", "09"]
    assert later is not None
    assert later.startswith(f"file://{tmp_path}/{FOLDER}/20261109T030000Z-")
    assert later.endswith(".jsonl")


def test_the_history_is_no_release_and_the_same_results_are_kept_once(tmp_path: Path) -> None:
    first = add_to_history(str(tmp_path), [result("a", 2)])
    assert add_to_history(str(tmp_path), [result("a", 2)]) == first
    assert release_names(str(tmp_path)) == []
    assert len(read_history(str(tmp_path))) == 1
    assert add_to_history(str(tmp_path), []) is None


def test_a_damaged_line_costs_no_other(tmp_path: Path) -> None:
    add_to_history(str(tmp_path), [result("a", 2), result("b", 2)])
    (file,) = (tmp_path / FOLDER).iterdir()
    first, second = file.read_text().splitlines()
    file.write_text(f"{first[:40]}\n{second}\n")
    (tmp_path / FOLDER / "notes.txt").write_text("not ours")
    assert [item.release for item in read_history(str(tmp_path))] == ["b"]


def test_without_a_history_there_is_none(tmp_path: Path) -> None:
    assert read_history(str(tmp_path / "releases")) == []


def test_the_last_measuring_is_of_these_bytes_on_these_images() -> None:
    every = [result("a", 2, 90), result("a", 3, 80), result("a", 4, None, "unreachable")]
    found = last_measured(every, "a" * 64, "d" * 64)
    assert found is not None
    assert found.correct1 == 80
    assert last_measured(every, "b" * 64, "d" * 64) is None
    assert last_measured(every, "a" * 64, "e" * 64) is None


def test_releases_that_are_gone_are_known_by_what_was_measured_of_them() -> None:
    history = [result("a", 2), result("b", 2), result("c", 2, where="file:///elsewhere")]
    assert [item.release for item in vanished(history, ["a"], "file:///r")] == ["b"]
    assert vanished(history, ["a", "b"], "file:///r") == []


def test_a_trend_has_a_point_for_every_time() -> None:
    every = [result("a", 2), result("b", 2), result("a", 3, None, "unreachable")]
    first, second = trend(of_release(every, "a"))
    assert (first["top1"], first["state"], first["time"]) == (0.9, "confirmed", every[0].time)
    assert first["low"] < 0.9 < first["high"]
    assert (second["top1"], second["state"]) == (None, "unreachable")
