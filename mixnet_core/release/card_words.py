"""The prose of our cards: short sentences with figures from the report, names of users as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mixnet_core.model.variants import FlavourName
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.markup import in_markdown
from mixnet_core.runs.values import MeasuredOn

# So many class names are a line or two.
_NAMED = 20
_OF_FLAVOUR: dict[FlavourName, str] = {"mindcv": "MindCV", "timm": "timm", "tf": "TensorFlow"}
_IMPLEMENTATIONS: dict[FlavourName, str] = {
    "mindcv": "MindCV, <https://github.com/mindspore-lab/mindcv>",
    "timm": "pytorch-image-models, <https://github.com/huggingface/pytorch-image-models>",
    "tf": "The paper's code, <https://github.com/tensorflow/tpu/tree/master/models/official/"
    "mnasnet/mixnet>",
}


def introduction(report: Mapping[str, Any], recipe: Recipe, classes: Sequence[str]) -> str:
    """Says what the network is, what it tells apart, and what it was trained on."""
    counts = report["dataset"]["counts"]
    network = recipe.network
    start = recipe.weights.name
    begun = "from scratch" if start is None else "from the weights named in the notes"
    named = ", ".join(in_markdown(name) for name in classes[:_NAMED])
    more = f" and {len(classes) - _NAMED:,} more" if len(classes) > _NAMED else ""
    return (
        "A convolution of MixNet has depthwise kernels of several sizes side by side, each on a "
        "share of the channels: small ones see detail, large ones shape [[1](#references)]. This "
        f"is a MixNet-{network.variant.upper()} as {_OF_FLAVOUR[network.flavour]} builds it "
        f"[[2](#references)], with {network.in_channels} input channel"
        f"{'s' if network.in_channels > 1 else ''} and a stem of stride {network.stem_stride}.\n\n"
        f"It tells {len(classes):,} classes apart: {named}{more}. It was trained {begun} on "
        f"{counts['train']:,} images in {report['training']['epochs']:,} epochs. Which "
        f"checkpoint it is: {in_markdown(report['selection']['rule'])} ({counts['select']:,} other "
        "images)."
    )


def notes(report: Mapping[str, Any], recipe: Recipe) -> str:
    """Says what the figures mean and on which images they are."""
    val, given = report["val"], recipe.input
    on = MeasuredOn.model_validate(report["measured_on"])
    if on.folder is not None:
        on = on.model_copy(update={"folder": _last(on.folder)})
    channels = recipe.network.in_channels
    mean, std = (
        ", ".join(f"{value:g}" for value in values[:channels]) for values in (given.mean, given.std)
    )
    lines = [
        f"top-1 {_percent(val['top1'])} %, 95 % interval {_percent(val['top1_low'])} to "
        f"{_percent(val['top1_high'])}; top-5 {_percent(val['top5'])} %, "
        f"{_percent(val['top5_low'])} to {_percent(val['top5_high'])}; loss {val['loss']:.4f}.",
        f"Counted on {in_markdown(on.line)}.",
        *_unseen(report.get("unseen")),
        f"Expected calibration error {_percent(report['calibration']['error'])} %.",
        f"Images are read with the shorter side at {recipe.short_side} pixels "
        f"({given.interpolation}), the middle {given.image_size}x{given.image_size} cut out, mean "
        f"{mean} taken off and divided by {std}, of 0 to 255.",
        "params counts BatchNorm's statistics too. A card is a training process; batch size is its "
        "share of a step. ms/step is batch size times cards by img/s, of the training after its "
        "first step; graph compile is the time until that step was done.",
        *_acceptance(report.get("acceptance")),
        *_start(recipe),
    ]
    return "\n".join(f"- {line}" for line in lines)


def quick_start(weights: str, recipe_file: str, classes: int) -> str:
    """Gives commands that work in the folder of the card."""
    return "\n\n".join(
        (
            "### Preparation",
            "The command `mixnet` comes with the package mindspore-mixnet. The commands below are "
            "for the folder of this card; put your own images into `images/`, a folder for each "
            "class.",
            "### Prediction",
            f"```shell\nmixnet predict {weights} images/\n```",
            "### Validation",
            f"```shell\nmixnet evaluate {weights} --data images/\n```",
            "### Training",
            "The classifier is kept where the folders are this model's classes, and starts afresh "
            "where they are not.",
            f"```shell\nmixnet run {recipe_file} --weights ./{weights} --data images/ --run more"
            "\n```",
            "### Python",
            "```python\nimport mixnet_core\n\n"
            f'recipe = mixnet_core.load_recipe("{recipe_file}")\n'
            f"network = mixnet_core.build_network(recipe, classes={classes})\n"
            f'mixnet_core.load_weights(network, "{weights}")\n```',
        )
    )


def references(flavour: FlavourName) -> str:
    """Names the paper and the implementation whose conventions the weights follow."""
    return (
        "[1] M. Tan, Q. V. Le. MixConv: Mixed Depthwise Convolutional Kernels. arXiv:1907.09595, "
        f"2019.\n\n[2] {_IMPLEMENTATIONS[flavour]}"
    )


def _unseen(unseen: Mapping[str, Any] | None) -> list[str]:
    if unseen is None:
        return []
    return [
        f"On the {unseen['count']:,} images that neither training nor selection saw: top-1 "
        f"{_percent(unseen['top1'])} %, 95 % interval {_percent(unseen['top1_low'])} to "
        f"{_percent(unseen['top1_high'])}."
    ]


def _acceptance(acceptance: Mapping[str, Any] | None) -> list[str]:
    if acceptance is None:
        return []
    lines = [
        f"Demanded before publishing, and {'so' if check['ok'] else 'not so'}: "
        f"{in_markdown(check['line'])}."
        for check in acceptance["checks"]
    ]
    if acceptance["override"] is not None:
        lines.append(f"Published anyway: {in_markdown(acceptance['override'])}.")
    return lines


def _start(recipe: Recipe) -> list[str]:
    name = recipe.weights.name
    return [] if name is None else [f"Trained from the weights {in_markdown(_last(name))}."]


def _last(path: str) -> str:
    """Returns a path's last part: whose folders it lies in is nobody's who reads a card."""
    return path.rstrip("/").rpartition("/")[2] or path


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"
