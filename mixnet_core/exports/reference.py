"""The logits that exports are compared with: `python -m` this module.

MindSpore's own network computes them, from the release's weights file: nothing of an export is in
it. Where it has no native operators here it takes a tenth of a second an image, and the engine that
evaluates takes its place.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mixnet_core.data.index import read_index
from mixnet_core.evaluate.engine import open_engine
from mixnet_core.exports.request import ReferenceRequest, ReferenceResult
from mixnet_core.exports.val_images import BATCH, tell
from mixnet_core.model.native.choice import choose_operators
from mixnet_core.processes.child import beat, long_stretch, main, slow_at_first
from mixnet_core.storage.files import file_aside


def reference(request: ReferenceRequest) -> ReferenceResult:
    """Computes the logits of all val images.

    Raises:
        MixnetError: as the engine and reading images raise it.
    """
    item, recipe = request.item, request.item.recipe
    native = choose_operators(recipe.devices.operators, target="CPU") == "native"
    chosen = "mindspore" if native else "auto"
    devices = recipe.devices.model_copy(update={"engine": chosen})
    engine = open_engine(
        recipe.model_copy(update={"devices": devices}),
        item.width,
        suffix=Path(item.weights).suffix,
        batch=BATCH,
        threads=request.threads,
    )
    with long_stretch():
        engine.load(Path(item.weights))
    index = read_index(Path(request.images.dataset), "val")
    found = np.empty((len(index.paths), item.width), np.float32)
    done = 0
    positions = np.arange(len(index.paths), dtype=np.int32)
    for batch in slow_at_first(engine.logits(index, positions)):
        found[batch.positions] = batch.logits
        done += len(batch.positions)
        tell(request.progress, done, len(positions))
        beat()
    with file_aside(Path(request.target)) as aside, aside.open("wb") as file:
        np.save(file, found, allow_pickle=False)
    return ReferenceResult(engine=engine.name)


if __name__ == "__main__":
    raise SystemExit(main(reference, ReferenceRequest))
