"""Compiles the native operators into a wheel, for each kind of CPU of one machine.

All else is in pyproject.toml. `MIXNET_WHEEL_MACHINE=aarch64 CXX=aarch64-linux-gnu-g++` makes the
wheel of another machine. Without a compiler the wheel has no operators and is for any machine: they
are compiled where they are used, as in a checkout.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

NATIVE = Path("mixnet_core", "model", "native")
MACHINE = os.environ.get("MIXNET_WHEEL_MACHINE") or platform.machine()
COMPILER = shlex.split(os.environ.get("CXX") or "g++")


def levels_module() -> ModuleType:
    """Reads the one file that says for which CPUs: the package cannot be imported here."""
    spec = importlib.util.spec_from_file_location(
        "levels", Path(__file__).parent / NATIVE / "levels.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def can_compile() -> bool:
    return sys.platform == "linux" and shutil.which(COMPILER[0]) is not None


class BuildPy(build_py):
    """Puts the operators beside their sources, in what is built and never in the checkout."""

    def run(self) -> None:
        super().run()
        if self.editable_mode or not can_compile():
            return
        levels, sources = levels_module(), Path(__file__).parent / NATIVE
        chosen = [level for level in levels.LEVELS if level.machine == MACHINE]
        folder = Path(self.build_lib) / NATIVE / levels.FOLDER
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        known = {}
        for level in chosen:
            target = folder / f"{level.name}.so"
            files = map(str, levels.sources_in(sources))
            command = [*COMPILER, *levels.flags_for(level.name), "-s", *files, "-o", str(target)]
            subprocess.run(command, check=True)
            known[target.name] = hashlib.sha256(target.read_bytes()).hexdigest()
        record = {"sources": levels.digest_of_sources(sources), "libraries": known}
        (folder / levels.RECORD).write_text(json.dumps(record, indent=2) + "\n")


class BdistWheel(bdist_wheel):
    """Names the machine that the operators are for; a wheel without any is for all."""

    def get_tag(self) -> tuple[str, str, str]:
        if not can_compile():
            return super().get_tag()
        return "py3", "none", f"linux_{MACHINE}"


class WithOperators(Distribution):
    """Has what is compiled, which belongs where platforms are told apart."""

    def has_ext_modules(self) -> bool:
        return can_compile()


setup(cmdclass={"build_py": BuildPy, "bdist_wheel": BdistWheel}, distclass=WithOperators)
