"""Run as a job: an epoch of training from JPEGs as a PyTorch script does it, with a DataLoader.

Pillow decodes, crops at random and mirrors in worker processes, as torchvision's transforms do; the
loss is read each step, and the epoch ends with a checkpoint of weights and optimizer.
"""

from __future__ import annotations

import math
import random
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.jobs.requests import TorchEpochJob
from benchmarks.jobs.torch_mixnet import build
from benchmarks.rounds import Measured, peak_mb
from mixnet_core.processes.child import main

_SCALE, _RATIO = (0.08, 1.0), (0.75, 4 / 3)
_TRIES = 10


class Photographs(Dataset[tuple[Tensor, int]]):
    """The JPEGs of a folder of classes, each cropped at random."""

    def __init__(self, job: TorchEpochJob) -> None:
        self._paths = sorted(Path(job.images).glob("*/*.jpg"))
        classes = sorted({path.parent.name for path in self._paths})
        self._labels = {name: label for label, name in enumerate(classes)}
        self._size = job.image_size
        self._mean = np.array(job.mean, np.float32)
        self._std = np.array(job.std, np.float32)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path = self._paths[index]
        with Image.open(path) as opened:
            box = _box(*opened.size)
            size = (self._size, self._size)
            image = opened.convert("RGB").resize(size, Image.Resampling.BICUBIC, box)
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = (np.asarray(image, np.float32) - self._mean) / self._std
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy()), self._labels[path.parent.name]


def _box(width: int, height: int) -> tuple[int, int, int, int]:
    """Draws what is cropped, as torchvision's RandomResizedCrop."""
    for _ in range(_TRIES):
        area = width * height * random.uniform(*_SCALE)
        ratio = math.exp(random.uniform(*map(math.log, _RATIO)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = random.randint(0, width - w), random.randint(0, height - h)
            return left, top, left + w, top + h
    return 0, 0, width, height


def measure(job: TorchEpochJob) -> Measured:
    """Times an epoch from the end of its first step to the checkpoint."""
    torch.manual_seed(0)
    torch.set_num_threads(job.threads)
    net = build(job.variant).to(memory_format=torch.channels_last)
    net.train()
    model = torch.compile(net) if job.compiled else net
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, weight_decay=2e-5)
    loader = DataLoader(
        Photographs(job),
        batch_size=job.batch,
        shuffle=True,
        drop_last=True,
        num_workers=job.workers,
        persistent_workers=job.workers > 0,
    )
    began, first, done, losses = time.perf_counter(), 0.0, 0, []
    for images, labels in loader:
        batch = images.contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad(set_to_none=True)
        loss = criterion(model(batch), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        done += len(labels)
        if not first:
            first = time.perf_counter()
    state = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "loss": losses}
    torch.save(state, Path(job.folder) / "checkpoint.pt")
    seconds = time.perf_counter() - first
    return Measured(
        speed=(done - job.batch) / seconds, first_seconds=first - began, peak_mb=peak_mb()
    )


if __name__ == "__main__":
    raise SystemExit(main(measure, TorchEpochJob))
