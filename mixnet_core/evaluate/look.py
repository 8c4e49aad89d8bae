"""Tells what network a file of weights is for, by its shapes: `python -m` this module."""

from __future__ import annotations

from pathlib import Path

from mixnet_core.checkpoints.file_format import read_format
from mixnet_core.checkpoints.fit import require_averages, seen_network
from mixnet_core.errors import InputError
from mixnet_core.processes.child import main
from mixnet_core.processes.requests import LookRequest, LookResult
from mixnet_core.storage.uris import shown


def look(request: LookRequest) -> LookResult:
    """Recognises the network by its stem and its classifier.

    Both together differ between all variants.

    Raises:
        InputError: there is no such file, it is of no known kind, or without the averages asked
            for.
        CheckpointMismatch: it is no MixNet's.
        IntegrityError: it cannot be read.
    """
    path = Path(request.file)
    if path.suffix == ".onnx":
        if request.ema:
            raise InputError(f"{shown(str(path))} holds one set of weights: leave --ema out")
        # OpenVINO reads it, and with it comes MindSpore.
        from mixnet_core.evaluate.onnx_engine import read_network

        onnx = read_network(path)
        return LookResult(
            variant=None,
            num_classes=onnx.classes,
            in_channels=onnx.in_channels,
            image_size=onnx.image_size,
            said=onnx.said,
        )
    file = read_format(path)
    network = seen_network(file)
    if request.ema:
        require_averages(file, network.parts)
    return LookResult(
        variant=network.variant,
        num_classes=network.num_classes,
        in_channels=network.in_channels,
        left_out=network.parts.sentence(ema=request.ema, how="--ema"),
    )


if __name__ == "__main__":
    raise SystemExit(main(look, LookRequest))
