"""A network as an ONNX graph that takes its weights as inputs, exported once and then read back.

It holds no weights: compiling a graph for the export costs seconds, and selection scores many
checkpoints of one network, which differ in nothing but values that an engine puts in by name.
The file is small (180 KB), and no checkpoint, however new, needs another.

    ~/.cache/mixnet/engines/KEY-SHA256.onnx     see `storage.user_cache`

KEY is the digest of everything that shapes the graph; SHA256 is the file's, so damage shows.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import mindspore.onnx
import numpy as np
from mindspore import Tensor, nn

from mixnet_core.errors import MachineError
from mixnet_core.model import mixnet
from mixnet_core.model.device import use_device
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.storage.asides import held_aside
from mixnet_core.storage.files import file_aside, fingerprint
from mixnet_core.storage.user_cache import cache_folder

IMAGES, LOGITS = "images", "logits"
# The files used last; a machine that tries many networks would fill its disk otherwise.
KEPT = 32

log = logging.getLogger(__name__)


def plain_network(recipe: Recipe, classes: int) -> nn.Cell:
    """Builds the recipe's network for inference from MindSpore's own operators.

    Other operators have no ONNX form.

    Raises:
        MachineError: MindSpore cannot use the CPU.
    """
    use_device("CPU")
    return mixnet.build_model(
        recipe.network.variant,
        classes,
        recipe.network.in_channels,
        flavour=recipe.network.flavour,
        stem_stride=recipe.network.stem_stride,
    ).set_train(False)


def network_graph(recipe: Recipe, classes: int) -> bytes:
    """Returns `plain_network` as ONNX, from the cache where it is there.

    Its inputs are IMAGES (1, C, S, S) and every parameter by name, its output is LOGITS.
    Nothing in it depends on the batch, which may be set to another size. Where
    the cache cannot be used, the log says so and the graph is exported all the same.

    Raises:
        MachineError: as `plain_network`.
    """
    try:
        folder = cache_folder("engines")
    except MachineError as error:
        log.warning("the exported network is not kept: %s", error)
        return _exported(recipe, classes)
    key = _key(recipe, classes)
    content = _cached(folder, key)
    if content is None:
        content = _exported(recipe, classes)
        try:
            _keep(folder, key, content)
        except MachineError as error:
            log.warning("the exported network is not kept: %s", error)
    return content


def _key(recipe: Recipe, classes: int) -> str:
    return fingerprint(
        {
            "network": recipe.network.model_dump(
                exclude={"num_classes", "drop_rate", "drop_path_rate"}
            ),
            "classes": classes,
            "image_size": recipe.input.image_size,
            "mindspore": metadata.version("mindspore"),
            # Instead of a number that whoever changes the code would have to remember.
            "sources": [_digest(path.read_bytes()) for path in _sources()],
        }
    )


def _sources() -> list[Path]:
    """Returns the source files that decide what the graph is."""
    return [Path(__file__), *sorted(Path(mixnet.__file__).parent.glob("*.py"))]


def _cached(folder: Path, key: str) -> bytes | None:
    """Returns a kept file's content if its digest is the one in its name; deletes it otherwise."""
    for path in sorted(folder.glob(f"{key}-*.onnx")):
        # Another process may delete it at any time.
        with suppress(OSError):
            content = path.read_bytes()
            if path.name == _name(key, content):
                os.utime(path)
                return content
            log.warning("%s is damaged: it is exported again", path)
            path.unlink()
    return None


def _keep(folder: Path, key: str, content: bytes) -> None:
    """Puts a graph into the cache and deletes the oldest ones.

    Raises:
        MachineError: as `file_aside`.
    """
    with file_aside(folder / _name(key, content)) as aside:
        aside.write_bytes(content)
    with suppress(OSError):
        newest_first = sorted(
            folder.glob("*.onnx"), key=lambda path: path.stat().st_mtime, reverse=True
        )
        for path in newest_first[KEPT:]:
            path.unlink(missing_ok=True)


def _exported(recipe: Recipe, classes: int) -> bytes:
    size = recipe.input.image_size
    images = Tensor(np.zeros((1, recipe.network.in_channels, size, size), np.float32))
    with held_aside(Path(tempfile.gettempdir())) as aside:
        # The exporter writes in place and adds the suffix where it is missing.
        path = aside.path / "network.onnx"
        mindspore.onnx.export(
            plain_network(recipe, classes),
            images,
            file_name=str(path),
            input_names=[IMAGES],
            output_names=[LOGITS],
            export_params=False,
        )
        return path.read_bytes()


def _name(key: str, content: bytes) -> str:
    return f"{key}-{_digest(content)}.onnx"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
