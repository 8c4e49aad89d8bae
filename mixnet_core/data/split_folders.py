"""Which folders of a dataset hold its training and its val images, and what stands beside them."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from mixnet_core.data.account import HIDDEN, Tally
from mixnet_core.data.split_names import candidates
from mixnet_core.errors import DatasetError
from mixnet_core.storage.files import os_errors_explained

# What systems leave beside people's files, by name; what begins with a dot is hidden anyway.
_OF_SYSTEMS = frozenset(
    ("@eaDir", "__MACOSX", "__pycache__", "$RECYCLE.BIN", "System Volume Information", "lost+found")
)


@dataclass(frozen=True)
class SplitFolders:
    """Names the folders that a dataset consists of.

    Attributes:
        root: the dataset's folder.
        train, val: names of folders in it; None: there is none.
        unused: names of folders that could have been meant, or hold something else.
        files: names of files beside them.
    """

    root: Path
    train: str | None
    val: str | None
    unused: tuple[str, ...]
    files: tuple[str, ...]

    def account_for_the_rest(self, tally: Tally) -> None:
        """Counts what stands beside the splits, and notes which folder is val."""
        for name in self.unused:
            hidden = is_hidden(name)
            reason = HIDDEN if hidden else f"in {name}/, which is not used"
            if not tally.leave_all(reason, self.root / name) and not hidden:
                tally.note(f"{name}/ is not used")
        for name in self.files:
            reason = HIDDEN if is_hidden(name) else "beside the splits' folders"
            tally.leave(reason, self.root / name)
        if self.val is not None and self.val != "val":
            tally.note(f"{self.val}/ is taken for val")
        elif self.val is None and self.train is not None:
            tally.note(f"no val/: val is cut from {self.train}/")


def split_folders(root: Path, *, tests: bool = True) -> SplitFolders:
    """Finds the folders of the splits by their names (`data.split_names`).

    Args:
        tests: whether a test split may stand in for val; only with class folders that train has
            too, for those of competitions have no labels.

    Raises:
        DatasetError: a split's folder is a broken link.
        MachineError: the folder cannot be read.
    """
    with os_errors_explained(root, "read"), os.scandir(root) as found:
        every = sorted(found, key=lambda entry: entry.name)
    for entry in every:
        if candidates([entry.name], "train") or candidates([entry.name], "val"):
            expect_whole(root, entry)
    folders = [entry.name for entry in every if is_folder(entry)]
    train = next(iter(candidates(folders, "train")), None)
    meant = (name for name in candidates(folders, "val") if _means_val(root, name, train, tests))
    val = next(meant, None)
    return SplitFolders(
        root,
        train,
        val,
        unused=tuple(name for name in folders if name not in (train, val)),
        files=tuple(entry.name for entry in every if not is_folder(entry)),
    )


def expect_train(root: Path, splits: SplitFolders) -> str:
    """Returns the name of the folder of training images.

    Raises:
        DatasetError: there is none.
    """
    if splits.train is not None:
        return splits.train
    inside = next(
        (name for name in splits.unused if candidates(_folders(root / name), "train")), ""
    )
    meant = f"; {inside}/ in it has one: name that folder" if inside else ""
    raise DatasetError(f"data.path {root} has no folder train/: expected train/<class>/{meant}")


def holds_folders(folder: Path) -> bool:
    """Tells whether a folder has folders in it that are not hidden.

    Raises:
        MachineError: it cannot be read.
    """
    return bool(_folders(folder))


def is_hidden(name: str) -> bool:
    """Tells whether a name is meant to be passed over, as what a system leaves."""
    return name.startswith(".") or name in _OF_SYSTEMS


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Tells whether an entry is a folder or leads to one; a link that leads in a circle does not.

    Raises:
        OSError: it cannot be looked at.
    """
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return False


def expect_whole(folder: Path, entry: os.DirEntry[str]) -> None:
    """Makes sure that an entry is not a link to what is not there.

    Raises:
        DatasetError: it is; its images would be missing in silence.
    """
    if entry.is_symlink() and not Path(entry.path).exists():
        raise DatasetError(
            f"{folder / entry.name} is a broken link to {Path(entry.path).readlink()}: mount or "
            "restore what it leads to, or remove it"
        )


def _means_val(root: Path, name: str, train: str | None, tests: bool) -> bool:
    if not name.lower().startswith("test"):
        return True
    named = set(_folders(root / name)) if tests else set()
    # test/unknown/ and test/test/ are how competitions hand out what they do not tell.
    return bool(named & set(_folders(root / train)) if train else named)


def _folders(folder: Path) -> list[str]:
    with os_errors_explained(folder, "read"), os.scandir(folder) as found:
        return [entry.name for entry in found if is_folder(entry) and not is_hidden(entry.name)]
