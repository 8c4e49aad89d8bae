"""`config.json` beside weights of timm's names, as timm and the Hugging Face hub read it.

Its form: timm's `models/_hub.py`, `load_model_config_from_hf`. Mean and std are of pixels in 0..1.
"""

from __future__ import annotations

from typing import Any

from mixnet_core.exports.exportable import Exportable
from mixnet_core.model.variants import VARIANTS


def timm_config(item: Exportable) -> dict[str, Any]:
    """Returns the document as JSON values, for a network that timm has."""
    network, given = item.recipe.network, item.recipe.input
    channels, prefix = network.in_channels, "tf_" if network.flavour == "tf" else ""
    config: dict[str, Any] = {
        "architecture": f"{prefix}mixnet_{network.variant}",
        "num_classes": item.width,
        "num_features": VARIANTS[network.variant].head_channels,
        "global_pool": "avg",
        "model_args": {"in_chans": channels},
        "pretrained_cfg": {
            "tag": item.name,
            "custom_load": False,
            "input_size": [channels, given.image_size, given.image_size],
            "fixed_input_size": False,
            "interpolation": given.interpolation,
            "crop_pct": given.crop_pct,
            "crop_mode": "center",
            "mean": [value / 255 for value in given.mean[:channels]],
            "std": [value / 255 for value in given.std[:channels]],
            "num_classes": item.width,
            "first_conv": "conv_stem",
            "classifier": "classifier",
        },
    }
    if item.classes is not None:
        config["label_names"] = list(item.classes)
    return config
