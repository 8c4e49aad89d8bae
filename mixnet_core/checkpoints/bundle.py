"""A checkpoint bundle on disk: one folder that is complete or not there.

    step-00000120/
        weights.ckpt     the network's parameters, in MindCV's names
        optimizer.ckpt   momenta and the optimizer's step counter
        bundle.json      step, epoch, and the digest and size of the two

The numbers are read from `bundle.json`; the folder's name is for people and for sorting.
This module does not import MindSpore, so a flow can list bundles.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from mixnet_core.errors import InputError, IntegrityError
from mixnet_core.files import ASIDE_PREFIX, folder_aside, read_json, sha256_of, write_json
from mixnet_core.values import Checkpoint, Value

WEIGHTS, OPTIMIZER, CONTENTS = "weights.ckpt", "optimizer.ckpt", "bundle.json"

log = logging.getLogger(__name__)


class Contents(Value):
    """What `bundle.json` says.

    Attributes:
        loss: mean over the finished epoch's steps, on rank 0.
        files: name -> hex sha256.
    """

    format: Literal[1]
    step: int
    epoch: int
    loss: float
    files: dict[str, str]


def write_bundle(
    folder: Path, *, step: int, epoch: int, loss: float, save: Callable[[Path], None]
) -> Checkpoint:
    """Has `save` put WEIGHTS and OPTIMIZER into a folder aside, seals and renames it.

    Raises:
        MachineError: the disk is full or not writable; earlier bundles are untouched.
    """
    target = folder / f"step-{step:08d}"
    with folder_aside(target) as aside:
        save(aside)
        digests = {path.name: sha256_of(path) for path in sorted(aside.iterdir())}
        contents = Contents(format=1, step=step, epoch=epoch, loss=loss, files=digests)
        write_json(aside / CONTENTS, contents.model_dump())
    return Checkpoint(path=str(target), step=step, epoch=epoch, weights_sha256=digests[WEIGHTS])


def read_contents(bundle: Path) -> Contents:
    """Raises IntegrityError if the bundle is incomplete or any byte differs from what was saved."""
    try:
        contents = Contents.model_validate(read_json(bundle / CONTENTS))
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


def complete_bundles(folder: Path) -> list[Checkpoint]:
    """Verified bundles, oldest first. A damaged one is left out, with a warning."""
    found = []
    for bundle in sorted(folder.glob("step-*")):
        try:
            contents = read_contents(bundle)
        except IntegrityError as error:
            log.warning("checkpoint passed over: %s", error)
            continue
        found.append(
            Checkpoint(
                path=str(bundle),
                step=contents.step,
                epoch=contents.epoch,
                weights_sha256=contents.files[WEIGHTS],
            )
        )
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def prune(folder: Path, keep: int) -> None:
    """Deletes all but the newest `keep` complete bundles, and what crashes left aside.

    Call it after the newest is complete, from the one process that writes here. Damaged ones
    go too: a later one, left from before a resume, would otherwise push out those just written.
    """
    kept = {checkpoint.path for checkpoint in complete_bundles(folder)[-keep:]}
    for bundle in folder.glob("step-*"):
        if str(bundle) not in kept:
            shutil.rmtree(bundle)
    for leftover in folder.glob(f"{ASIDE_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)
