"""A network at a level of mixed precision, as `recipe.sections.Precision` describes them."""

from __future__ import annotations

import atexit
import tempfile
from contextlib import chdir
from pathlib import Path

import mindspore
from mindspore import nn

from mixnet_core.storage.asides import OwnAside


def at_level(net: nn.Cell, level: str) -> nn.Cell:
    """Returns what computes at the level: the network itself, or a cell around or of its cells.

    Parameters, their names and their types stay. At O1 MindSpore writes the network's code anew
    and imports it: into a folder of its own here, which goes when the process ends. In the current
    folder, where MindSpore would put it, files of earlier processes have the same names now and
    then, and it writes over them without cutting off what was longer.

    Args:
        net: keeps its parameters.
        level: "O0", "O1", "O2" or "O3".
    """
    if level == "O0":
        return net
    if level != "O1":
        return mindspore.amp.auto_mixed_precision(net, level)
    # Compiling reads the code again, at the first step.
    code = OwnAside(Path(tempfile.gettempdir()))
    atexit.register(code.drop)
    with chdir(code.path):
        return mindspore.amp.auto_mixed_precision(net, level)
