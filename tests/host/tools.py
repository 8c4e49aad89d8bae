"""Stands in for Ascend's tools with programs that print their published output."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

SAMPLES = Path(__file__).parent / "samples"


def sample(name: str) -> str:
    return (SAMPLES / name).read_text(encoding="utf-8")


def put_program(
    folder: Path, name: str, answers: Mapping[str, str], *, otherwise: str = ""
) -> None:
    """Writes a program that answers by its arguments, joined by spaces.

    Args:
        answers: how the arguments begin -> what it prints; the first that fits.
        otherwise: a line of shell for all others.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cases = []
    for number, (words, text) in enumerate(answers.items()):
        (folder / f"{name}.{number}").write_text(text, encoding="utf-8")
        cases.append(f'  "{words}"*) cat "{folder}/{name}.{number}";;')
    body = "\n".join(
        ["#!/bin/sh", 'case "$*" in', *cases, f"  *) {otherwise or 'exit 1'};;", "esac"]
    )
    (folder / name).write_text(body + "\n", encoding="utf-8")
    (folder / name).chmod(0o755)


def put_ascend(root: Path, driver: str, firmware: str, toolkit: str = "") -> Path:
    """Lays out /usr/local/Ascend below a root with samples; "": none. Returns the root."""
    folder = root / "usr" / "local" / "Ascend"
    for place, name in (
        ("driver/version.info", driver),
        ("firmware/version.info", firmware),
        ("cann/aarch64-linux/ascend_toolkit_install.info", toolkit),
    ):
        if name:
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_text(sample(name), encoding="utf-8")
    return root
