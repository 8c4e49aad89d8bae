"""Tells what network a file of weights is for, by its shapes: `python -m` this module."""

from __future__ import annotations

from pathlib import Path

from mixnet_core.checkpoints.store import read_parameters
from mixnet_core.errors import CheckpointMismatch, InputError
from mixnet_core.evaluate.onnx_engine import read_network
from mixnet_core.model.variants import VARIANTS, round_channels
from mixnet_core.processes.child import main
from mixnet_core.processes.requests import LookRequest, LookResult

_STEM, _CLASSIFIER = "stem_conv.0.weight", "classifier.weight"


def look(request: LookRequest) -> LookResult:
    """Recognises the network by its stem and its classifier.

    Both together differ between all variants.

    Raises:
        InputError: there is no such file, or none of a known kind.
        CheckpointMismatch: it is no MixNet's.
        IntegrityError: it cannot be read.
    """
    path = Path(request.file)
    if path.suffix == ".onnx":
        network = read_network(path)
        return LookResult(
            variant=None,
            num_classes=network.classes,
            in_channels=network.in_channels,
            image_size=network.image_size,
        )
    if path.suffix not in (".ckpt", ".safetensors"):
        raise InputError(f"{path} is no checkpoint: expected a file .ckpt, .safetensors or .onnx")
    parameters = read_parameters(path)
    if not {_STEM, _CLASSIFIER} <= parameters.keys():
        missing = _STEM if _STEM not in parameters else _CLASSIFIER
        raise CheckpointMismatch(
            f"{path} has no {missing}, so it is no MixNet's under MindCV's names: its first "
            f"parameter is {next(iter(parameters), 'not there')}; convert it, or check the path"
        )
    stem, in_channels = parameters[_STEM].shape[:2]
    widths = {round_channels(row.stem_channels * row.width): name for name, row in VARIANTS.items()}
    if stem not in widths:
        raise CheckpointMismatch(
            f"{path} has a stem of {stem} channels, expected one of {sorted(widths)}: it is no "
            "MixNet's"
        )
    return LookResult(
        variant=widths[stem],
        num_classes=parameters[_CLASSIFIER].shape[0],
        in_channels=in_channels,
    )


if __name__ == "__main__":
    raise SystemExit(main(look, LookRequest))
