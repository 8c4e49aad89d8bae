"""A checkpoint bundle on disk: one folder that is complete or not there.

    step-00000120/
        weights.ckpt     the network's parameters, in MindCV's names
        ema.ckpt         their moving averages, where the recipe asks for them
        optimizer.ckpt   momenta, the optimizer's and the average's counters, the loss scale
        bundle.json      where training stood, how it was divided, every file's digest

Nothing else is needed to go on bit for bit: data order, augmentation and dropout are functions of
seed, epoch, step and rank, or virtual rank, and the metrics log is cut off at the step.
The numbers are read from `bundle.json`; the folder's name is for people and for sorting.
This module does not import MindSpore, so a flow can list bundles.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from mixnet_core.errors import InputError, IntegrityError
from mixnet_core.runs.values import WEIGHTS_FILE, Checkpoint, Value
from mixnet_core.storage.files import (
    folder_aside,
    os_errors_explained,
    read_json,
    sha256_of,
    write_json,
)

WEIGHTS, AVERAGES, OPTIMIZER = WEIGHTS_FILE, "ema.ckpt", "optimizer.ckpt"
CONTENTS = "bundle.json"
# What a damaged bundle's name begins with once it was set aside.
DAMAGED_PREFIX = "damaged-"

log = logging.getLogger(__name__)


class Mean(Value):
    """Holds the mean of a number of values, and takes further ones by `+`.

    Attributes:
        total: the values' sum, in float64.
        count: how many they are.
    """

    total: float = 0.0
    count: int = 0

    def __add__(self, value: float) -> Mean:
        return Mean(total=self.total + value, count=self.count + 1)

    @property
    def value(self) -> float | None:
        """Returns the mean; None as long as there are no values."""
        return self.total / self.count if self.count else None


class Position(Value):
    """Says where training stands; losses are rank 0's, or all virtual ranks' mean, in nats.

    Attributes:
        step: optimizer steps done.
        epoch: epochs done.
        epoch_step: steps done of the running epoch; 0 at an epoch's end.
        epoch_loss: the mean over the running epoch so far.
        window_loss: the mean since the last "step" row of the metrics.
        loss: the mean over the last whole epoch; None before there is one.
        best_loss: the lowest such mean so far.
        chance_epochs: whole epochs in a row, up to here, that were no better than guessing, and
            whose loss did not fall either.
    """

    step: int = 0
    epoch: int = 0
    epoch_step: int = 0
    epoch_loss: Mean = Mean()
    window_loss: Mean = Mean()
    loss: float | None = None
    best_loss: float | None = None
    chance_epochs: int = 0


class Division(Value):
    """Says how a run's computation is laid out: laid out otherwise, the same run rounds otherwise.

    Attributes:
        ranks: processes that train together; virtual ones where the recipe names them, which
            compute the same on however many processes.
        accumulation: micro-batches per optimizer step on each of those.
        threads: CPU threads of each rank.
        operators: "plain" or "native", as `model.native.choice.Operators`.
        target: the device, as `recipe.Devices.target`.
        mindspore: MindSpore's version.
    """

    ranks: int
    accumulation: int
    threads: int
    operators: str
    target: str
    mindspore: str

    def changes(self, now: Division) -> list[str]:
        """Lists what differs in `now`: "ranks 2 -> 3"; empty if the same bits are to be expected.

        Args:
            now: the division of the attempt that goes on.
        """
        before, after = self.model_dump(), now.model_dump()
        return [
            f"{name} {before[name]} -> {after[name]}"
            for name in before
            if before[name] != after[name]
        ]


class Contents(Value):
    """Holds what `bundle.json` says.

    Attributes:
        format: of the file; format 1 is read as this one.
        position: where training stood.
        division: None where an earlier version wrote it, at an epoch's end.
        files: name -> hex sha256.
    """

    format: Literal[2]
    position: Position
    division: Division | None
    files: dict[str, str]

    def changes(self, now: Division) -> list[str]:
        """Lists what `now` computes otherwise than the attempt that wrote the bundle.

        Args:
            now: the division of the attempt that goes on.
        """
        return self.division.changes(now) if self.division else ["begun by an earlier version"]


class NewestBundle(NamedTuple):
    """Names the bundle that training resumes from.

    Attributes:
        path: its folder; None if training starts from the beginning.
        step: optimizer steps done in it; 0 if there is none.
        damaged: names of the newer bundles that were damaged, oldest first; they are kept with
            DAMAGED_PREFIX before their names.
    """

    path: Path | None
    step: int
    damaged: tuple[str, ...]


def bundle_folder(folder: Path, step: int) -> Path:
    """Returns the folder of a step's bundle.

    Args:
        folder: of the run's checkpoints.
        step: optimizer steps done.
    """
    return folder / f"step-{step:08d}"


def write_bundle(
    folder: Path, *, position: Position, division: Division, save: Callable[[Path], None]
) -> Checkpoint:
    """Has `save` put its files into a folder aside, adds their digests, and renames the folder.

    Args:
        folder: of the run's checkpoints.
        position: where training stands.
        division: how this attempt computes.
        save: writes at least WEIGHTS and OPTIMIZER into the folder that it is given.

    Returns:
        The bundle's WEIGHTS.

    Raises:
        MachineError: the disk is full or not writable; earlier bundles are untouched.
    """
    target = bundle_folder(folder, position.step)
    with folder_aside(target) as aside:
        save(aside)
        digests = {path.name: sha256_of(path) for path in sorted(aside.iterdir())}
        contents = Contents(format=2, position=position, division=division, files=digests)
        write_json(aside / CONTENTS, contents.model_dump())
    return _checkpoint(target, contents, WEIGHTS)


def read_contents(bundle: Path) -> Contents:
    """Reads `bundle.json` and verifies every file that it lists.

    Args:
        bundle: the bundle's folder.

    Raises:
        IntegrityError: the bundle is incomplete, or any byte differs from what was saved.
    """
    try:
        contents = _parsed(read_json(bundle / CONTENTS))
    except (InputError, ValidationError) as error:
        reason = " ".join(str(error).split())
        raise IntegrityError(f"{bundle} is not a complete checkpoint: {reason}") from error
    for name in (WEIGHTS, OPTIMIZER):
        if name not in contents.files:
            raise IntegrityError(f"{bundle / CONTENTS} does not list {name}: delete {bundle}")
    for name, expected in contents.files.items():
        path = bundle / name
        try:
            got = sha256_of(path)
        except FileNotFoundError:
            got = "no file"
        if got != expected:
            raise IntegrityError(
                f"{path} is damaged: expected sha256 {expected[:8]}, got {got[:8]}; delete {bundle}"
            )
    return contents


def newest_bundle(folder: Path) -> NewestBundle:
    """Finds the bundle to resume from; sets damaged ones that are newer aside, with a warning.

    Call it from the one process that writes to the folder, before the ranks start: all of them must
    resume from the same bundle.

    Args:
        folder: of the run's checkpoints; may be missing.

    Raises:
        MachineError: a damaged bundle cannot be renamed.
    """
    damaged: list[str] = []
    for bundle in sorted(folder.glob("step-*"), key=step_of, reverse=True):
        try:
            contents = read_contents(bundle)
        except IntegrityError as error:
            aside = set_aside(bundle, DAMAGED_PREFIX)
            log.warning("checkpoint set aside as %s: %s", aside.name, error)
            damaged.insert(0, bundle.name)
            continue
        return NewestBundle(bundle, contents.position.step, tuple(damaged))
    return NewestBundle(None, 0, tuple(damaged))


def complete_bundles(folder: Path) -> list[Checkpoint]:
    """Lists the files of weights in verified bundles of whole epochs.

    A damaged bundle is left out, with a warning.

    Args:
        folder: of the run's checkpoints; may be missing.

    Returns:
        The oldest bundle's first; of each bundle its weights, then its averages if it has them.
    """
    found = []
    for bundle in sorted(folder.glob("step-*"), key=step_of):
        try:
            contents = read_contents(bundle)
        except IntegrityError as error:
            log.warning("checkpoint passed over: %s", error)
            continue
        if contents.position.epoch_step:
            continue
        found += [
            _checkpoint(bundle, contents, name)
            for name in (WEIGHTS, AVERAGES)
            if name in contents.files
        ]
    return found


def step_of(bundle: Path) -> int:
    """Reads a bundle's step from its folder's name; -1 if the name says none.

    Args:
        bundle: the bundle's folder.
    """
    digits = bundle.name.removeprefix("step-")
    return int(digits) if digits.isdigit() else -1


def is_of_whole_epoch(bundle: Path) -> bool:
    """Says whether a bundle was written at an epoch's end; False if that cannot be read.

    Its files are not verified.

    Args:
        bundle: the bundle's folder.
    """
    try:
        contents = _parsed(read_json(bundle / CONTENTS))
    except (InputError, IntegrityError, ValidationError):
        return False
    return contents.position.epoch_step == 0


def is_half_deleted(bundle: Path) -> bool:
    """Says whether `bundle.json` is gone, or a file that it lists, as after a kill while deleting.

    The files that are there are not verified.

    Args:
        bundle: the bundle's folder.
    """
    try:
        contents = _parsed(read_json(bundle / CONTENTS))
    except InputError:
        return True
    except (IntegrityError, ValidationError):
        return False
    return not all((bundle / name).is_file() for name in contents.files)


def _checkpoint(bundle: Path, contents: Contents, name: str) -> Checkpoint:
    return Checkpoint(
        path=str(bundle),
        file=name,
        step=contents.position.step,
        epoch=contents.position.epoch,
        weights_sha256=contents.files[name],
    )


def _parsed(data: Any) -> Contents:
    """Reads `bundle.json` in either format.

    Format 1 had step, epoch and loss beside the files, and no position within an epoch.
    """
    if isinstance(data, dict) and data.get("format") == 1:
        position = {key: data.get(key) for key in ("step", "epoch", "loss")}
        data = {"format": 2, "position": position, "division": None, "files": data.get("files")}
    return Contents.model_validate(data)


def set_aside(bundle: Path, prefix: str) -> Path:
    """Renames a bundle that is not to be used, for whoever wants to know what happened.

    An earlier one of the same name is deleted.

    Args:
        bundle: its folder.
        prefix: goes before its name.

    Returns:
        Its new path.

    Raises:
        MachineError: it cannot be renamed.
    """
    aside = bundle.with_name(prefix + bundle.name)
    with os_errors_explained(aside):
        shutil.rmtree(aside, ignore_errors=True)
        bundle.rename(aside)
    return aside
