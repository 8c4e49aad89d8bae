"""`mixnet import` as a user types it, and what is done with the name afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from mixnet_core.model.weight_names import parameters
from tests.data.samples import write_image_folder
from tests.tiny import mixnet

pytestmark = pytest.mark.slow

CLASSES = ("cat", "dog", "fox")


def timms(folder: Path) -> Path:
    """A MixNet-S of three classes as the Hugging Face hub keeps it, which tells images apart."""
    random = np.random.default_rng(5)
    tensors = {}
    for parameter in parameters("s", "timm", num_classes=3):
        values = random.standard_normal(parameter.shape) * (parameter.shape[-1] == 1536 or 0.2)
        if parameter.timm.endswith("running_var"):
            values = np.abs(values) + 0.5
        tensors[parameter.timm] = values.astype(np.float32)
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    config = {
        "architecture": "tf_mixnet_s",
        "num_classes": 3,
        # In another order than the folders'.
        "label_names": list(reversed(CLASSES)),
        "pretrained_cfg": {"input_size": [3, 32, 32], "crop_pct": 1.0},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder / "model.safetensors"


def test_what_is_imported_is_measured_by_its_name(tmp_path: Path) -> None:
    source = timms(tmp_path / "mine")
    write_image_folder(tmp_path / "images", dict.fromkeys(CLASSES, 1), dict.fromkeys(CLASSES, 2))
    cache = {"MIXNET_CACHE": str(tmp_path / "cache")}
    done = mixnet("import", str(source), cwd=tmp_path, **cache)
    assert done.returncode == 0, done.stderr
    first, second, *_ = done.stdout.splitlines()
    assert first == "mine: MixNet-S, flavour tf, 3 classes"
    assert second == "flavour: the config.json beside it"
    again = mixnet("import", str(source), "--json", cwd=tmp_path, **cache)
    assert json.loads(again.stdout)["imported"]["reused"] is True

    def evaluated(*arguments: str) -> dict[str, object]:
        done = mixnet("evaluate", *arguments, "--data=images", "--json", cwd=tmp_path, **cache)
        assert done.returncode == 0, done.stderr
        found: dict[str, object] = json.loads(done.stdout)["evaluation"]
        return found

    by_name, by_path = evaluated("mine"), evaluated(str(source))
    assert by_name["score"] == by_path["score"]
    assert "MixNet-S, tf flavour, short side 32 px" in str(by_name["read_as"])
    assert by_name["labels"] == "by class name, of the catalog's mine"
    other = evaluated(str(source), "--flavour=timm")
    assert "timm flavour" in str(other["read_as"])
    assert other["score"] != by_path["score"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["none.pth"], 2, "no checkpoint file at"),
        (["w.pth", "--flavour=jax"], 2, "'jax' is not one of"),
        (["w.pth"], 4, "not a readable checkpoint"),
        (["https://user:secret@host/w.pth"], 2, "credentials"),
        ([], 2, "FILE|URL"),
    ],
)
def test_a_mistake_is_one_line_with_its_exit_code(
    tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    (tmp_path / "w.pth").write_bytes(bytes(range(256)))
    done = mixnet("import", *arguments, cwd=tmp_path, MIXNET_CACHE=str(tmp_path / "cache"))
    assert done.returncode == code, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("mixnet: ")
    assert words in last
    assert "secret" not in done.stderr


def test_what_a_card_says_is_shown_and_not_obeyed_by_a_terminal(tmp_path: Path) -> None:
    front = "model-name: mixnet_s\ntrain-dataset: ImageNet\nasset:\n- file-format: ckpt\n"
    front += "  asset-link: https://example.org/m.ckpt\n  asset-sha256: 01234567\n"
    front += "- file-format: \x1b]0;mine\x07\n  asset-link: x\n"
    (tmp_path / "card.md").write_text(f"---\n{front}---\n")
    cache = {"MIXNET_CACHE": str(tmp_path / "cache")}
    done = mixnet("import", "--card", "card.md", cwd=tmp_path, **cache)
    assert done.returncode == 0, done.stderr
    assert "x is left out: \\x1b]0;mine\\x07" in done.stdout
