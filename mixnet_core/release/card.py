"""The card of a model, as the MindSpore model hub has it: what it says, as values.

A card is a Markdown file: front matter of keys, prose in sections, and two tables. What a card does
not say is empty here, and is written empty; nothing stands in for it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

TableName = Literal["", "requirements", "performance"]


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Asset(_Said):
    """Names a file of weights.

    Attributes:
        file_format: "ckpt", "safetensors", ...
        link: an address, or a path from the card's folder.
        sha256: hex, in full or its first digits.
    """

    file_format: str = ""
    link: str = ""
    sha256: str = ""


class Requirement(_Said):
    """Names the versions that a model was made with, one row of the card's table."""

    mindspore: str = ""
    ascend_driver: str = ""
    firmware: str = ""
    cann: str = ""


class Performance(_Said):
    """Holds what was measured of one model, one row of the card's table.

    Attributes:
        params: millions, statistics of BatchNorm included.
        cards: training processes, one a device.
        batch_size: images a step on each.
        resolution: "224x224".
        jit_level: MindSpore's, as it was set.
        graph_compile: seconds.
        step: milliseconds.
        speed: images per second over all cards.
        top1, top5: percent.
        recipe, weight: Markdown.
    """

    model_name: str = ""
    params: float | None = None
    cards: int | None = None
    batch_size: int | None = None
    resolution: str = ""
    jit_level: str = ""
    graph_compile: float | None = None
    step: float | None = None
    speed: float | None = None
    top1: float | None = None
    top5: float | None = None
    recipe: str = ""
    weight: str = ""


class Part(_Said):
    """Holds a part of the card's body: prose in Markdown, or the place of one of the two tables."""

    text: str = ""
    table: TableName = ""


class Card(_Said):
    """Holds what a card says, in the order of the hub's keys.

    Attributes:
        title: the line above the front matter.
        top1, top5: percent, of the key `evaluation`.
        fine_tunable: None where it does not say.
        network: keys that the hub does not have: variant, flavour, num-classes, in-channels,
            stem-stride.
        body: what follows the front matter.
    """

    title: str = ""
    model_name: str = ""
    backbone_name: str = ""
    module_type: str = ""
    fine_tunable: bool | None = None
    model_version: str = ""
    train_dataset: str = ""
    top1: float | None = None
    top5: float | None = None
    author: str = ""
    update_time: str = ""
    repo_link: str = ""
    user_id: str = ""
    used_for: str = ""
    mindspore_version: str = ""
    assets: tuple[Asset, ...] = ()
    license: str = ""
    summary: str = ""
    network: dict[str, str] = {}
    requirements: tuple[Requirement, ...] = ()
    performance: tuple[Performance, ...] = ()
    body: tuple[Part, ...] = ()


NETWORK_KEYS = ("variant", "flavour", "num-classes", "in-channels", "stem-stride")
"""Keys of `Card.network`."""

REQUIREMENTS: dict[str, str] = {
    "mindspore": "mindspore",
    "ascend driver": "ascend_driver",
    "firmware": "firmware",
    "cann toolkit/kernel": "cann",
}
"""Heading of a column -> field of `Requirement`."""

PERFORMANCE: dict[str, str] = {
    "model name": "model_name",
    "params(M)": "params",
    "cards": "cards",
    "batch size": "batch_size",
    "resolution": "resolution",
    "jit level": "jit_level",
    "graph compile": "graph_compile",
    "ms/step": "step",
    "img/s": "speed",
    "acc@top1": "top1",
    "acc@top5": "top5",
    "recipe": "recipe",
    "weight": "weight",
}
"""Heading of a column -> field of `Performance`."""
