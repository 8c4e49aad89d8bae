"""Counts of 1,003 images for several numbers of workers, batches and engines: `python -m` prints
them in a table.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.evaluate.job import measure
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.values import PreparedDataset, Score
from tests.data.samples import small_recipe, write_image_folder

IMAGES = 1003
CLASSES = 7
WORKERS = (1, 2, 3)
BATCHES = (1, 7, 64, 128)


@dataclass(frozen=True)
class Case:
    """A network with weights, and images."""

    folder: Path
    dataset: PreparedDataset
    weights: Path
    recipe: Recipe

    def counted(self, engine: str, *, workers: int, batch: int) -> tuple[Score, str]:
        """The score, and a digest over every image's position, label and answer."""
        devices = self.recipe.devices.model_copy(update={"engine": engine})
        recipe = self.recipe.model_copy(update={"devices": devices})
        folder = self.folder / f"{engine}-{workers}-{batch}"
        found = measure(
            recipe,
            self.dataset,
            [self.weights],
            split="val",
            stage="evaluate",
            attempts=folder,
            workers=workers,
            batch=batch,
        )
        rows = found.predictions[0][["position", "label", "answer", "place"]]
        return found.scores[0], hashlib.sha256(repr(rows.tolist()).encode()).hexdigest()


def make_case(folder: Path) -> Case:
    """1,003 images of seven classes, and weights whose answers differ from image to image."""
    # Imports MindSpore.
    from tests.evaluate.test_scoring import write_weights

    names = [f"c{label}" for label in range(CLASSES)]
    val = {name: IMAGES // CLASSES + (i < IMAGES % CLASSES) for i, name in enumerate(names)}
    source = write_image_folder(folder / "images", dict.fromkeys(names, 2), val)
    recipe = small_recipe(source, CLASSES)
    return Case(
        folder=folder,
        dataset=prepare_dataset(recipe.data, folder / "datasets"),
        weights=Path(write_weights(folder / "a.ckpt", "a")),
        recipe=recipe,
    )


def main() -> int:
    lines, found = [], set()
    with tempfile.TemporaryDirectory() as temporary:
        case = make_case(Path(temporary))
        for engine in ("openvino", "mindspore"):
            for workers in WORKERS:
                for batch in BATCHES:
                    score, digest = case.counted(engine, workers=workers, batch=batch)
                    found.add((score.correct1, score.correct5, score.count, digest))
                    lines.append(
                        f"{engine:<10} {workers} workers, batch {batch:>3}: "
                        f"{score.correct1}, {score.correct5} of {score.count}, loss "
                        f"{score.loss:.6f}, answers {digest[:12]}"
                    )
                    sys.stdout.write(lines[-1] + "\n")
                    sys.stdout.flush()
    sys.stdout.write(f"{len(found)} different result{'s' if len(found) > 1 else ''}\n")
    return 0 if len(found) == 1 else 1


if __name__ == "__main__":
    raise SystemExit(main())
