"""Trees of folders as people, programs and file systems leave them."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import strategies as st

from tests.fuzz import pictures

Tree = dict[str, str]
"""Path -> what the file holds (`pictures`), "-> TARGET" for a link, "queue" for a fifo.

A path that ends in a slash is a folder of its own. A path's odd bytes are those of `os.fsdecode`.
"""

LINK = "-> "

TRAIN = ("train", "Train", "TRAIN", "training", "Training")
VAL = ("val", "valid", "Validation", "validation", "VAL", "test", "Test", "testing")
BESIDE = ("images", "annotations", "train_", "train ", ".git", "__MACOSX", "val2", "unlabelled")

SYSTEMS_OWN = ("@eaDir", "__MACOSX", "lost+found", "$RECYCLE.BIN", "__pycache__")
CLASSES = (
    "ant", "bee", "cat", "Ant", "ant ",
    " ant", "caf\u00e9", "cafe\u0301", "\u00c5", "A\u030a", "\u212b", "0", "1", "2", "10", "01",
    "n01440764", "train", "val", "test", "README.md", "a.jpg", ".hidden", *SYSTEMS_OWN,
    "\U0001f426", "\u202eant", "a\u200bnt", "a\nb", "a\tb", "a\u2028b", "\udcff\udcfe", "x" * 255,
    "-rf", "~", "$HOME", "a,b", 'a"b', "a'b", "a\\b", "a;b", "a:b", "%2e", "#1", "a  b", "a\u00a0b",
    "\u0645\u0631\u062d\u0628\u0627", "con", "...", "None", "nan", "=1+1",
)  # fmt: skip
FILES = (
    "1.jpg", "2.JPG", "3.jpeg", "4.png", "IMG_0001.JPG", "a.tif", "b.bmp", "c.pgm", "d.jfif",
    "e.mpo", "f.webp", "g.gif", "h.heic", "i.nef", "photo", "photo.download", "5.PNG~", "1.jpg.txt",
    ".DS_Store", "._1.jpg", "Thumbs.db", "desktop.ini", "labels.csv", "notes.txt", "x.xml",
    "caf\u00e9.png", "cafe\u0301.png", "1.png ", " 1.png", ".png", "png", "1.", "a,b.png", 'a".png',
    "\U0001f426.png", "\u202egnp.1", "a\u200b.png", "a\nb.png", "a\rb.png", "a\x7f.png",
    "\udcff.png", "\udcff", "\u2028.png", "x" * 251 + ".png", "-rf.png", "~.png", "a\\b.png",
    "%41.png", "#1.png",
)  # fmt: skip
_TARGETS = (
    "missing", "/missing/1.jpg", ".", "..", "../ant", "../bee/1.jpg", "1.jpg", "/dev/null",
    "../../train", "../../images", "self",
)  # fmt: skip
_LETTERS = st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="/")
_ODD_LETTERS = st.characters(blacklist_categories=["Cs"], blacklist_characters="/\0")


def _texts(letters: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.text(letters, min_size=1, max_size=6).filter(
        lambda name: name not in (".", "..") and len(name.encode()) < 200
    )


def mostly(usual: st.SearchStrategy[str], odd: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Draws what is usual four times in five: where all is odd, all is refused for the same."""
    return st.one_of(usual, usual, usual, usual, odd)


class_names = mostly(
    st.sampled_from(CLASSES[:3]), mostly(st.sampled_from(CLASSES), _texts(_LETTERS))
)
file_names = mostly(
    st.one_of(
        st.sampled_from(FILES[:25]),
        st.builds("{}{}".format, _texts(_LETTERS), st.sampled_from(["", ".jpg", ".PNG"])),
    ),
    st.one_of(
        st.sampled_from(FILES),
        st.builds("{}{}".format, _texts(_ODD_LETTERS), st.sampled_from(["", ".png"])),
    ),
)
_things = mostly(
    pictures.names,
    st.one_of(
        st.builds("{}{}".format, st.just(LINK), st.sampled_from(_TARGETS)),
        st.sampled_from(["queue", "archive"]),
    ),
)
# Of a class; another one is refused.
_inner_names = mostly(st.sampled_from([".hidden", *SYSTEMS_OWN]), class_names)


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """A dataset's folder: one that is in order, and some things that were left in it."""
    train = draw(mostly(st.just("train"), st.sampled_from(TRAIN)))
    classes = ["ant", "bee"]
    if draw(st.integers(0, 3)) == 0:
        classes = draw(st.lists(class_names, min_size=1, max_size=3, unique=True))
    splits = [(train, draw(st.sampled_from([3, 3, 4, 2])))]
    if draw(st.booleans()):
        splits.append((draw(st.sampled_from(VAL)), 1))
    tree: Tree = {}
    for split, count in splits:
        for name in classes:
            for _ in range(count):
                tree[f"{split}/{name}/{len(tree)}.png"] = f"PNG {len(tree)}"
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 2, 3, 6]))):
        _leave(draw, tree)
    return tree


def _leave(draw: st.DrawFn, tree: Tree) -> None:
    """Adds one thing somewhere."""
    known = sorted({parent for path in tree for parent in _parents(path)})
    folder = draw(st.sampled_from(known))
    kind = draw(st.sampled_from(["file", "file", "file", "file", "folder", "folder of files"]))
    split_names = mostly(st.sampled_from([*TRAIN, *VAL, *BESIDE]), st.sampled_from(CLASSES))
    name = draw([split_names, class_names, _inner_names][min(folder.count("/"), 2)])
    if kind == "folder":
        tree[f"{folder}{name}/"] = ""
        return
    if kind == "folder of files":
        folder = f"{folder}{name}/"
    tree[f"{folder}{draw(file_names)}"] = draw(_things)


def _parents(path: str) -> list[str]:
    """Its folders, each with a slash at its end; the tree's own is empty."""
    *folders, _ = path.split("/")
    return ["".join(f"{name}/" for name in folders[:count]) for count in range(len(folders) + 1)]


def write(tree: Tree, root: Path) -> Path:
    """Makes a tree's folders and files; what the file system does not take is left out."""
    root.mkdir(parents=True)
    for path, holds in tree.items():
        target = root / path
        try:
            if path.endswith("/"):
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_symlink() or target.exists():
                continue
            if holds.startswith(LINK):
                target.symlink_to(holds.removeprefix(LINK))
            elif holds == "queue":
                os.mkfifo(target)
            else:
                target.write_bytes(pictures.content(holds))
        except OSError:
            continue
    return root


def unsound(tree: Tree) -> list[str]:
    """The names of files that may be taken for pictures and are not surely sound ones."""
    return [Path(path).name for path, holds in tree.items() if not pictures.is_sound(holds)]


def files_below(folder: Path, followed: frozenset[str] = frozenset(), inner: str = "") -> int:
    """Counts what is no folder below a folder.

    Args:
        followed: links to folders, from `folder`, whose files count; those of others do not.
    """
    count = 0
    with os.scandir(folder) as found:
        for entry in found:
            path = f"{inner}{entry.name}"
            leads_to_a_folder = Path(entry.path).is_dir()
            if leads_to_a_folder and (path in followed or not entry.is_symlink()):
                count += files_below(Path(entry.path), followed, f"{path}/")
            elif not leads_to_a_folder:
                count += 1
    return count
