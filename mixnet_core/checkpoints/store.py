"""Between MindSpore's parameters and files: strict loading, saving with the optimizer's state."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
from mindspore import Parameter, Tensor, nn

from mixnet_core.checkpoints.file_format import (
    Shape,
    WeightsFile,
    expect_checksum,
    read_format,
    unreadable,
)
from mixnet_core.checkpoints.fit import CLASSIFIER, expect_match, fitting_names
from mixnet_core.checkpoints.training_state import Parts, parts_of
from mixnet_core.checkpoints.values import expect_floating, read_values, with_suffix
from mixnet_core.errors import IntegrityError, JobFailed
from mixnet_core.storage.files import os_errors_explained
from mixnet_core.storage.uris import shown, shown_words


def read_parameters(path: Path) -> dict[str, Parameter]:
    """Reads parameters by name from any file that `read_format` takes; reading one runs no code.

    Args:
        path: of the file; what it is shows in its bytes, whatever its suffix says.

    Raises:
        InputError: there is no such file, or it is another program's.
        IntegrityError: it is damaged, or no file of weights.
        MachineError: it cannot be read.
    """
    return _parameters(read_format(path))


def load_weights(
    net: nn.Cell, path: Path, *, reset_classifier: bool = False, ema: bool = False
) -> Parts:
    """Loads a weights file into `net`, every name and shape exactly, or nothing at all.

    The file may have MindCV's names or timm's. What a training keeps beside the network
    (`training_state`) is left out. Whatever else is missing or unknown is an error.

    Args:
        net: the network; keeps its values if this raises.
        path: of the file.
        reset_classifier: keep the network's own classifier, whatever the file's looks like.
        ema: take the moving averages that the file holds beside the weights (`ema.*`), all of
            them, BatchNorm's statistics too, as MindCV does.

    Returns:
        What the file held.

    Raises:
        InputError: there is no such file, it is another program's, or it has no averages.
        IntegrityError: the file is damaged, or a value in it is infinite or not a number. Engines
            would give finite logits for such weights all the same: their ReLU turns NaN into 0.
        CheckpointMismatch: a parameter is missing, unknown or of another shape; it is named.
    """
    expected = {parameter.name: parameter for parameter in net.get_parameters()}
    file = read_format(path)
    parts = parts_of(file.shapes, expected)
    if reset_classifier:
        for name in CLASSIFIER:
            expected.pop(name)
    names = fitting_names(
        file,
        parts,
        _shapes(expected),
        dropped=CLASSIFIER if reset_classifier else (),
        ema=ema,
    )
    found = _parameters(file, [names[name] for name in expected])
    types = {name: str(found[names[name]].dtype) for name in expected}
    expect_floating(file, {name: "Float" in each for name, each in types.items()})
    odd = _without_finite_values({name: found[names[name]] for name in expected})
    if odd:
        raise IntegrityError(
            f"{shown(str(path))} holds values that are infinite or no numbers in {len(odd)} "
            f"parameters, the first is {odd[0]}: choose an earlier checkpoint, or train again"
        )
    for name, parameter in expected.items():
        parameter.set_data(found[names[name]])
    return parts


def optimizer_state(optimizer: nn.Optimizer, net: nn.Cell) -> dict[str, Parameter]:
    """Returns the optimizer's own parameters by name: momenta and counters.

    The weights are left out, and so are learning rates and momentum, because the recipe states
    them: resuming must not bring back others.

    Args:
        optimizer: over the network's parameters.
        net: the network.
    """
    of_net = {parameter.name for parameter in net.get_parameters()}
    return {
        parameter.name: parameter
        for parameter in optimizer.get_parameters()
        if parameter.name not in of_net
        and not parameter.name.startswith("learning_rate")
        and parameter.name != "momentum"
    }


def save_into(folder: Path, files: Mapping[str, Mapping[str, Parameter]]) -> None:
    """Writes files of named parameters into a folder that is not yet in its final place.

    MindSpore deletes a target before it writes and leaves files at mode 0400; in a folder aside the
    first does no harm, and the second is undone so that owners can move and delete their files.

    Args:
        folder: where the files go.
        files: file name -> name in the file -> parameter.

    Raises:
        MachineError: the disk is full or not writable.
        JobFailed: a value is infinite or no number; nothing is written.
    """
    for name, parameters in files.items():
        odd = _without_finite_values(parameters)
        if odd:
            raise JobFailed(
                f"{name} is not saved: {len(odd)} parameters are infinite or no numbers, the first "
                f"is {odd[0]}; lower schedule.lr, or look for what diverged before",
                retryable=False,
            )
    for name, parameters in files.items():
        path = folder / name
        rows: list[dict[str, Any]] = [{"name": n, "data": p} for n, p in parameters.items()]
        with os_errors_explained(path):
            mindspore.save_checkpoint(rows, str(path))
            path.chmod(0o644)


def restore(bundle: Path, files: Mapping[str, Mapping[str, Parameter]]) -> None:
    """Puts a verified bundle's files back into the parameters that `save_into` took them from.

    Args:
        bundle: the bundle's folder.
        files: as for `save_into`.

    Raises:
        InputError: a file is missing.
        IntegrityError: a file is not a MindSpore checkpoint.
        CheckpointMismatch: the bundle belongs to another network, optimizer or recipe.
    """
    found = {}
    for name, parameters in files.items():
        found[name] = read_parameters(bundle / name)
        _check_match(parameters, found[name], bundle / name)
    for name, parameters in files.items():
        for key, parameter in parameters.items():
            parameter.set_data(found[name][key])


def _without_finite_values(parameters: Mapping[str, Parameter]) -> list[str]:
    """Names the parameters in which not every value is finite."""
    return [name for name, p in parameters.items() if not np.isfinite(p.asnumpy()).all()]


def _check_match(expected: Mapping[str, Any], found: Mapping[str, Any], path: Path) -> None:
    """Raises CheckpointMismatch unless names and shapes are the same."""
    expect_match(_shapes(expected), _shapes(found), path)


def _shapes(parameters: Mapping[str, Any]) -> dict[str, Shape]:
    return {name: tuple(parameter.shape) for name, parameter in parameters.items()}


def _parameters(file: WeightsFile, wanted: Collection[str] | None = None) -> dict[str, Parameter]:
    """Reads a file's values.

    Args:
        wanted: names in `file.shapes`, for formats of which a part can be read; None: all.

    Raises:
        IntegrityError: they cannot be read.
    """
    if file.format != "ckpt":
        values = read_values(file, wanted)
        return {name: Parameter(Tensor(array), name=name) for name, array in values.items()}
    expect_checksum(file)
    try:
        with with_suffix(file.path, ".ckpt") as path:
            found = dict(mindspore.load_checkpoint(str(path)))
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise unreadable(file.path, shown_words(reason)) from error
    return {name: found[file.stored(name)] for name in file.shapes}
