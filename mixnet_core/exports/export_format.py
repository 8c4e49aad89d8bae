"""What every format of an export does: writes its files, and loads them again in its own runtime.

Letters: N images, S pixels of `Input.image_size`, C channels, K classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib import util
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from mixnet_core.errors import MachineError
from mixnet_core.exports.exportable import Exportable
from mixnet_core.recipe.sections import Network

Pixels = NDArray[np.uint8]
Logits = NDArray[np.float32]
Calibration = Callable[[], Pixels]
"""Returns training images, (N, S, S, C) uint8."""


class Runtime(Protocol):
    """Computes logits from an exported file.

    Attributes:
        name: package, version, device, precision.
    """

    name: str

    @property
    def said(self) -> Mapping[str, str] | None:
        """Returns what the file says of itself, as `exports.metadata`; None: it has no room."""

    def logits(self, pixels: Pixels) -> Logits:
        """Returns (N, K) for (N, S, S, C); images are as evaluation reads them, not normalised."""


class ExportFormat(ABC):
    """Describes a format as one file of `exports.formats` offers it; the file's name is its name.

    Attributes:
        files: role in a release -> name in a folder of exports.
        packages: what has to be installed: name to import -> name to install.
        title: what it is, in a few words.
        tool: for a format of several files, whose names matter: what looks for them.
        parent: the float32 format that a quantised one is judged against.
        kept_float: for a quantised one, which layers are not rounded.
    """

    files: ClassVar[dict[str, str]]
    packages: ClassVar[dict[str, str]] = {}
    title: ClassVar[str]
    tool: ClassVar[str] = ""
    parent: ClassVar[str | None] = None
    kept_float: ClassVar[str] = ""

    def check(self, name: str, network: Network) -> None:
        """Raises InputError where a network has no such form.

        Args:
            name: what to call it.
        """
        return

    def require(self, name: str) -> None:
        """Makes sure that what it needs is installed.

        Args:
            name: of this format.

        Raises:
            MachineError: something is not.
        """
        missing = [pip for module, pip in self.packages.items() if util.find_spec(module) is None]
        if missing:
            raise MachineError(
                f"--to {name} needs {' and '.join(missing)}, which "
                f"{'is' if len(missing) == 1 else 'are'} not installed: run `pip install "
                f"{' '.join(missing)}`"
            )

    @abstractmethod
    def write(self, item: Exportable, folder: Path, calibration: Calibration) -> None:
        """Writes its files into a folder that is aside.

        Args:
            calibration: for a quantised one.
        """

    @abstractmethod
    def open(self, item: Exportable, folder: Path, *, threads: int) -> Runtime:
        """Loads what `write` left, by nothing but the files where the runtime allows it."""

    def paths(self, folder: Path) -> dict[str, Path]:
        """Returns role -> path."""
        return {role: folder / name for role, name in self.files.items()}
