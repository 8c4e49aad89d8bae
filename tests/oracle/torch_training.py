"""What a step of training is supposed to compute, in PyTorch: `torch_training.py REQUEST RESULT`.

Runs in the environment of `make oracle` and imports nothing of this project. Written from the
papers and from what MindCV documents; g is the gradient, p a parameter, t a step from 1:

    loss        cross-entropy with label smoothing, arXiv:1512.00567, section 7: the target is
                1 - s of one-hot and s of uniform; mean over a micro-batch. A mixed batch has
                `share` of an image's own loss and the rest of that of its partner from the end.
    g           mean over micro-batches
    clipping    g min(1, longest / norm), the norm over all parameters
    momentum    v = mu v + (g + decay p);  p = p - rate v
    nesterov    the same v;  p = p - rate ((g + decay p) + mu v)
    adamw       arXiv:1711.05101, algorithm 2; epsilon 1e-8 beside the corrected root
    BatchNorm   by the micro-batch's mean and biased variance, epsilon 1e-5
    statistics  s = 0.9 s + 0.1 of the micro-batch's, of the variance the unbiased one
    averages    of parameters and statistics: a = d a + (1 - d) p, d = decay (1 - exp(-t / 2000)),
                mindcv/utils/train_step.py

That MindSpore's statistics take the unbiased variance its documentation does not say; NumPy does:
`tests/model/test_batch_norm.py`.

Files are .npz. A request holds the case as JSON ("case"), start values ("start/NAME") and a row for
each step and micro-batch of "images", "labels" and "shares". A result holds "losses" and "norms", a
number each step, "value/NAME" and "average/NAME".
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_mixnet import logits

STATISTICS = ("moving_mean", "moving_variance")
Values = dict[str, Tensor]


class Part(NamedTuple):
    """A micro-batch: images (N, 3, S, S), labels (N,), and what share of its own a row keeps."""

    images: Tensor
    labels: Tensor
    share: float


class Formulas:
    """Each of them one method, so that `torch_faults` can put a wrong one in its place.

    Args:
        case: variant, optimizer, momentum, decay, clip_norm (or null), smoothing, ema_decay,
            averaged_before: updates that the averages had.
    """

    def __init__(self, case: dict[str, Any], start: Values) -> None:
        self.case = case
        self.values = {name: value.clone() for name, value in start.items()}
        self.trained = [name for name in start if not name.endswith(STATISTICS)]
        self.averages = {name: value.clone() for name, value in start.items()}
        self.first = {name: torch.zeros_like(start[name]) for name in self.trained}
        self.second = {name: torch.zeros_like(start[name]) for name in self.trained}

    def step(self, t: int, rate: float, parts: list[Part]) -> tuple[float, float]:
        """Moves everything; returns the mean loss before and the gradient's norm."""
        computed = [self.loss_and_gradient(part) for part in parts]
        gradient = self.over_parts([gradient for _, gradient in computed])
        norm = _norm(gradient.values())
        for name, g in self.clipped(gradient).items():
            self.values[name] = self.moved(t, rate, name, g)
        for name, average in self.averages.items():
            keep = self.kept(t)
            self.averages[name] = keep * average + (1 - keep) * self.values[name]
        return sum(loss for loss, _ in computed) / len(parts), norm

    def loss_and_gradient(self, part: Part) -> tuple[float, Values]:
        for name in self.trained:
            self.values[name].requires_grad_()
        out = logits(self.case["variant"], self.values, part.images, self.batch_norm)
        loss = part.share * self.loss(out, part.labels)
        if part.share < 1:
            loss = loss + (1 - part.share) * self.loss(out, part.labels.flip(0))
        gradients = torch.autograd.grad(loss, [self.values[name] for name in self.trained])
        self.values = {name: value.detach() for name, value in self.values.items()}
        return float(loss.detach()), dict(zip(self.trained, gradients, strict=True))

    def loss(self, out: Tensor, labels: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(
            out, labels, label_smoothing=self.case["smoothing"]
        )

    def batch_norm(self, name: str, x: Tensor) -> Tensor:
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        unbiased = x.var((0, 2, 3), correction=1)
        self.keep_statistic(f"{name}.moving_mean", mean.detach())
        self.keep_statistic(f"{name}.moving_variance", unbiased.detach())
        scale = self.values[f"{name}.gamma"] / (variance + 1e-5).sqrt()
        shift = self.values[f"{name}.beta"] - mean * scale
        return x * scale[:, None, None] + shift[:, None, None]

    def keep_statistic(self, name: str, new: Tensor) -> None:
        self.values[name] = 0.9 * self.values[name] + 0.1 * new

    def over_parts(self, gradients: list[Values]) -> Values:
        return {
            name: sum(gradient[name] for gradient in gradients) / len(gradients)
            for name in self.trained
        }

    def clipped(self, gradient: Values) -> Values:
        longest = self.case["clip_norm"]
        if longest is None:
            return gradient
        factor = min(1.0, longest / _norm(gradient.values()))
        return {name: g * factor for name, g in gradient.items()}

    def decay(self, name: str) -> float:
        return self.case["decay"]

    def moved(self, t: int, rate: float, name: str, g: Tensor) -> Tensor:
        p, mu = self.values[name], self.case["momentum"]
        if self.case["optimizer"] == "adamw":
            update = self.adam(t, name, g) + self.decay(name) * p
            return p - rate * update
        g = g + self.decay(name) * p
        v = self.first[name] = mu * self.first[name] + g
        return p - rate * (self.ahead(g, v) if self.case["optimizer"] == "nesterov" else v)

    def ahead(self, g: Tensor, v: Tensor) -> Tensor:
        return g + self.case["momentum"] * v

    def adam(self, t: int, name: str, g: Tensor) -> Tensor:
        beta1, beta2, epsilon = self.case["momentum"], 0.999, 1e-8
        m = self.first[name] = beta1 * self.first[name] + (1 - beta1) * g
        v = self.second[name] = beta2 * self.second[name] + (1 - beta2) * g * g
        return (m / (1 - beta1**t)) / ((v / (1 - beta2**t)).sqrt() + epsilon)

    def kept(self, t: int) -> float:
        updates = self.case["averaged_before"] + t
        return self.case["ema_decay"] * (1 - math.exp(-updates / 2000))


def _norm(tensors: Iterable[Tensor]) -> float:
    return math.sqrt(sum(float((tensor.double() ** 2).sum()) for tensor in tensors))


def main(request: str, result: str) -> None:
    with np.load(request) as given:
        case = json.loads(str(given["case"]))
        dtype = getattr(torch, case["dtype"])
        start = {
            key.removeprefix("start/"): torch.from_numpy(given[key]).to(dtype)
            for key in given.files
            if key.startswith("start/")
        }
        images = torch.from_numpy(given["images"]).to(dtype)
        labels, shares = torch.from_numpy(given["labels"]).long(), given["shares"]
    formulas = Formulas
    if case["fault"] is not None:
        from torch_faults import FAULTS

        formulas = FAULTS[case["fault"]]
    training = formulas(case, start)
    found: dict[str, NDArray[Any]] = {}
    rows = []
    for t, rate in enumerate(case["rates"], 1):
        parts = zip(images[t - 1], labels[t - 1], shares[t - 1].tolist(), strict=True)
        rows.append(training.step(t, rate, [Part(*part) for part in parts]))
    found["losses"], found["norms"] = np.array(rows).T
    found |= {f"value/{name}": value.numpy() for name, value in training.values.items()}
    found |= {f"average/{name}": value.numpy() for name, value in training.averages.items()}
    np.savez(result, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
