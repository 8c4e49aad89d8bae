"""Run as a stage: times PyTorch's training step or inference, channels_last."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.images.seeded_images import normalised, pixels
from benchmarks.jobs.requests import TorchJob
from benchmarks.jobs.torch_mixnet import build, load_values
from benchmarks.rounds import Measured, peak_mb, timed
from mixnet_core.processes.child import main


def measure(job: TorchJob) -> Measured:
    torch.manual_seed(0)
    torch.set_num_threads(job.threads)
    net = build(job.variant).to(memory_format=torch.channels_last)
    images = torch.from_numpy(
        normalised(pixels(job.batch, job.image_size), job.mean, job.std)
    ).contiguous(memory_format=torch.channels_last)
    return _training(net, images, job) if job.training else _inference(net, images, job)


def _training(net: nn.Module, images: Tensor, job: TorchJob) -> Measured:
    labels = torch.randint(0, 1000, (job.batch,))
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, weight_decay=0.01)
    net.train()
    model = torch.compile(net) if job.compiled else net

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=job.autocast):
            loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        return float(loss)

    (first,) = timed(step, least=1, seconds=0)
    seconds = timed(step, least=job.least, seconds=job.seconds)
    speed = job.batch / statistics.median(seconds)
    return Measured(speed=speed, first_seconds=first, peak_mb=peak_mb())


def _inference(net: nn.Module, images: Tensor, job: TorchJob) -> Measured:
    assert job.folder is not None, "inference needs the weights that all engines share"
    with np.load(Path(job.folder) / "weights.npz") as values:
        load_values(net, {name: torch.from_numpy(values[name]) for name in values.files})
    net.eval()
    with torch.inference_mode():
        (first,) = timed(lambda: net(images), least=1, seconds=0)
        seconds = timed(lambda: net(images), least=job.least, seconds=job.seconds)
        logits = net(images)[0].tolist()
    return Measured(
        speed=job.batch / statistics.median(seconds),
        first_seconds=first,
        peak_mb=peak_mb(),
        logits=logits,
    )


if __name__ == "__main__":
    raise SystemExit(main(measure, TorchJob))
