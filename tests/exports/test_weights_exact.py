"""Weights that go out by name are the release's to the last bit, whatever they predict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mindspore
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mixnet_core.errors import IntegrityError
from mixnet_core.exports.exportable import Exportable
from mixnet_core.exports.formats import safetensors, timm
from mixnet_core.model.mixnet import build_model
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.storage.files import sha256_of

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture
def item(tmp_path: Path) -> Exportable:
    settings: dict[str, Any] = {"network.flavour": "timm", "network.stem_stride": 2}
    recipe = load_recipe("digits", settings | {"network.num_classes": 10})
    weights = tmp_path / "weights.ckpt"
    mindspore.save_checkpoint(build_model("s", 10, flavour="timm"), str(weights))
    return Exportable(
        name="mine",
        recipe=recipe,
        weights=str(weights),
        sha256=sha256_of(weights),
        classes=tuple("0123456789"),
        width=10,
    )


@pytest.mark.parametrize(
    ("kind", "file", "name"),
    [
        (safetensors.FORMAT, safetensors.FILE, "classifier.bias"),
        (timm.FORMAT, timm.WEIGHTS, "classifier.bias"),
    ],
)
def test_a_value_that_differs_in_its_last_bit_is_named(
    kind: Any, file: str, name: str, item: Exportable, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    kind.write(item, folder, lambda: None)
    kind.open(item, folder, threads=1)
    values = load_file(folder / file)
    values[name][3] = np.nextafter(values[name][3], np.float32(1), dtype=np.float32)
    save_file(values, folder / file, metadata={"format": "pt"})
    with pytest.raises(IntegrityError, match=f"other values than the release.*{name}"):
        kind.open(item, folder, threads=1)
