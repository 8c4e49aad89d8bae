"""Training steps as their formulas have them, in PyTorch's float64 and autograd.

Run by the environment of `make oracle`: `python torch_steps.py REQUEST.npz RESULT.npz`. A request
holds the case as JSON ("case"), the start ("w/NAME", under MindSpore's names), and for each step
and micro-batch images and targets ("images", "targets": steps, parts, N, ...).

Nothing of the project computes here but the network's rows of data. Written from the papers:

    loss        cross-entropy with soft targets, mean over a micro-batch
    gradient    mean over micro-batches, then clipped by its norm over all parameters
    momentum    v = mu v + (g + decay p), p = p - rate v                    arXiv:1706.02677, (9)
    nesterov    the same v, p = p - rate (g + decay p + mu v)               arXiv:1212.0901, (7)
    adamw       arXiv:1711.05101, algorithm 2
    statistics  s = 0.9 s + 0.1 batch's, the variance over N - 1, a micro-batch at a time
    averages    a = d a + (1 - d) w, d = decay (1 - exp(-step / 2000))      MindCV's train_step.py
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import torch
from torch import Tensor

from benchmarks.torch_mixnet import TorchMixNet, load_values, torch_name
from mixnet_core.model.variants import VARIANTS


class Optimizer:
    """Moves named tensors in place by one step; `case` says how."""

    def __init__(self, case: dict[str, Any], parameters: dict[str, Tensor]) -> None:
        self.case, self.parameters = case, parameters
        self.first = {name: torch.zeros_like(p) for name, p in parameters.items()}
        self.second = {name: torch.zeros_like(p) for name, p in parameters.items()}

    def step(self, t: int, gradients: dict[str, Tensor]) -> None:
        case, rate, mu = self.case, self.case["rates"][t - 1], self.case["momentum"]
        for name, p in self.parameters.items():
            g, m, v = gradients[name], self.first[name], self.second[name]
            if case["optimizer"] == "adamw":
                m.mul_(mu).add_(g * (1 - mu))
                v.mul_(0.999).add_(g * g * (1 - 0.999))
                corrected = (v / (1 - 0.999**t)).sqrt() + 1e-8
                p -= rate * (m / (1 - mu**t) / corrected + case["decay"] * p)
                continue
            g = g + case["decay"] * p
            m.mul_(mu).add_(g)
            p -= rate * (g + mu * m if case["optimizer"] == "nesterov" else m)


def clipped(gradients: dict[str, Tensor], longest: float | None) -> dict[str, Tensor]:
    if longest is None:
        return gradients
    norm = math.sqrt(sum(float((g * g).sum()) for g in gradients.values()))
    factor = min(1.0, longest / norm)
    return {name: g * factor for name, g in gradients.items()}


def main(request: str, result: str) -> None:
    given = np.load(request)
    case = json.loads(str(given["case"]))
    torch.set_default_dtype(torch.float64)
    starts = {key[2:]: given[key].astype(np.float64) for key in given.files if key[:2] == "w/"}
    net = TorchMixNet(VARIANTS[case["variant"]], case["classes"]).double().train()
    net.dropout.p = 0.0
    load_values(net, {name: torch.from_numpy(value) for name, value in starts.items()})
    state = dict(net.state_dict(keep_vars=True))
    held = {name: state[torch_name(name)] for name in starts}
    trained = {name: held[name] for name in starts if held[name].requires_grad}
    optimizer = Optimizer(case, {name: p.data for name, p in trained.items()})
    averages = {name: p.detach().clone() for name, p in held.items()}
    losses = []
    for t in range(1, len(case["rates"]) + 1):
        net.zero_grad()
        parts = len(given["images"][t - 1])
        loss = 0.0
        for images, targets in zip(given["images"][t - 1], given["targets"][t - 1], strict=True):
            logits = net(torch.from_numpy(images.astype(np.float64)))
            target = torch.from_numpy(targets.astype(np.float64))
            part = -(target * torch.log_softmax(logits, 1)).sum(1).mean() / parts
            part.backward()
            loss += float(part.detach())
        losses.append(loss)
        with torch.no_grad():
            gradients = {name: p.grad for name, p in trained.items()}
            optimizer.step(t, clipped(gradients, case["clip_norm"]))
            decay = case["ema_decay"] * (1 - math.exp(-t / 2000))
            for name, average in averages.items():
                average.mul_(decay).add_(held[name] * (1 - decay))
    np.savez(
        result,
        losses=np.array(losses),
        **{f"w/{name}": p.detach().numpy() for name, p in held.items()},
        **{f"a/{name}": average.numpy() for name, average in averages.items()},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
