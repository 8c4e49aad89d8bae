"""How predictions are told: as a table, in the command's JSON object, or as CSV while they come.

    image,class_1,probability_1,...,class_K,probability_K,error
    photos/cat.jpg,cat,0.912731,...,,

A table and JSON are held in memory, so there is a most number of pictures for each; CSV takes any.
"""

from __future__ import annotations

import csv
import io
import os
import sys
from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mixnet_core.cli.outcome import print_json
from mixnet_core.data.account import Account
from mixnet_core.data.imagenet.classes import class_names, label_of
from mixnet_core.errors import InputError, visible
from mixnet_core.evaluate.predict_job import Predicted
from mixnet_core.evaluate.prediction import Prediction
from mixnet_core.stages.release_to_measure import Released
from mixnet_core.storage.files import file_aside

STANDARD_OUTPUT = "-"
MOST_IN_TABLE = 10_000
MOST_IN_JSON = 100_000


class Rows(ABC):
    """Takes predictions one by one; a context, so that a file appears whole or not at all."""

    most: int | None = None
    form = ""

    def of(self, released: Released) -> None:
        """Is told what predicts."""
        self.released = released

    def expect(self, images: int) -> None:
        """Is told how many there will be.

        Raises:
            InputError: they are more than this form holds.
        """
        if self.most is not None and images > self.most:
            raise InputError(
                f"{images:,} pictures are too many for {self.form}, which takes {self.most:,}: "
                "write them with --csv FILE"
            )

    @abstractmethod
    def __call__(self, prediction: Prediction) -> None:
        """Takes the next one."""

    def end(self, found: Predicted, account: Account) -> None:  # noqa: B027
        """Is told the sums; a form that says none of them has nothing to do."""

    def __enter__(self) -> Rows:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        return


class TableRows(Rows):
    """Prints a table at the end."""

    most, form = MOST_IN_TABLE, "a table"

    def __init__(self) -> None:
        self._predictions: list[Prediction] = []

    def __call__(self, prediction: Prediction) -> None:
        self._predictions.append(prediction)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        # Here no bar stands on the terminal any more. What there is of a job that failed is told.
        if not self._predictions:
            return
        table = Table(title=Text(f"{self.released.source}, sha256 {self.released.sha256[:12]}"))
        table.add_column("picture", overflow="fold")
        table.add_column("class", overflow="fold")
        table.add_column("", justify="right")
        table.add_column("then", overflow="fold")
        for item in self._predictions:
            if item.error:
                table.add_row(Text(visible(item.image)), Text(item.error, style="red"))
                continue
            first, *others = zip(item.classes, item.probabilities, strict=True)
            said = ", ".join(f"{_word(name)} {_percent(share)}" for name, share in others)
            table.add_row(
                Text(visible(item.image)), Text(_word(first[0])), _percent(first[1]), Text(said)
            )
        named = "" if self.released.classes else "\nclasses by number: --classes FILE names them"
        table.caption = Text(f"{self.released.read_as}{named}")
        Console().print(table)


class JsonRows(Rows):
    """Hands them to the command's JSON object.

    Args:
        limited: False: only the sums, for rows that are written elsewhere.
    """

    most, form = MOST_IN_JSON, "one JSON object"

    def __init__(self, *, limited: bool = True) -> None:
        self._rows: list[dict[str, Any]] | None = [] if limited else None
        self._sums: dict[str, Any] = {}

    def __call__(self, prediction: Prediction) -> None:
        if self._rows is None:
            return
        row: dict[str, Any] = {"image": prediction.image}
        if prediction.error:
            row["error"] = prediction.error
        else:
            row["classes"] = list(prediction.classes)
            row["probabilities"] = list(prediction.probabilities)
        self._rows.append(row)

    def end(self, found: Predicted, account: Account) -> None:
        self._sums = {
            **found.model_dump(mode="json"),
            "left_out": {reason: item.count for reason, item in account.left_out.items()},
        }

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if not (self._rows or self._sums):
            return
        released = self.released
        of = {
            "release": released.name,
            "source": released.source,
            "sha256": released.sha256,
            "read_as": released.read_as,
        }
        rows = {} if self._rows is None else {"rows": self._rows}
        print_json({"predictions": {**of, **self._sums, **rows}})


class CsvRows(Rows):
    """Writes them as they come.

    Args:
        target: file; it appears at the end. None: standard output.
        top: classes in a row.
        beside: takes them too.
    """

    def __init__(self, target: Path | None, top: int, beside: Rows | None = None) -> None:
        self._target = target
        self._top = top
        self._beside = beside
        self._stack = ExitStack()
        self._file: IO[str] | None = None

    def of(self, released: Released) -> None:
        super().of(released)
        self._top = min(self._top, released.num_classes)
        header = ["image"]
        for place in range(1, self._top + 1):
            header += [f"class_{place}", f"probability_{place}"]
        if self._beside is not None:
            self._beside.of(released)
        self._write([*header, "error"])

    def __call__(self, prediction: Prediction) -> None:
        cells = [prediction.image]
        for name, share in zip(prediction.classes, prediction.probabilities, strict=True):
            # Python's shortest decimals that read back as the same doubles.
            cells += [name, repr(share)]
        cells += [""] * (1 + 2 * self._top - len(cells))
        self._write([*cells, prediction.error])
        if self._beside is not None:
            self._beside(prediction)

    def end(self, found: Predicted, account: Account) -> None:
        if self._beside is not None:
            self._beside.end(found, account)

    def __enter__(self) -> Rows:
        if self._beside is not None:
            self._stack.enter_context(self._beside)
        if self._target is None:
            # Kept open, and kept from a bar on the terminal, which takes what is printed over.
            file: IO[bytes] = self._stack.enter_context(
                os.fdopen(os.dup(sys.stdout.fileno()), "wb")
            )
        else:
            aside = self._stack.enter_context(file_aside(self._target))
            file = self._stack.enter_context(aside.open("wb"))
        # A name's bytes that are no UTF-8 are written out; a reader would refuse the whole file.
        text = io.TextIOWrapper(
            file, "utf-8", "backslashreplace", newline="", write_through=self._target is None
        )
        self._file = self._stack.enter_context(text)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, at)

    def _write(self, cells: list[str]) -> None:
        assert self._file is not None
        # Python 3.11 leaves a carriage return without quotes, and refuses to read it back.
        if any("\r" in cell for cell in cells):
            writer = csv.writer(self._file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        else:
            writer = csv.writer(self._file, lineterminator="\n")
        writer.writerow(cells)
        if self._target is None:
            self._file.flush()


def _word(name: str) -> str:
    """Returns a class's name; of ImageNet's the word after its id."""
    label = label_of().get(name)
    return visible(name) if label is None else f"{name} {class_names()[label].split(',')[0]}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
