"""The predictions for a split as a CSV file: people can read it, a later test can pair it.

    image,label,answer,place,confidence,loss
    val/cat/0007.jpg,cat,dog,1,0.412731,1.203311

One row per image, in the split's order. answer: the predicted class. place: how many classes came
before the label's, 0 where the prediction is right. confidence: softmax probability of the
predicted class. loss: cross-entropy in nats.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mixnet_core.errors import IntegrityError
from mixnet_core.evaluate.counting import JUDGED, Judged
from mixnet_core.storage.files import write_text

_HEADER = ["image", "label", "answer", "place", "confidence", "loss"]


class PredictionTable(NamedTuple):
    """Holds the predictions for a split.

    Attributes:
        images: their paths.
        rows: see `counting.JUDGED`; positions 0, 1, ...
    """

    images: tuple[str, ...]
    rows: Judged


def write_table(path: Path, table: PredictionTable, classes: Sequence[str]) -> None:
    """Writes the table as CSV.

    Args:
        classes: names in label order.

    Raises:
        MachineError: as `storage.files.file_aside`.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    # Python 3.11 leaves a carriage return without quotes, and refuses to read it back.
    quoting = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for image, row in zip(table.images, table.rows, strict=True):
        label, answer = classes[row["label"]], classes[row["answer"]]
        # Python's shortest decimals that read back as the same doubles.
        figures = float(row["confidence"]), float(row["loss"])
        cells = [image, label, answer, int(row["place"]), *map(repr, figures)]
        (quoting if "\r" in f"{image}{label}{answer}" else writer).writerow(cells)
    write_text(path, text.getvalue())


def read_table(path: Path, classes: Sequence[str]) -> PredictionTable:
    """Reads what `write_table` wrote, to the last bit.

    Args:
        classes: names in label order.

    Raises:
        IntegrityError: it is no such table, or of other classes.
    """
    labels = {name: label for label, name in enumerate(classes)}
    try:
        lines = list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8"))))
        if not lines or lines[0] != _HEADER:
            raise ValueError("another header")
        rows = np.empty(len(lines) - 1, JUDGED)
        for position, (_, label, answer, place, confidence, loss) in enumerate(lines[1:]):
            if not 0 <= int(place) < len(classes) or not math.isfinite(float(loss)):
                raise ValueError(f"place {place}, loss {loss}")
            rows[position] = (
                position,
                labels[label],
                labels[answer],
                int(place),
                float(confidence),
                float(loss),
            )
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise IntegrityError(
            f"{path} is no table of answers ({type(error).__name__}: {error}): expected the "
            f"columns {', '.join(_HEADER)} and the {len(classes)} classes' names"
        ) from error
    return PredictionTable(tuple(line[0] for line in lines[1:]), rows)
