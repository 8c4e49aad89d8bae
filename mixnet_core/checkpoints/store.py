"""Between MindSpore's parameters and files: strict loading, saving with the optimizer's state."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
from mindspore import Parameter, nn

from mixnet_core.errors import CheckpointMismatch, InputError, IntegrityError, JobFailed
from mixnet_core.storage.files import os_errors_explained

CLASSIFIER = ("classifier.weight", "classifier.bias")


def read_parameters(path: Path) -> dict[str, Parameter]:
    """Reads parameters by name from a `.ckpt` or `.safetensors` file; reading either runs no code.

    Args:
        path: of the file.

    Raises:
        InputError: there is no such file.
        IntegrityError: it is not a MindSpore checkpoint.
    """
    if not path.is_file():
        raise InputError(f"no checkpoint file at {path}: check the path")
    kind = "safetensors" if path.suffix == ".safetensors" else "ckpt"
    try:
        return dict(mindspore.load_checkpoint(str(path), format=kind))
    # safetensors' own error is a plain Exception.
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise IntegrityError(
            f"{path} is not a readable MindSpore checkpoint ({reason}): fetch or save it again"
        ) from error


def load_weights(net: nn.Cell, path: Path, *, reset_classifier: bool = False) -> None:
    """Loads a weights file into `net`, every name and shape exactly, or nothing at all.

    Args:
        net: the network; keeps its values if this raises.
        path: of the file.
        reset_classifier: keep the network's own classifier, whatever the file's looks like.

    Raises:
        InputError: there is no such file.
        IntegrityError: the file is not a MindSpore checkpoint, or a value in it is infinite or not
            a number. Engines would give finite logits for such weights all the same: their ReLU
            turns NaN into 0.
        CheckpointMismatch: a parameter is missing, unknown or of another shape; it is named.
    """
    expected = {parameter.name: parameter for parameter in net.get_parameters()}
    found = read_parameters(path)
    if reset_classifier:
        for name in CLASSIFIER:
            expected.pop(name)
            found.pop(name, None)
    _check_match(expected, found, path)
    odd = _without_finite_values(found)
    if odd:
        raise IntegrityError(
            f"{path} holds values that are infinite or no numbers in {len(odd)} parameters, the "
            f"first is {odd[0]}: choose an earlier checkpoint, or train again"
        )
    for name, parameter in expected.items():
        parameter.set_data(found[name])


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


def _check_match(expected: Mapping[str, Any], found: dict[str, Any], path: Path) -> None:
    """Raises CheckpointMismatch unless names and shapes are the same."""
    faults = [f"missing {name}" for name in expected if name not in found]
    faults += [f"unexpected {name}" for name in found if name not in expected]
    faults += [
        f"{name} has shape {tuple(found[name].shape)}, expected {tuple(parameter.shape)}"
        for name, parameter in expected.items()
        if name in found and tuple(found[name].shape) != tuple(parameter.shape)
    ]
    if not faults:
        return
    first = "; ".join(faults[:3]) + (f"; and {len(faults) - 3} more" if len(faults) > 3 else "")
    hint = "check variant and flavour"
    if any(name.startswith("classifier.") for name in (f.split()[0] for f in faults)):
        hint += ", or set weights.reset_classifier for another class count"
    raise CheckpointMismatch(f"{path} does not fit the network: {first}; {hint}")
