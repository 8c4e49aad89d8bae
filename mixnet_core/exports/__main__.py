"""Starts the job that writes and proves a format: `python -m mixnet_core.exports FOLDER`."""

from __future__ import annotations

from mixnet_core.exports.job import export
from mixnet_core.exports.request import ExportRequest
from mixnet_core.processes.child import main

if __name__ == "__main__":
    raise SystemExit(main(export, ExportRequest))
