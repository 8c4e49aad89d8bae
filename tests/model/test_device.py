from __future__ import annotations

import subprocess
import sys


def test_a_device_that_is_not_there_is_a_fault_of_the_machine_in_one_line() -> None:
    # In a process of its own, which may choose a device once. The wheels are for CPU and Ascend.
    program = (
        "from mixnet_core.errors import MachineError\n"
        "from mixnet_core.model.device import use_device\n"
        "try:\n"
        "    use_device('GPU')\n"
        "except MachineError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    (line,) = [line for line in done.stdout.splitlines() if "devices.target" in line]
    assert line.startswith("devices.target GPU cannot be used here (Unsupported device target GPU")
    assert line.endswith("set devices.target to CPU or install the device's driver")
