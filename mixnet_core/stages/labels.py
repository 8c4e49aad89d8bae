"""How the label of an image is found where somebody's weights meet somebody's images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mixnet_core.data.class_names import read_classes
from mixnet_core.data.imagenet.classes import wnids
from mixnet_core.errors import DatasetError
from mixnet_core.release.origin import Origin
from mixnet_core.runs.records import trained_dataset
from mixnet_core.runs.run_dir import RunDir


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
    file: Path,
    number: int,
    origin: Origin | None,
    given: Path | None,
    told: Labels | None = None,
) -> Labels:
    """Finds the names of the classes that a file was trained for.

    Args:
        number: of the classes that its shapes show.
        origin: what it lies in.
        given: file of names, one a line in label order.
        told: what else says them where the file lies in no release and no run.

    Raises:
        DatasetError: the given file is for another number of classes.
        MixnetError: as `read_classes`.
    """
    known = _known(origin) if origin is not None else _fitting(told, number)
    if given is not None:
        classes = read_classes(given)
        if len(classes) != number:
            raise DatasetError(
                f"{given} names {len(classes)} classes, {file} is for {number}: give "
                "the names that it was trained for, one a line in label order"
            )
        if known.classes not in (None, classes) and set(known.classes or ()) == set(classes):
            raise DatasetError(
                f"{given} has the classes in another order than {known.source}: leave --classes "
                "out, or correct it"
            )
        return Labels(classes, str(given))
    if origin is not None or known.classes is not None:
        return known
    # There is no other network of so many classes that people have without knowing its classes.
    return Labels(wnids(), "ImageNet's 1,000") if number == len(wnids()) else Labels(None)


def _fitting(told: Labels | None, number: int) -> Labels:
    """Passes over names of another number of classes: they are of another file's."""
    fits = told is not None and told.classes is not None and len(told.classes) == number
    return told if told is not None and fits else Labels(None)


def _known(origin: Origin | None) -> Labels:
    """Returns what the release or run says that a file lies in."""
    if origin is None:
        return Labels(None)
    if origin.release is not None:
        return Labels(origin.release.classes, origin.name)
    if origin.recipe is None:
        return Labels(None)
    trained = trained_dataset(RunDir(origin.recipe.parent))
    return Labels(None if trained is None else trained.classes, origin.name)
