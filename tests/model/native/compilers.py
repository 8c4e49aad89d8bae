"""Small programs that stand where a C++ compiler would."""

from __future__ import annotations

import shlex
from pathlib import Path

_SCRIPT = """#!/bin/sh
for last; do :; done
if [ "$last" = --version ]; then echo {version}; exit; fi
echo called >> {calls}
while [ "$1" != -o ]; do shift; done
target=$2
{body}
"""


class Compiler:
    """A script that a test names in CXX; `calls` counts how often it was asked to compile."""

    def __init__(self, folder: Path, body: str, *, version: str = "1.0") -> None:
        folder.mkdir(exist_ok=True)
        self.command = folder / "compiler"
        self._calls = folder / "calls"
        self.command.write_text(
            _SCRIPT.format(version=version, calls=shlex.quote(str(self._calls)), body=body)
        )
        self.command.chmod(0o755)

    @property
    def calls(self) -> int:
        return len(self._calls.read_text().splitlines()) if self._calls.exists() else 0


def that_copies(
    folder: Path, library: Path, *, version: str = "1.0", seconds: float = 0
) -> Compiler:
    """What it makes of any source is `library`: compiling it anew would take seconds."""
    return Compiler(
        folder, f'sleep {seconds}\ncp {shlex.quote(str(library))} "$target"', version=version
    )


def that_compiles(folder: Path, source: str, compiler: str) -> Compiler:
    """What it makes of any source is `source`, C++, compiled by a real one."""
    folder.mkdir(exist_ok=True)
    file = folder / "other.cpp"
    file.write_text(source)
    return Compiler(
        folder, f'{shlex.quote(compiler)} -shared -fPIC {shlex.quote(str(file))} -o "$target"'
    )
