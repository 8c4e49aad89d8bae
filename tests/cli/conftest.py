from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from mixnet_core.cli.app import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def mixnet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in this process: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mixnet", *arguments])
        with pytest.raises(SystemExit) as done:
            main()
        said = capsys.readouterr()
        return int(done.value.code or 0), said.out, said.err

    return run
