"""Files under timm's names, as people have them: wrapped, averaged, cut from others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from safetensors.numpy import save_file

from mixnet_core.checkpoints.file_format import WeightsFile, read_format
from mixnet_core.checkpoints.fit import fitting_names, seen_network
from mixnet_core.checkpoints.values import read_values
from mixnet_core.errors import CheckpointMismatch, IntegrityError
from mixnet_core.model.variants import VariantName
from mixnet_core.model.weight_names import mindcv_names, names, parameters, timm_names


def weights(variant: VariantName = "s", *, classes: int = 7) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    """Zeros under timm's names, with timm's counters."""
    found = {
        p.timm: np.zeros(p.shape, np.float16) for p in parameters(variant, num_classes=classes)
    }
    counters = [name for name in found if name.endswith("running_var")]
    return found | {
        name.replace("running_var", "num_batches_tracked"): np.zeros((), np.int64)
        for name in counters
    }


def written(path: Path, tensors: dict[str, np.ndarray], **metadata: str) -> WeightsFile:  # type: ignore[type-arg]
    save_file(tensors, path, metadata=metadata or None)
    return read_format(path)


@pytest.mark.parametrize("variant", get_args(VariantName))
def test_every_parameter_of_a_variant_is_found_under_its_name_here(
    variant: VariantName, tmp_path: Path
) -> None:
    file = written(tmp_path / "w.safetensors", weights(variant))
    seen = seen_network(file)
    assert (seen.variant, seen.num_classes, seen.in_channels) == (variant, 7, 3)
    assert file.names.convention == "timm"
    assert set(seen.parts.weights) == set(names(variant, "mindcv"))
    assert {file.stored(name) for name in seen.parts.weights.values()} == set(
        names(variant, "timm")
    )
    assert seen.parts.unknown == []
    assert seen.parts.sentence(ema=False, how="") == (
        f"left out of a training's state: {len(weights(variant)) - len(seen.parts.weights)} "
        "parameters of counters"
    )


@pytest.mark.parametrize("before", ["module.", "model.", "_orig_mod.module.", "net.backbone."])
def test_wrapping_modules_names_may_stand_before(before: str, tmp_path: Path) -> None:
    tensors = {before + name: values for name, values in weights().items()}
    file = written(tmp_path / "w.safetensors", tensors)
    seen = seen_network(file)
    assert seen.parts.weights["head_conv.1.gamma"] == before + "head_conv.1.gamma"
    assert file.stored(before + "head_conv.1.gamma") == before + "bn2.weight"
    assert set(read_values(file, [before + "head_conv.1.gamma"])) == {before + "head_conv.1.gamma"}


def test_averages_stand_beside_the_weights(tmp_path: Path) -> None:
    plain = weights()
    tensors = plain | {
        f"ema.module.{name}": np.asarray(values + 1) for name, values in plain.items()
    }
    file = written(tmp_path / "w.safetensors", tensors)
    seen = seen_network(file)
    expected = {p.mindcv: p.shape for p in parameters("s", num_classes=7)}
    found = fitting_names(file, seen.parts, expected, ema=True)
    assert found["stem_conv.1.beta"] == "ema.module.stem_conv.1.beta"
    values = read_values(file, [found["stem_conv.1.beta"]])
    assert (values["ema.module.stem_conv.1.beta"] == 1).all()


def test_what_does_not_fit_is_said_by_the_files_own_names(tmp_path: Path) -> None:
    tensors = weights()
    del tensors["blocks.2.0.se.conv_reduce.bias"]
    tensors["blocks.2.0.se.gate.bias"] = np.zeros(3, np.float32)
    tensors["bn1.bias"] = np.zeros(9, np.float32)
    file = written(tmp_path / "w.safetensors", tensors)
    expected = {p.mindcv: p.shape for p in parameters("s", num_classes=7)}
    with pytest.raises(CheckpointMismatch) as raised:
        fitting_names(file, seen_network(file).parts, expected)
    assert "missing blocks.2.0.se.conv_reduce.bias; unexpected blocks.2.0.se.gate.bias; " in str(
        raised.value
    )
    assert "bn1.bias has shape (9,), expected (16,)" in str(raised.value)


def test_another_network_of_timms_is_told_by_what_it_has(tmp_path: Path) -> None:
    # EfficientNet-B0's first layers, as wide as MixNet-L's.
    tensors = {
        "conv_stem.weight": np.zeros((32, 3, 3, 3), np.float32),
        "blocks.0.0.conv_dw.weight": np.zeros((32, 1, 3, 3), np.float32),
        "blocks.1.0.conv_pw.weight": np.zeros((96, 16, 1, 1), np.float32),
        "classifier.weight": np.zeros((1000, 1280), np.float32),
    }
    seen = seen_network(written(tmp_path / "w.safetensors", tensors))
    assert seen.parts.unknown == ["blocks.1.0.conv_pw.weight"]
    assert len(seen.parts.weights) == 3


def test_a_file_with_both_names_of_a_parameter_is_refused(tmp_path: Path) -> None:
    tensors = weights() | {"stem_conv.1.gamma": np.zeros(16, np.float32)}
    with pytest.raises(IntegrityError, match="under MindCV's names and under timm's"):
        written(tmp_path / "w.safetensors", tensors)


def test_what_a_file_says_beside_its_tensors_is_kept(tmp_path: Path) -> None:
    file = written(tmp_path / "w.safetensors", weights(), format="pt", flavour="tf")
    assert file.metadata == {"format": "pt", "flavour": "tf"}


@pytest.mark.parametrize("variant", get_args(VariantName))
def test_there_and_back_again_bit_for_bit(variant: VariantName, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    theirs = {
        p.timm: random.standard_normal(p.shape).astype(np.float32) for p in parameters(variant)
    }
    there = read_values(written(tmp_path / "a.safetensors", theirs))
    assert set(there) == set(mindcv_names(variant).values())
    back = {timm_names(variant)[name]: values for name, values in there.items()}
    again = read_values(written(tmp_path / "b.safetensors", back))
    assert all(np.array_equal(again[name], there[name]) for name in there)
    assert all(back[name].tobytes() == values.tobytes() for name, values in theirs.items())


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        ("F16", np.float16([0.5, -2]).tobytes(), [0.5, -2]),
        ("BF16", bytes([0x80, 0x3F, 0x00, 0xC0]), [1, -2]),
        ("F64", np.float64([0.1, 3]).tobytes(), np.float32([0.1, 3]).tolist()),
        ("I64", np.int64([7, -1]).tobytes(), [7, -1]),
    ],
)
def test_types_of_safetensors_become_float32(
    kind: str, content: bytes, expected: list[float], tmp_path: Path
) -> None:
    assert raw(tmp_path / "w.safetensors", kind, content) == expected


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [("F8_E4M3", b"12", "the unknown type F8_E4M3"), ("F32", b"1234", "has 4 bytes of values")],
)
def test_types_and_sizes_that_cannot_be_are_refused(
    kind: str, content: bytes, said: str, tmp_path: Path
) -> None:
    with pytest.raises(IntegrityError, match=said):
        raw(tmp_path / "w.safetensors", kind, content)


def raw(path: Path, kind: str, content: bytes) -> list[float]:
    row = {"dtype": kind, "shape": [2], "data_offsets": [0, len(content)]}
    text = json.dumps({"w": row}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)
    values = read_values(read_format(path))["w"]
    assert values.dtype in (np.float32, np.int64)
    found: list[float] = values.tolist()
    return found
