"""Writes the files of PyTorch in this folder: run it where torch, timm and numpy are installed.

`expected.json` has the tensors' values as PyTorch has them. Made with torch 2.13.0 and timm 1.0.31.
In each tensor of the two of timm's mixnet_s is one number, made from its name; xz compressed them.
"""

from __future__ import annotations

import argparse
import io
import json
import lzma
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

HERE = Path(__file__).parent


def constant(name: str) -> float:
    """The number that each value of a tensor of this name is, exactly, in float32."""
    return (zlib.crc32(name.encode()) % 4096) / 256 + 1


def odd_tensors() -> dict[str, torch.Tensor]:
    """A state-dict of tensors in every way that they are stored."""
    base = torch.arange(24, dtype=torch.float32) / 8 - 1
    image = torch.arange(48, dtype=torch.float32).reshape(1, 3, 4, 4)
    return {
        "plain": base.reshape(4, 6).clone(),
        "transposed": base.reshape(4, 6).t(),
        "sliced": base.reshape(4, 6)[1:3, 2:5],
        "stepped": base[1::5],
        "shared": base,
        "channels_last": image.contiguous(memory_format=torch.channels_last),
        "expanded": torch.tensor([0.5, 1.5]).expand(3, 2),
        "half": (base[:5] * 3).half(),
        "bfloat16": (base[:5] * 3).bfloat16(),
        "double": base[:5].double() / 3,
        "long": torch.tensor([3, -4, 5]),
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(2.5),
        "number": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "parameter": nn.Parameter(base[:4].clone()),
    }


def training() -> dict[str, object]:
    """What timm's train.py writes, of a small network with wrapped names."""
    torch.manual_seed(0)
    net = nn.DataParallel(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2)))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    state = net.state_dict()
    return {
        "epoch": 3,
        "arch": "small",
        "state_dict": state,
        "optimizer": optimizer.state_dict(),
        "version": 2,
        "args": argparse.Namespace(lr=0.1, data="/data", betas=(0.9, 0.999), flag=None),
        "amp_scaler": {"scale": 1024.0},
        "state_dict_ema": {k.removeprefix("module."): v * 2 for k, v in state.items()},
        "metric": np.float64(76.5),
    }


def written(data: object, *, stream: bool = False) -> bytes:
    out = io.BytesIO()
    torch.save(data, out, _use_new_zipfile_serialization=not stream)
    return out.getvalue()


def main() -> None:
    odd = odd_tensors()
    for name, stream in (("odd.pth", False), ("odd-stream.pth", True)):
        (HERE / name).write_bytes(written(odd, stream=stream))
    values = {
        name: [list(t.shape), t.detach().float().flatten().tolist()] for name, t in odd.items()
    }
    run = training()
    (HERE / "training.pth.tar").write_bytes(written(run))
    for key in ("state_dict", "state_dict_ema"):
        values |= {
            f"training {key} {name}": [list(t.shape), t.float().flatten().tolist()]
            for name, t in run[key].items()  # type: ignore[attr-defined]
        }
    (HERE / "expected.json").write_text(json.dumps(values) + "\n")
    net = nn.Sequential(nn.Linear(2, 2))
    (HERE / "averaged.pth").write_bytes(
        written({"model": net.state_dict(), "model_ema": AveragedModel(net).state_dict()})
    )
    (HERE / "whole-module.pth").write_bytes(written(net))
    torch.jit.save(torch.jit.script(net), str(HERE / "script.pt"))
    (HERE / "one-tensor.pt").write_bytes(written(torch.ones(3)))

    import timm

    state = timm.create_model("mixnet_s").state_dict()
    for name, tensor in state.items():
        tensor.fill_(7 if tensor.dtype == torch.int64 else constant(name))
    for name, stream in (("mixnet_s.pth.xz", False), ("mixnet_s-stream.pth.xz", True)):
        (HERE / name).write_bytes(lzma.compress(written(state, stream=stream), preset=9))


if __name__ == "__main__":
    main()
