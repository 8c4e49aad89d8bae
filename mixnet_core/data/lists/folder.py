"""The lists of a folder: which one is for training, which one for val, each read when asked for."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

from mixnet_core.data.class_names import read_classes
from mixnet_core.data.lists.header import EXPECTED
from mixnet_core.data.lists.paths import Located, folders_of, located, named_like
from mixnet_core.data.lists.rows import ListFile, expect_labelled, list_of
from mixnet_core.data.lists.text import plain
from mixnet_core.data.lists.values import Values, values_of
from mixnet_core.data.split_names import candidates
from mixnet_core.errors import DatasetError
from mixnet_core.storage.files import os_errors_explained

CLASSES = "classes.txt"
_SUFFIX = ".csv"
_NAMED = 5


class ListFolder:
    """Knows the lists of a folder by their names (`data.split_names`).

    A list for testing stands in for val where there is no other and it says what is on its images;
    competitions keep that to themselves.

    Attributes:
        root: the folder.
        train: name of the list for training; None: there is none.
        notes: what was decided, a sentence each.

    Raises:
        DatasetError: it is no folder.
        MachineError: it cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        root = Path(path).expanduser()
        if not root.is_dir():
            raise DatasetError(f"data.path {path} is no folder: expected one with train.csv")
        # Not resolved: absolute paths in a list may begin as somebody wrote it.
        self.root = root.absolute()
        with os_errors_explained(root, "read"), os.scandir(root) as found:
            self._names = sorted(entry.name for entry in found if entry.is_file())
        trains = candidates(self._names, "train", suffix=_SUFFIX)
        self.train = trains[0] if trains else None
        self.notes = [f"{name} is not used, {self.train} is" for name in trains[1:]]
        self._read: dict[str, ListFile] = {}
        self._places: dict[str, str] = {}

    @cached_property
    def val(self) -> str | None:
        """Returns the name of the list for val; None: there is none.

        Raises:
            DatasetError: as `list_of`.
            MachineError: it cannot be read.
        """
        val = None
        for name in candidates(self._names, "val", suffix=_SUFFIX):
            if val is not None:
                self.notes.append(f"{name} is not used, {val} is")
            elif name.lower().startswith("test") and not self._labelled(name):
                self.notes.append(f"{name} is not used: it does not say what is on its images")
            else:
                val = name
        if val is not None and val != "val.csv":
            self.notes.append(f"{val} is taken for val")
        elif val is None and self.train is not None:
            self.notes.append(f"no val.csv: val is cut from {self.train}")
        return val

    @cached_property
    def given(self) -> tuple[str, ...] | None:
        """Returns the lines of classes.txt; None where there is none.

        Raises:
            DatasetError, MachineError: as `read_classes`.
        """
        return read_classes(self.root / CLASSES) if CLASSES in self._names else None

    def expect_train(self) -> str:
        """Returns the name of the list for training.

        Raises:
            DatasetError: there is none.
        """
        if self.train is None:
            raise DatasetError(
                f"data.path {self.root} has no train.csv: {EXPECTED}, one row per image"
                f"{self._others()}"
            )
        return self.train

    def expect_any(self) -> None:
        """Makes sure that there is a list for training or val.

        Raises:
            DatasetError: there is none.
        """
        if self.train is None and self.val is None:
            raise DatasetError(
                f"data.path {self.root} has no val.csv and no train.csv: {EXPECTED}, one row per "
                f"image{self._others()}"
            )

    def values(self, name: str) -> Values:
        """Returns what a list's rows say.

        Raises:
            DatasetError: as `list_of` and `values_of`, or the images are not labelled.
            MachineError: it cannot be read.
        """
        return values_of(expect_labelled(self.rows(name)))

    def rows(self, name: str) -> ListFile:
        """Returns the rows of a list.

        Raises:
            DatasetError: as `list_of`.
            MachineError: it cannot be read.
        """
        if name not in self._read:
            file = self.root / name
            with os_errors_explained(file, "read"):
                content = file.read_bytes()
            self._read[name] = list_of(content, str(file))
        return self._read[name]

    def located(self, name: str, rows: range | None = None) -> Located:
        """Finds the images of a list, and notes what was decided to find them.

        Args:
            rows: to look for; None: all.

        Raises:
            DatasetError, MachineError: as `data.lists.paths.located`.
        """
        found = self.rows(name)
        trains = [self.train] if self.train not in (None, name) else ["train.csv"]
        places = located(found, self.root, folders_of(name, *map(str, trains)), rows)
        if found.other_paths:
            others = ", ".join(found.other_paths)
            self.notes.append(f"{name} names images in {found.path_column}, not in {others}")
        self._places[name] = places.folder
        if places.folder:
            self.notes.append(f"the images of {name} are in {places.folder}/")
        return places

    def expect_own_images(self, name: str) -> None:
        """Makes sure that the images of a list were not located among those for training.

        Both may be numbered from 1: where val's are not unpacked, training's have their names.

        Raises:
            DatasetError: they were, or there is no list for training that tells.
        """
        folder = self._places[name]
        if folder in named_like(name):
            return
        if self.train is None:
            if folder in folders_of(name):
                return
            raise DatasetError(
                f"the images of {name} of {self.root} are found in {folder}/ only, which is for "
                "training: put them into a folder of their own, or the list for training beside it"
            )
        both = sorted(set(self.rows(name).paths) & set(self.rows(self.train).paths))
        if folder not in named_like(self.train):
            # Training's own stand in a folder of theirs.
            own = [self.root / place for place in named_like(self.train)]
            both = [path for path in both if not any((place / path).is_file() for place in own)]
        if both:
            place = f"{folder}/" if folder else "the lists' folder"
            raise DatasetError(
                f"{plain(both[0])} is in {self.train} and {name} of {self.root}, and is found in "
                f"{place} ({len(both):,} such images): put the images of {name} into a folder of "
                "their own, or remove the rows from one"
            )

    def _labelled(self, name: str) -> bool:
        try:
            return self.rows(name).labelled
        except DatasetError:
            # Whatever is called test.csv: it does not have to be a list.
            return False

    def _others(self) -> str:
        others = [n for n in self._names if n.lower().endswith((".csv", ".tsv", ".txt"))]
        others = [name for name in others if name != CLASSES][:_NAMED]
        return f"; rename the list that is meant ({', '.join(others)})" if others else ""
