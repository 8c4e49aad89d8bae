"""A card and its network as the Hugging Face hub and timm read them.

The MindSpore hub's checker allows no colon in a key of its own, which `model-index` is full of: one
front matter cannot be both hubs'. So a release has two cards with one body.

Keys: huggingface/hub-docs, `modelcard.md`; `config.json`: timm's `models/_hub.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from mixnet_core.recipe.recipe import Recipe
from mixnet_core.release.card import Card
from mixnet_core.release.card_text import FENCE, body
from mixnet_core.storage.yaml_files import dump_yaml

# Of the licences that the hub knows, those that people give to weights.
_LICENSES = """
    apache-2.0 mit bsd bsd-2-clause bsd-3-clause cc0-1.0 cc-by-3.0 cc-by-4.0 cc-by-sa-4.0
    cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-4.0 cc-by-nc-sa-4.0 openrail gpl-2.0 gpl-3.0 lgpl-2.1
    lgpl-3.0 agpl-3.0 mpl-2.0 unlicense isc zlib
"""
LICENSES = frozenset(_LICENSES.split())
# Names of data sets on the hub.
_DATASETS = {"imagenet": "imagenet-1k", "fashion_mnist": "fashion_mnist"}


def hub_card_text(card: Card, recipe: Recipe, counted: int, split: str) -> str:
    """Writes the card with the front matter of the Hugging Face hub.

    Args:
        counted: images that the figures are on.
        split: what stood for val.
    """
    dataset = {
        "type": _DATASETS.get(recipe.data.source, recipe.data.source),
        "name": card.train_dataset,
        "split": "validation" if split.startswith("val") else split or "validation",
        "args": {"images": counted},
    }
    metrics = [
        {"type": "accuracy", "value": round(percent / 100, 6), "name": name}
        for name, percent in (("top-1", card.top1), ("top-5", card.top5))
        if percent is not None
    ]
    front: dict[str, Any] = {
        **_license(card.license),
        "library_name": "mindspore",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "mixnet", "mindspore"],
        "metrics": ["accuracy"],
        "model-index": [
            {
                "name": card.model_name,
                "results": [
                    {
                        "task": {"type": "image-classification", "name": "Image classification"},
                        "dataset": dataset,
                        "metrics": metrics,
                    }
                ],
            }
        ],
    }
    return f"{FENCE}\n{dump_yaml(front)}{FENCE}\n\n{body(card)}"


def hub_config_text(card: Card, recipe: Recipe, classes: Sequence[str]) -> str:
    """Writes `config.json`: the network, and how its images are read.

    The architecture has timm's name where timm builds the same network; else it has a name that
    timm does not know, so that nothing loads these weights into another one.
    """
    network, given = recipe.network, recipe.input
    channels, side = network.in_channels, given.image_size
    of_timm = network.flavour in ("timm", "tf") and network.stem_stride == 2
    prefix = {"timm": "", "tf": "tf_"}.get(network.flavour, "") if of_timm else None
    name = f"mixnet_{network.variant}"
    data = {
        "architecture": f"{prefix}{name}" if prefix is not None else f"{network.flavour}_{name}",
        "num_classes": len(classes),
        "num_features": 1536,
        "pretrained_cfg": {
            "input_size": [channels, side, side],
            "fixed_input_size": False,
            "interpolation": given.interpolation,
            "crop_pct": given.crop_pct,
            "crop_mode": "center",
            # Shares of the white that timm knows; ours are of 0 to 255.
            "mean": [value / 255 for value in given.mean[:channels]],
            "std": [value / 255 for value in given.std[:channels]],
            "num_classes": len(classes),
            "label_names": list(classes),
            "first_conv": "conv_stem",
            "classifier": "classifier",
            **({"license": card.license} if card.license else {}),
        },
        "model_args": {"in_chans": channels} if channels != 3 else {},
        "mixnet": {
            "variant": network.variant,
            "flavour": network.flavour,
            "in_channels": channels,
            "stem_stride": network.stem_stride,
            "short_side": recipe.short_side,
        },
    }
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def _license(text: str) -> dict[str, str]:
    if not text:
        return {}
    plain = re.sub(r"[\s_]+", "-", text.strip().lower())
    apache = re.fullmatch(r"apache-?(?:license-?)?(?:v|version-?)?2(?:\.0)?", plain)
    known = "apache-2.0" if apache else plain
    return {"license": known} if known in LICENSES else {"license": "other", "license_name": text}
