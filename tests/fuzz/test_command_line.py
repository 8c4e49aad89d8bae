"""The command line, whatever is typed: a documented code, no traceback, one line, one JSON."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mixnet_core.cli.app import main
from tests.fuzz.bounds import place
from tests.fuzz.command_lines import FILES, lines
from tests.fuzz.searching import rule

_PAGE = Path(__file__).parents[2] / "docs" / "reference" / "exit-codes.md"
CODES = {int(code) for code in re.findall(r"^\| `(\d+)` \|", _PAGE.read_text(), re.MULTILINE)}


@rule(few=120, arguments=lines())
def test_a_command_ends_with_a_documented_code_and_a_line(arguments: list[str]) -> None:
    code, out, err = _called(arguments)
    assert code in CODES
    assert "Traceback" not in err
    errors = [line for line in err.splitlines() if line.startswith("mixnet: ")]
    shows_help = {"--help", "--version"} & set(arguments)
    if code:
        assert errors
        assert err.splitlines()[-1] == errors[-1]
    assert all(character.isprintable() for line in err.splitlines() for character in line)
    if "--json" in arguments and not shows_help and out:
        document = json.loads(out)
        assert ("error" in document) == bool(code)
        if code:
            assert document["error"]["message"] == errors[-1].removeprefix("mixnet: ")
    if "--json" in arguments and code:
        assert out
    assert "SECRET" not in out + err


def _called(arguments: list[str]) -> tuple[int, str, str]:
    """Calls what the command `mixnet` calls, in a folder with `FILES`."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    err = io.TextIOWrapper(
        io.BytesIO(), encoding="utf-8", errors="backslashreplace", write_through=True
    )
    with place() as folder:
        for name, content in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        with _as_in_a_shell(folder, ["mixnet", *arguments], out, err):
            try:
                main()
                code: object = 0
            except SystemExit as stopped:
                code = stopped.code or 0
    assert isinstance(code, int), code
    return code, *(stream.buffer.getvalue().decode() for stream in (out, err))  # type: ignore[attr-defined]


@contextmanager
def _as_in_a_shell(
    folder: Path, argv: list[str], out: io.TextIOWrapper, err: io.TextIOWrapper
) -> Iterator[None]:
    before = sys.argv, sys.stdout, sys.stderr, Path.cwd(), os.environ.copy()
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    sys.argv, sys.stdout, sys.stderr = argv, out, err
    os.chdir(folder)
    for name in [name for name in os.environ if name.startswith(("AWS_", "MIXNET_HOME"))]:
        del os.environ[name]
    # Nothing of the machine's, and no service to ask for an identity.
    os.environ |= {"HOME": str(folder), "AWS_EC2_METADATA_DISABLED": "true", "COLUMNS": "200"}
    try:
        yield
    finally:
        sys.argv, sys.stdout, sys.stderr = before[:3]
        os.chdir(before[3])
        os.environ.clear()
        os.environ.update(before[4])
        root.handlers = handlers
