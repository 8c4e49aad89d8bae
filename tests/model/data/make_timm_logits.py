"""Writes timm_logits.json: run it where torch and timm are installed. Made with timm 1.0.31.

Weights and images by the rule of `tests/model/reference.py`, images 64 x 64, in
evaluation mode and float64.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import timm
import torch

HERE = Path(__file__).parent
MODELS = [*(f"mixnet_{v}" for v in ("s", "m", "l", "xl")), *(f"tf_mixnet_{v}" for v in "sml")]


def kinds(variant: str) -> dict[str, str]:
    tensors = json.loads((HERE / f"timm_mixnet_{variant}.json").read_text())["tensors"]
    return {name: kind for name, _, kind in tensors}


def weight(name: str, shape: tuple[int, ...], kind: str) -> np.ndarray:  # type: ignore[type-arg]
    random = np.random.RandomState(zlib.crc32(name.encode()))
    if kind in ("bn_scale", "var"):
        return 0.5 + random.rand(*shape)
    if kind == "conv":
        return random.randn(*shape) * np.sqrt(2 / np.prod(shape[1:]))
    if kind == "dense":
        return random.randn(*shape) * np.sqrt(1 / shape[1])
    return 0.1 * random.randn(*shape)


def main() -> None:
    images = np.random.RandomState(0).randn(2, 3, 64, 64).astype(np.float32)
    found = {}
    for model in MODELS:
        net = timm.create_model(model).eval()
        names = kinds(model.rpartition("_")[2])
        state = net.state_dict()
        for name, kind in names.items():
            values = weight(name, tuple(state[name].shape), kind).astype(np.float32)
            state[name].copy_(torch.from_numpy(values))
        with torch.no_grad():
            logits = net.double()(torch.from_numpy(images).double()).numpy()
        found[model] = {"logits_first8": logits[:, :8].tolist(), "logits_std": float(logits.std())}
    (HERE / "timm_logits.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
