"""One line on what the figures were measured with."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

from benchmarks.options import threads

# Those that decide which instructions the cases use.
FEATURES = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve")
PACKAGES = ("mindspore", "numpy", "openvino", "onnxruntime", "torch")


def cpu_line() -> str:
    """Returns cores, model and instructions."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = _first(info, "model name") or platform.machine()
    flags = (_first(info, "flags") or _first(info, "Features")).split()
    found = [feature for feature in FEATURES if feature in flags]
    return f"{threads()} cores ({model}; {' '.join(found)})"


def machine_line() -> str:
    versions = [f"{name} {_version(name)}" for name in PACKAGES if _version(name)]
    return (
        f"{cpu_line()}, {platform.system()}, "
        f"Python {platform.python_version()}, {', '.join(versions)}"
    )


def _first(info: str, key: str) -> str:
    """The value of the first line of that key; empty if there is none."""
    for line in info.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
