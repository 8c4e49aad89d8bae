"""Whether a file of weights fits a network, by names and shapes, and what to say if it does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mixnet_core.checkpoints.bundle import AVERAGES
from mixnet_core.checkpoints.file_format import Shape, WeightsFile
from mixnet_core.checkpoints.training_state import OPTIMIZER, Parts, bare_names, parts_of
from mixnet_core.errors import CheckpointMismatch, InputError
from mixnet_core.model.variants import VariantName
from mixnet_core.model.weight_names import stem_widths
from mixnet_core.storage.uris import shown

# Of each variant in every flavour, BatchNorm's statistics among them.
PARAMETERS: Mapping[VariantName, int] = {"s": 347, "m": 421, "l": 421, "xl": 514}
CLASSIFIER = ("classifier.weight", "classifier.bias")

_STEM = "stem_conv.0.weight"
# What the names of a MixNet's parameters begin with.
_CELLS = ("stem_conv", "layers", "head_conv", "classifier")
_SHOWN = 3
# Of images: grey, RGB.
_CHANNELS = (1, 3)


@dataclass(frozen=True)
class SeenNetwork:
    """Describes the network that a file's names and shapes show.

    Attributes:
        variant: by its stem's width.
        num_classes: width of the classifier.
        in_channels: of the images.
        parts: the file's names, sorted.
    """

    variant: VariantName
    num_classes: int
    in_channels: int
    parts: Parts


def seen_network(file: WeightsFile) -> SeenNetwork:
    """Recognises a MixNet by its stem and its classifier.

    Both together differ between all variants. The flavour and the stem's stride do not show.

    Raises:
        CheckpointMismatch: it is no MixNet's.
    """
    path, own = shown(str(file.path)), bare_names(file.shapes, _CELLS)
    parts = _with_what_was_beside(file, parts_of(file.shapes, own))
    missing = [name for name in (_STEM, CLASSIFIER[0]) if name not in parts.weights]
    if missing and own.keys() & set(missing):
        raise CheckpointMismatch(f"{path} cannot be read: {_mixed(file, own)}")
    if missing:
        raise CheckpointMismatch(
            f"{path} has no {file.names.said(missing[0])}, so it is no MixNet's under "
            f"{'timm' if file.names.convention == 'timm' else 'MindCV'}'s names: "
            + (_of_optimizer(file, parts) or f"{_first(file)}; check the path")
        )
    stem, classifier = (file.shapes[parts.weights[name]] for name in (_STEM, CLASSIFIER[0]))
    widths = stem_widths()
    if len(stem) != 4 or stem[0] not in widths or len(classifier) != 2:
        raise CheckpointMismatch(
            f"{path} has a stem of {stem[0] if stem else 1} channels, expected one of "
            f"{sorted(widths)}: it is no MixNet's"
        )
    if stem[1] not in _CHANNELS or not classifier[0]:
        raise CheckpointMismatch(
            f"{path} is for images of {stem[1]} channels and {classifier[0]:,} classes, expected "
            "1 or 3 channels and a class or more: it cannot be used here"
        )
    return SeenNetwork(widths[stem[0]], classifier[0], stem[1], parts)


def fitting_names(
    file: WeightsFile,
    parts: Parts,
    expected: Mapping[str, Shape],
    *,
    dropped: Collection[str] = (),
    ema: bool = False,
) -> Mapping[str, str]:
    """Finds the network's parameters in a file.

    Args:
        parts: the file's names, sorted for this network.
        expected: name in the network -> shape.
        dropped: further names of the network, which are not asked for.
        ema: whether the moving averages are wanted.

    Returns:
        Name in the network -> name in the file, for all that is expected.

    Raises:
        InputError: the file has no averages.
        CheckpointMismatch: a parameter is missing, unknown or of another shape; it is named.
    """
    if ema:
        require_averages(file, parts)
    names = parts.averages if ema else parts.weights
    found = {inner: file.shapes[name] for inner, name in names.items() if inner not in dropped}
    found |= {name: file.shapes[name] for name in parts.unknown if name not in dropped}
    missing = [name for name in expected if name not in found]
    if missing and ema:
        raise CheckpointMismatch(
            f"{shown(str(file.path))} has no moving averages of {len(missing)} parameters, the "
            f"first is {missing[0]}: leave the averages out, their network would be incomplete"
        )
    hint = _hint(file, parts, expected) if missing else ""
    expect_match(expected, found, file.path, hint=hint, said=file.names.said)
    return names


def require_averages(file: WeightsFile, parts: Parts) -> None:
    """Makes sure that a file holds moving averages.

    Raises:
        InputError: it holds none.
    """
    if parts.averages:
        return
    beside = file.path.with_name(AVERAGES)
    said = f"{shown(str(file.path))} holds no moving averages (ema.*): leave the averages out"
    if beside.is_file() and beside != file.path:
        said += f", or give {shown(str(beside))}, which holds them"
    raise InputError(said)


def expect_match(
    expected: Mapping[str, Shape],
    found: Mapping[str, Shape],
    path: Path,
    *,
    hint: str = "",
    said: Callable[[str], str] = str,
) -> None:
    """Makes sure that names and shapes are the same.

    Args:
        hint: what to do; "": check what a network is made of.
        said: how a name is said, as in the file.

    Raises:
        CheckpointMismatch: they are not; the first ones that differ are named.
    """
    faults = [f"missing {said(name)}" for name in expected if name not in found]
    faults += [f"unexpected {shown(said(name))}" for name in found if name not in expected]
    faults += [
        f"{said(name)} has shape {found[name]}, expected {shape}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    if not faults:
        return
    first = "; ".join(faults[:_SHOWN])
    if len(faults) > _SHOWN:
        first += f"; and {len(faults) - _SHOWN} more"
    hint = hint or "check variant and flavour"
    if any(name.startswith("classifier.") for name in (f.split()[0] for f in faults)):
        hint += ", or set weights.reset_classifier for another class count"
    raise CheckpointMismatch(f"{shown(str(path))} does not fit the network: {first}; {hint}")


def _hint(file: WeightsFile, parts: Parts, expected: Collection[str]) -> str:
    """Says what to do about a file that lacks parameters; "" if nothing explains it."""
    own = bare_names(file.shapes, {name.partition(".")[0] for name in expected})
    if any(name in expected and name not in parts.weights for name in own):
        return _mixed(file, own)
    if parts.weights:
        return _of_optimizer(file, parts)
    return f"check variant and flavour, and the path: {_first(file)}"


def _mixed(file: WeightsFile, own: Mapping[str, str]) -> str:
    """Says that not all of a network's parameters carry the same before their names."""
    cells = {inner.partition(".")[0] for inner in own}
    prefixes = {name[: -len(inner)] for name in file.shapes for inner in bare_names([name], cells)}
    places = " and ".join(f"under {shown(item)}" if item else "plain" for item in sorted(prefixes))
    return (
        f"its parameters stand in it {places}, expected one network whose names are alike: save "
        "the one that is meant"
    )


def _of_optimizer(file: WeightsFile, parts: Parts) -> str:
    """Says that a file is an optimizer's: it keeps trainable weights too, but no statistics."""
    statistics = any(name.endswith(".moving_mean") for name in parts.weights)
    if statistics or not (parts.left_out[OPTIMIZER] or "global_step" in file.shapes):
        return ""
    return (
        "it holds an optimizer's state and no BatchNorm statistics: give the checkpoint that was "
        "saved with it, in MindCV MODEL-EPOCH_STEP.ckpt or MODEL_best.ckpt"
    )


def _first(file: WeightsFile) -> str:
    first = next(iter(file.shapes), "not there")
    return f"its first parameter is {shown(file.stored(first))}"


def _with_what_was_beside(file: WeightsFile, parts: Parts) -> Parts:
    return replace(parts, left_out=Counter(parts.left_out) + Counter(file.left_out))
