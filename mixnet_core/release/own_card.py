"""The card of a release of ours, from its report and its recipe: what they do not say stays empty.

figures         the report, which training and validation wrote
versions        the machine that training ran on, in the report
author, licence the recipe's section `card`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mixnet_core.recipe.recipe import Recipe
from mixnet_core.release.card import Asset, Card, Part, Performance, Requirement
from mixnet_core.release.card_words import introduction, notes, quick_start, references
from mixnet_core.runs.markup import in_markdown, visible
from mixnet_core.runs.summaries import rewound

# As people write them who publish models.
_DATASETS = {"imagenet": "ImageNet2012", "fashion_mnist": "Fashion-MNIST", "digits": "digits"}
_DIGEST_LETTERS = 8


def own_card(
    name: str,
    *,
    report: Mapping[str, Any],
    recipe: Recipe,
    classes: Sequence[str],
    parameters: int,
    weights: str,
    recipe_file: str,
    exports: str = "",
) -> Card:
    """Describes a release.

    Args:
        name: of the release.
        report: as `evaluate.report.data` has it.
        recipe: that it was trained by.
        classes: names in label order.
        parameters: values in the file of weights, BatchNorm's statistics included.
        weights, recipe_file: names of these files in the release's folder.
        exports: Markdown on files for other runtimes; "" where there are none.
    """
    network, machine = recipe.network, report["training"]["machine"] or {}
    versions = machine.get("packages", {})
    sha256 = report["checkpoint"]["sha256"]
    mindspore = versions.get("mindspore", "")
    backbone = f"mixnet_{network.variant}"
    dataset = train_dataset(recipe)
    top1, top5 = (100 * report["val"][figure] for figure in ("top1", "top5"))
    said = recipe.card
    return Card(
        title=name,
        model_name=name,
        backbone_name="mixnet",
        module_type="cv",
        fine_tunable=True,
        model_version=sha256[:_DIGEST_LETTERS],
        train_dataset=dataset,
        top1=top1,
        top5=top5,
        author=_plain(said.author),
        update_time=(report["training"]["finished"] or "").partition("T")[0],
        repo_link=_plain(said.repo_link),
        user_id=_plain(said.user_id),
        used_for="inference/transfer-learning",
        mindspore_version=mindspore,
        assets=(Asset(file_format=weights.rpartition(".")[2], link=weights, sha256=sha256),),
        license=_plain(said.license),
        summary=f"MixNet-{network.variant.upper()} for {len(classes):,} classes of {dataset}, "
        f"{recipe.input.image_size} pixels",
        network={
            "variant": network.variant,
            "flavour": network.flavour,
            "num-classes": str(len(classes)),
            "in-channels": str(network.in_channels),
            "stem-stride": str(network.stem_stride),
        },
        requirements=(
            Requirement(
                mindspore=mindspore,
                ascend_driver=machine.get("ascend_driver", ""),
                firmware=machine.get("ascend_firmware", ""),
                cann=machine.get("cann", ""),
            ),
        ),
        performance=(
            _performance(backbone, report, recipe, parameters, weights, recipe_file, top1, top5),
        ),
        body=(
            Part(text=f"# MixNet-{network.variant.upper()}"),
            Part(
                text="> [MixConv: Mixed Depthwise Convolutional Kernels]"
                "(https://arxiv.org/abs/1907.09595)"
            ),
            Part(text="## Requirements"),
            Part(table="requirements"),
            Part(text="## Introduction"),
            Part(text=introduction(report, recipe, classes)),
            Part(text="## Performance"),
            Part(text=_measured(report, machine, recipe)),
            Part(table="performance"),
            Part(text="### Notes"),
            Part(text=notes(report, recipe)),
            Part(text="## Quick Start"),
            Part(text=quick_start(weights, recipe_file, len(classes))),
            *((Part(text="### Other runtimes"), Part(text=exports)) if exports else ()),
            Part(text="## References"),
            Part(text=references(network.flavour)),
        ),
    )


def train_dataset(recipe: Recipe) -> str:
    """Names what a recipe trains on, without a colon, which the hub's checker refuses."""
    data = recipe.data
    known = _DATASETS.get(data.source)
    if known is not None:
        return known
    folder = (data.path or "").rstrip("/").rpartition("/")[2]
    return " ".join(visible(folder).replace(":", " ").split()) or data.source


def _performance(
    backbone: str,
    report: Mapping[str, Any],
    recipe: Recipe,
    parameters: int,
    weights: str,
    recipe_file: str,
    top1: float,
    top5: float,
) -> Performance:
    training, batch = report["training"], report["batch"]["global"]
    # 0.0 where the attempt that finished took no step of its own.
    speed = training["images_per_second"] or None
    side = recipe.input.image_size
    return Performance(
        model_name=backbone,
        params=parameters / 1e6,
        cards=training["ranks"],
        batch_size=batch // training["ranks"],
        resolution=f"{side}x{side}",
        graph_compile=training["graph_compile_seconds"],
        step=1000 * batch / speed if speed else None,
        speed=speed,
        top1=top1,
        top5=top5,
        recipe=f"[yaml]({recipe_file})",
        weight=f"[weights]({weights})",
    )


def _measured(report: Mapping[str, Any], machine: Mapping[str, Any], recipe: Recipe) -> str:
    training = report["training"]
    ranks = f"{training['ranks']} process{'es' if training['ranks'] > 1 else ''}"
    device = machine.get("device") or recipe.devices.target
    processor = machine.get("processor")
    on = f"{device} ({in_markdown(processor)})" if processor and device == "CPU" else device
    precision = {"O0": "float32"}.get(recipe.precision.amp_level)
    how = precision or f"mixed precision {recipe.precision.amp_level}"
    if training.get("rewinds"):
        how += f"; it {rewound(training['rewinds'], len(training['steps_left_out']))}"
    return (
        f"Trained on {on} in {ranks}, graph mode, {how}. The accuracy was counted once, on images "
        "that the checkpoint was not selected by. An empty cell was not measured."
    )


def _plain(text: str | None) -> str:
    return " ".join(visible(text or "").split())
