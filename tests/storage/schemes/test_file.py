from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mixnet_core.storage.schemes.file import FileStorage

KILLED = """
import os, signal, sys
from pathlib import Path
from mixnet_core.storage.schemes.file import FileStorage

os.link = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
FileStorage(Path(sys.argv[1])).create("r/manifest.json", b"{}")
"""


def test_what_a_killed_publishing_left_is_removed_by_the_next(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -9
    assert [path.name[:7] for path in (tmp_path / "r").iterdir()] == [".aside-"]
    storage = FileStorage(tmp_path)
    assert storage.names("r") == []
    assert storage.create("r/manifest.json", b"{}")
    assert not storage.create("r/manifest.json", b"other")
    assert [path.name for path in (tmp_path / "r").iterdir()] == ["manifest.json"]
