"""Weights that a user names by a path: a file, or the folder of a release that was copied."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mixnet_core.checkpoints.bundle import CONTENTS, WEIGHTS
from mixnet_core.checkpoints.file_format import read_format
from mixnet_core.checkpoints.fit import SeenNetwork, seen_network
from mixnet_core.errors import InputError
from mixnet_core.release import manifest
from mixnet_core.release.origin import Origin, copied_release, origin_of, released_file
from mixnet_core.release.told import Told, told_of
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.storage.files import os_errors_explained, sha256_of
from mixnet_core.storage.uris import shown


@dataclass(frozen=True)
class LocalWeights:
    """Describes a file of weights on this machine.

    Attributes:
        path: absolute.
        sha256: hex, of the whole file as it is now.
        suffix: that its format has.
        network: what its shapes show.
        origin: the release or the run that it lies in; None: neither.
        told: what is known of it otherwise.
    """

    path: Path
    sha256: str
    suffix: str
    network: SeenNetwork
    origin: Origin | None
    told: Told

    @property
    def name(self) -> str:
        """Returns the file's name, for people."""
        return self.path.name


def local_weights(path: Path) -> LocalWeights:
    """Looks at a file of weights, or at the one in a copied release's folder.

    Raises:
        InputError: there is none, or it is another program's.
        IntegrityError: it is damaged, or not what its release states.
        CheckpointMismatch: it is no MixNet's.
        MachineError: it cannot be read.
    """
    path = path.expanduser().absolute()
    with os_errors_explained(path, "read"):
        is_folder = path.is_dir()
    file = _in_folder(path) if is_folder else path
    found = read_format(file)
    network = seen_network(found)
    with os_errors_explained(file, "read"):
        sha256 = sha256_of(file)
    origin = origin_of(file, sha256)
    told = Told() if origin else told_of(found, sha256, network.variant)
    return LocalWeights(file, sha256, found.suffix, network, origin, told)


def _in_folder(folder: Path) -> Path:
    release = copied_release(folder)
    if release is not None:
        stated = release.files[manifest.WEIGHTS]
        file = released_file(folder, stated)
        if file is None:
            raise InputError(
                f"{shown(str(folder))} has the {manifest.MANIFEST} of release {release.name}, and "
                f"not its weights: copy {stated.name} there too"
            )
        return file
    if (folder / CONTENTS).is_file():
        said = f"a checkpoint's folder: give the file of weights in it, as {WEIGHTS}"
    elif RunDir(folder).recipe.is_file():
        said = "a run's folder: give the name of its release, or a file below its checkpoints/"
    else:
        said = f"a folder without {manifest.MANIFEST}: give a file, or the folder of a release"
    raise InputError(f"{shown(str(folder))} is {said}")
