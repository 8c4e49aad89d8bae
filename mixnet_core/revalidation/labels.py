"""How the label of an image is found where somebody's weights meet somebody's images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mixnet_core.data.class_names import read_classes
from mixnet_core.data.source import source_of
from mixnet_core.errors import DatasetError, MixnetError
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.release.origin import Origin
from mixnet_core.runs.records import recorded
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.runs.values import PreparedDataset


@dataclass(frozen=True)
class Labels:
    """Says how the label of an image is found.

    Attributes:
        classes: names in label order; None: they are not known.
        source: who says them.
    """

    classes: tuple[str, ...] | None
    source: str = ""

    def __str__(self) -> str:
        if self.classes is None:
            return "by position among the folder's sorted names: this file names no classes"
        return f"by class name, of {self.source}"


def labels_of(
    file: Path, number: int, origin: Origin | None, recipe: Recipe, given: Path | None
) -> Labels:
    """Finds the names of the classes that a file was trained for.

    Args:
        number: of the classes that its shapes show.
        origin: what it lies in.
        recipe: how its images are read.
        given: file of names, one a line in label order.

    Raises:
        DatasetError: the given file is for another number of classes.
        MixnetError: as `read_classes`.
    """
    if given is not None:
        classes = read_classes(given)
        if len(classes) != number:
            raise DatasetError(
                f"{given} names {len(classes)} classes, {file} is for {number}: give "
                "the names that it was trained for, one a line in label order"
            )
        return Labels(classes, str(given))
    if origin is not None and origin.release is not None:
        return Labels(origin.release.classes, origin.name)
    if origin is not None and origin.recipe is not None:
        try:
            prepared = recorded(RunDir(origin.recipe.parent), "prepare", PreparedDataset)
        except MixnetError:
            return Labels(None)
        return Labels(prepared.classes, origin.name)
    source = source_of(recipe.data)
    if source.fixed_classes and source.needs_path:
        return Labels(source.classes(recipe.data), f"data.source {recipe.data.source}")
    return Labels(None)
