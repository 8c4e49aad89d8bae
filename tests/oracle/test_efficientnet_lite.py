"""Evaluation's transform and labels against a network that somebody else trained: `make oracle`.

Wrong in training and evaluation alike, colours, axes, a lack of normalising or labels of other
images would show in no comparison of ours. What it does not see: a scale off by two or a crop that
is off, which the network does not mind (`tests/data/test_pixels.py` has those), and a catalog in
another order, through which the names' numbers go both ways (`tests/data/imagenet`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixnet_core.data.batches import evaluation_batches
from mixnet_core.data.imagenet.classes import wnids
from mixnet_core.data.index import Index, read_index
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.recipe.recipe import load_recipe
from tests.data.samples import data

pytestmark = pytest.mark.oracle

PYTHON = "MIXNET_ORACLE_PYTHON"
SCRIPT = Path(__file__).with_name("efficientnet_lite0.py")
PHOTOGRAPHS = 20
# It knows 18, and as many through Pillow. Of all val images 75.1 %: README.md in tensorflow/tpu,
# models/official/efficientnet/lite.
KNOWN = 17
# From there: efficientnet_lite_builder.py, and CROP_FRACTION of ../preprocessing.py.
PUBLISHED = load_recipe(
    "digits",
    {
        "input.image_size": 224,
        "input.crop_pct": 0.875,
        "input.interpolation": "bicubic",
        "input.mean": [127.0] * 3,
        "input.std": [128.0] * 3,
    },
)


def by_oracle(*arguments: str) -> Any:
    """What the script prints; isolated, so that no package of this environment is found."""
    done = subprocess.run(
        [os.environ[PYTHON], "-I", str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def photographs() -> list[Path]:
    """Real ones of ImageNet in foolbox, named imagenet_<number>_<label>.jpg."""
    if not os.environ.get(PYTHON):
        pytest.skip(f"{PYTHON} names no Python with EfficientNet-Lite0: run `make oracle`")
    folders = by_oracle()
    missing = ", ".join(name for name, folder in folders.items() if folder is None)
    if missing:
        pytest.skip(f"{os.environ[PYTHON]} lacks {missing}: run `make oracle`")
    found = sorted(Path(folders["foolbox"], "data").glob("imagenet_*_*.jpg"))
    assert len(found) == PHOTOGRAPHS
    return found


@pytest.fixture(scope="module")
def val(photographs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Index:
    """The photographs as val, in class folders."""
    root = tmp_path_factory.mktemp("imagenet")

    def put(photograph: Path, split: str) -> None:
        wnid = wnids()[int(photograph.stem.rpartition("_")[2])]
        (root / split / wnid).mkdir(parents=True, exist_ok=True)
        shutil.copy(photograph, root / split / wnid / f"{split}_{photograph.name}")

    for photograph in photographs:
        put(photograph, "val")
    # Nothing looks at them, but no dataset is without: 06 and 07 are of one class.
    for photograph in photographs[6:8]:
        put(photograph, "train")
    settings = data("imagenet", root, subset=True, layout="in_place")
    prepared = prepare_dataset(settings, tmp_path_factory.mktemp("datasets"))
    return read_index(Path(prepared.root), "val")


def test_efficientnet_lite0_knows_real_photographs_read_by_evaluation(
    val: Index, tmp_path: Path
) -> None:
    with closing(evaluation_batches(val, val.positions, PUBLISHED, batch=8, threads=2)) as batches:
        images, labels = zip(*((batch.images, batch.labels) for batch in batches), strict=True)
    np.save(tmp_path / "images.npy", np.concatenate(images))
    answers = by_oracle(str(tmp_path / "images.npy"))
    assert len(answers) == PHOTOGRAPHS
    wrong = [
        f"{path}: {label} taken for {answer}"
        for path, label, answer in zip(
            val.paths, np.concatenate(labels).tolist(), answers, strict=True
        )
        if label != answer
    ]
    assert PHOTOGRAPHS - len(wrong) >= KNOWN, "\n".join(wrong)
