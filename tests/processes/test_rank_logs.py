"""Where the ranks' logs are, and what may be shown of them."""

from __future__ import annotations

from pathlib import Path

from mixnet_core.processes.rank_logs import log_of_host, named, newest_attempt, rank_logs


def attempt(root: Path, number: int, **logs: str) -> Path:
    folder = root / f"attempt-{number:03d}"
    (folder / "workers").mkdir(parents=True)
    for name, text in logs.items():
        place = "log.txt" if name == "log" else f"workers/{name}.log"
        (folder / place).write_text(text)
    return folder


def test_the_newest_attempt_is_found_by_its_number(tmp_path: Path) -> None:
    assert newest_attempt(tmp_path / "nothing") is None
    attempt(tmp_path, 999)
    newest = attempt(tmp_path, 1000)
    (tmp_path / "attempt-5000").write_text("a file")
    (tmp_path / "progress.jsonl").write_text("")
    assert newest_attempt(tmp_path) == newest


def test_ranks_come_in_their_order_and_who_started_them_last(tmp_path: Path) -> None:
    logs = {f"worker_{rank}": f"of {rank}" for rank in (10, 2, 0)}
    folder = attempt(tmp_path, 1, log="msrun's", scheduler="x", **logs)
    for host in (10, 9):
        (folder / log_of_host(host)).touch()
    found = rank_logs(folder)
    assert [log.whose for log in found] == [
        "rank 0", "rank 2", "rank 10", "msrun", "msrun of host 9", "msrun of host 10",
        "MindSpore's scheduler",
    ]  # fmt: skip
    assert found[1].last_lines(5) == ["of 2"]
    assert named(found[:1]) == f"rank 0: {folder / 'workers/worker_0.log'}"
    alone = rank_logs(attempt(tmp_path, 2, log="x"))
    assert [(log.whose, log.path.name) for log in alone] == [("the job", "log.txt")]


def test_the_last_lines_hold_no_secret_and_nothing_that_a_terminal_obeys(tmp_path: Path) -> None:
    text = "\n".join(
        [
            "first",
            "Traceback (most recent call last):",
            '  File "a.py", line 3, in f',
            "    boto3.get('s3://KEY:SECRET@bucket/x')",
            "",
            "[INFO] chatter",
            "red \x1b[31mred",
            "token=abcdefgh12345678",
            "y" * 3000,
        ]
    )
    (log,) = rank_logs(attempt(tmp_path, 1, log=text))
    lines = log.last_lines(5)
    assert lines[0] == '  File "a.py", line 3, in f'
    assert lines[1].startswith("    boto3.get('s3://...'")
    assert lines[2] == "red \\x1b[31mred"
    assert "abcdefgh" not in lines[3]
    assert lines[4].endswith("...")
    assert not any("SECRET" in line or "chatter" in line or "first" in line for line in lines)
    assert all(len(line) < 500 for line in lines)


def test_bytes_that_are_no_text_and_a_log_that_is_gone_are_no_error(tmp_path: Path) -> None:
    folder = attempt(tmp_path, 1, log="")
    (folder / "log.txt").write_bytes(b"a\xff\n\x00b\n")
    (log,) = rank_logs(folder)
    assert log.last_lines(5) == ["a\ufffd", "\\x00b"]
    (folder / "log.txt").unlink()
    assert log.last_lines(5) == []
