from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from mixnet_core.storage import asides
from mixnet_core.storage.asides import (
    ASIDE_PREFIX,
    OwnAside,
    drop_aside,
    held_aside,
    hold_aside,
    remove_all_asides,
    remove_left_asides,
)
from mixnet_core.storage.files import file_aside, folder_aside, write_text
from tests.data.samples import write_image_folder

HOLDER = """
import sys
from pathlib import Path
from mixnet_core.storage.files import file_aside, folder_aside
where = Path(sys.argv[1])
with folder_aside(where / "data") as folder, file_aside(where / "f") as file:
    (folder / "image").write_text("half")
    file.unlink()
    file.write_text("replaced, as compilers do")
    print("held", flush=True)
    sys.stdin.read()
"""


def left(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{ASIDE_PREFIX}*"))


@contextmanager
def neighbour(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes a folder and a file, in the middle of it; killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_what_a_living_neighbour_writes_stays_until_it_is_killed(tmp_path: Path) -> None:
    with neighbour(tmp_path):
        held = left(tmp_path)
        assert len(held) == 2
        remove_left_asides(tmp_path)
        write_text(tmp_path / "mine", "text")
        assert left(tmp_path) == held
        assert sorted(path.name for aside in held for path in aside.iterdir()) == [
            ".held",
            ".held",
            "data",
            "f",
        ]
    assert left(tmp_path) == held
    write_text(tmp_path / "mine", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_neighbour_that_goes_on_finds_everything_in_place(tmp_path: Path) -> None:
    with neighbour(tmp_path) as process:
        remove_left_asides(tmp_path)
        process.communicate("")
        assert process.returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "f"]


def test_threads_of_one_process_leave_each_others_alone(tmp_path: Path) -> None:
    with folder_aside(tmp_path / "data") as folder:
        (folder / "image").touch()
        thread = threading.Thread(target=write_text, args=(tmp_path / "other", "text"))
        thread.start()
        thread.join()
        assert (folder / "image").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "other"]


def test_a_job_that_outlives_its_parent_holds_what_it_was_handed(tmp_path: Path) -> None:
    aside = hold_aside(tmp_path)
    with subprocess.Popen(["sleep", "60"], pass_fds=(aside.handle,)) as child:
        os.close(aside.handle)
        remove_left_asides(tmp_path)
        assert left(tmp_path) == [aside.path]
        child.kill()
    remove_left_asides(tmp_path)
    assert left(tmp_path) == []


KILLED = """
import os, random, shutil, signal, sys, time
from pathlib import Path
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.recipe.recipe import load_recipe

images, datasets = sys.argv[1], Path(sys.argv[2])
data = load_recipe("finetune", {"data.path": images}).data
chance = random.Random(11)
# The first one is slower than the others.
for _ in range(2):
    began = time.monotonic()
    prepare_dataset(data, datasets)
    seconds = time.monotonic() - began
    shutil.rmtree(next(datasets.iterdir()))
left = set()
for number in range(20):
    child = os.fork()
    if not child:
        prepare_dataset(data, datasets)
        os._exit(0)
    time.sleep(chance.random() * seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    left |= set(datasets.glob(".aside-*"))
    for finished in datasets.glob("image_folder-*"):
        shutil.rmtree(finished)
prepare_dataset(data, datasets)
print(len(left))
"""


def test_after_twenty_kills_one_preparing_leaves_nothing_but_the_dataset(tmp_path: Path) -> None:
    images = write_image_folder(tmp_path / "images", {"ant": 60, "bee": 60}, {"ant": 9, "bee": 9})
    datasets = tmp_path / "datasets"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(images), str(datasets)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 5, "the kills came too late, or too early"
    assert [path.name[:6] for path in datasets.iterdir()] == ["image_"]


def test_killed_at_any_call_of_making_one_it_is_removed_by_the_next(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from pathlib import Path
from mixnet_core.storage.files import write_text

calls = 0
def audit(event, arguments):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
target = Path(sys.argv[1]) / "file"
pid = None
for number in range(1, 1000):
    pid = os.fork()
    if not pid:
        calls, sys.argv[2] = 0, str(number)
        sys.addaudithook(audit)
        write_text(target, "text")
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if status == 0:
        break
    write_text(target.with_name("next"), "text")
    rest = sorted(set(os.listdir(target.parent)) - {"file", "next"})
    assert not rest, (number, rest)
print(number)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), "0"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


def test_one_that_is_found_between_making_and_holding_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The neighbour removes it at each of the two instants."""
    lock, opened = fcntl.flock, os.open
    met: list[str] = []

    def after_making(path: Path, *arguments: int) -> int:
        if str(path).endswith(".held") and "made" not in met:
            met.append("made")
            Path(path).parent.rmdir()
        return opened(path, *arguments)

    def after_opening(handle: int, how: int) -> None:
        if "opened" not in met:
            met.append("opened")
            (aside,) = left(tmp_path)
            (aside / ".held").unlink()
            aside.rmdir()
        lock(handle, how)

    monkeypatch.setattr(os, "open", after_making)
    monkeypatch.setattr(fcntl, "flock", after_opening)
    with held_aside(tmp_path) as aside:
        assert met == ["made", "opened"]
        assert left(tmp_path) == [aside.path]
    assert left(tmp_path) == []


def fail(*_: object) -> NoReturn:
    raise OSError(95, "Operation not supported")


def test_without_locks_writing_works_and_what_is_left_is_said_once_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", fail)
        write_text(tmp_path / "file", "text")
        assert [path.name for path in tmp_path.iterdir()] == ["file"]
        aside = hold_aside(tmp_path)
        os.close(aside.handle)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            remove_left_asides(tmp_path)
    assert left(tmp_path) == [aside.path]
    assert [record.message for record in caplog.records] == [
        f"{aside.path} is left: it is of a process on a file system without locks; delete it if "
        "nothing works there"
    ]


@pytest.mark.parametrize("local", [True, False])
def test_another_machines_is_removed_only_where_no_other_machine_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local: bool
) -> None:
    aside = hold_aside(tmp_path)
    os.close(aside.handle)
    (aside.path / ".held").write_text("another-kernel")
    monkeypatch.setattr(asides, "_is_local", lambda path: local)
    remove_left_asides(tmp_path)
    assert left(tmp_path) == ([] if local else [aside.path])


def test_file_systems_of_this_machine_are_told_from_others() -> None:
    assert not asides._is_local(Path("/proc/self"))
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    kinds = {line.split()[4]: line.split(" - ")[1].split()[0] for line in mounts}
    for point, kind in kinds.items():
        if Path(point).is_dir() and kind in ("proc", "sysfs", "tmpfs", "ext4", "nfs4"):
            assert asides._is_local(Path(point)) == (kind in ("tmpfs", "ext4")), point


def test_what_has_no_lock_is_left_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ".aside-file").write_text("of an earlier version")
    (tmp_path / ".aside-folder").mkdir()
    (tmp_path / ".aside-folder" / "image").touch()
    (tmp_path / ".aside-empty").mkdir()
    with caplog.at_level(logging.WARNING), file_aside(tmp_path / "file") as aside:
        aside.write_text("text")
    assert [path.name for path in left(tmp_path)] == [".aside-file", ".aside-folder"]
    # Of a folder it is said once.
    assert len(caplog.records) == 1
    remove_all_asides(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_neighbours_that_is_just_being_held_is_not_said_to_be_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Ranks of a job write into one folder at the same instant."""
    (tmp_path / ".aside-new").mkdir()
    real = Path.rmdir

    def held_meanwhile(path: Path) -> None:
        (path / ".held").touch()
        real(path)

    monkeypatch.setattr(Path, "rmdir", held_meanwhile)
    with caplog.at_level(logging.WARNING):
        remove_left_asides(tmp_path)
    assert caplog.records == []
    assert [path.name for path in left(tmp_path)] == [".aside-new"]


def test_a_link_is_not_followed_to_what_somebody_else_points_at(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / ".held").touch()
    (tmp_path / "precious" / "image").touch()
    (tmp_path / ".aside-link").symlink_to(tmp_path / "precious")
    remove_left_asides(tmp_path)
    assert (tmp_path / "precious" / "image").is_file()


def test_one_that_an_object_owns_goes_with_it(tmp_path: Path) -> None:
    own, other = OwnAside(tmp_path), OwnAside(tmp_path)
    (own.path / "file").touch()
    assert len(left(tmp_path)) == 2
    del own
    assert left(tmp_path) == [other.path]
    other.drop()
    other.drop()
    assert left(tmp_path) == []


def test_what_is_still_written_into_while_it_is_removed_is_found_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside = hold_aside(tmp_path)
    (aside.path / "data").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(asides.shutil, "rmtree", lambda *_, **__: None)
        drop_aside(aside)
    assert sorted(path.name for path in aside.path.iterdir()) == [".held", "data"]
    remove_left_asides(tmp_path)
    assert left(tmp_path) == []


def test_a_folder_that_cannot_be_listed_stops_nothing(tmp_path: Path) -> None:
    remove_left_asides(tmp_path / "missing")


def test_one_that_is_being_removed_is_nobodys_that_is_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its lock is gone a moment before the folder."""
    path = tmp_path / f"{ASIDE_PREFIX}x"
    path.mkdir()
    (path / "file").touch()

    def remove() -> None:
        (path / "file").unlink()
        path.rmdir()

    removing = threading.Timer(asides._MOMENT_SECONDS / 2, remove)
    removing.start()
    remove_left_asides(tmp_path)
    removing.join()
    assert caplog.messages == []
