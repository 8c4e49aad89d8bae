"""Runs a command; prints JSON: its exit code, seconds, and the peak memory of its processes.

A script with few imports, run in a process of its own: Linux counts what the starting process has
held at its peak as the started one's too, so from the benchmark itself even `true` has 100 MB.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

if __name__ == "__main__":
    began = time.perf_counter()
    code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - began
    # Of the largest of its processes, those that it waited for included; kB.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    json.dump({"code": code, "seconds": seconds, "peak_mb": peak * 1024 / 1e6}, sys.stdout)
