"""Lists of images as spreadsheets, scripts and competitions write them."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.fuzz import pictures
from tests.fuzz.documents import damaged_bytes

_PATH_COLUMNS = (
    "path",
    "filename",
    "image_id",
    "Image",
    "file name",
    "id",
    "FILE_PATH",
    "img",
    "x",
)
_VALUE_COLUMNS = ("label", "class", "Label", "CLASS", "class_name", "target", "breed",
    "category", "y", "z",
)  # fmt: skip
_MORE_COLUMNS = ("", "split", "width", "id", "label", "class", "is_valid", "path", " ", "x", "url")
_NAMES = ("ant", "bee", "cat", "Ant", " ant", "caf\u00e9", "cafe\u0301", "0", "1", "2",
    "10", "01", "1.0", "-1", "1e3", "n01440764", "a,b", 'a"b', "a;b", "a\nb", "", "nan", "None",
    "\U0001f426", "..", "a/b", "x" * 300, "\u2028", "\x00", "999999", "9999999", "\u0663",
)  # fmt: skip
_FOLDERS = ("", "", "", "images/", "train/", "a/b/", "caf\u00e9/", "images/train/", " x/", "a,b/")
_STEMS = ("1", "2", "3", "4", "5", "6", "7", "8", "IMG_0001", "a b", "caf\u00e9", "a,b",
    'a"b', "\U0001f426", "1.2", "-x", "\u202ea", "~", "%41", "#1",
)  # fmt: skip
_SUFFIXES = (".png", ".png", ".png", ".jpg", ".PNG", "", ".txt", ".webp")


class Case(NamedTuple):
    """A folder of images and lists.

    Attributes:
        images: path -> what the file holds (`pictures`).
        lists: name -> the file's bytes.
        rows: name of a list -> its rows' paths and values; what is in bytes that were damaged since
            is not known, then it is None.
    """

    images: dict[str, str]
    lists: dict[str, bytes]
    rows: dict[str, list[tuple[str, str]]] | None


# What may be odd about a case.
_ODDITIES = (
    "an image is missing",
    "a file is no picture", "classes", "paths", "rows twice", "columns", "more columns",
    "separator", "quotes", "line ends", "order", "blank line", "no header", "first line",
    "encoding", "classes.txt", "two lists", "folder", "suffix",
)  # fmt: skip


@st.composite
def cases(draw: st.DrawFn, *, damage: bool = False) -> Case:
    """Draws a folder with lists: some are in order, others odd in some respects.

    Args:
        damage: bytes of a list are damaged.
    """
    most = draw(st.sampled_from([0, 1, 2, 3, 6]))
    odd = draw(st.sets(st.sampled_from(_ODDITIES), max_size=most))
    folder = draw(st.sampled_from(_FOLDERS)) if "folder" in odd else "images/"
    suffix = draw(st.sampled_from(_SUFFIXES)) if "suffix" in odd else ".png"
    stems = draw(st.lists(st.sampled_from(_STEMS), min_size=8, max_size=10, unique=True))
    paths = [f"{folder}{stem}{suffix}" for stem in stems]
    there = paths[1:] if "an image is missing" in odd else paths
    images = {path: f"PNG {number}" for number, path in enumerate(there)}
    if "a file is no picture" in odd:
        images[draw(st.sampled_from(paths))] = draw(pictures.names)
    classes = draw(st.sampled_from([["ant", "bee"], ["0", "1"], ["ant", "bee"]]))
    if "classes" in odd:
        classes = draw(st.lists(st.sampled_from(_NAMES), min_size=1, max_size=3, unique=True))
    rows = [(path, classes[number % len(classes)]) for number, path in enumerate(paths)]
    if "paths" in odd:
        how = draw(st.sampled_from(_WRITTEN))
        rows = [(_written(path, how, folder, suffix), value) for path, value in rows]
    if "rows twice" in odd:
        again, value = draw(st.sampled_from(rows))
        rows.append((again, draw(st.sampled_from([value, value, *classes]))))
    cut = draw(st.sampled_from([1, 2])) if "two lists" in odd else 0
    val = draw(st.sampled_from(["val.csv", "valid.csv", "Test.csv"]))
    known = {name: some for name, some in (("train.csv", rows[cut:]), (val, rows[:cut])) if some}
    lists = {name: _text(draw, some, odd) for name, some in known.items()}
    if "classes.txt" in odd:
        lists["classes.txt"] = "\n".join(draw(st.permutations(classes))).encode("utf-8", "replace")
    if not damage:
        return Case(images, lists, known)
    spoilt = draw(st.sampled_from(sorted(lists)))
    return Case(images, lists | {spoilt: draw(damaged_bytes(lists[spoilt]))}, None)


_WRITTEN = ("./", "windows", "id", "stem", "up", "double", "space")


def _written(path: str, how: str, folder: str, suffix: str) -> str:
    """Another way to write a path."""
    forms = {
        "./": f"./{path}",
        "windows": path.replace("/", "\\"),
        "id": path.removesuffix(suffix) if suffix else path,
        "stem": path.removeprefix(folder),
        "up": f"../{path}",
        "double": path.replace("/", "//"),
        "space": f"{path} ",
    }
    return forms[how]


def _text(draw: st.DrawFn, rows: list[tuple[str, str]], odd: set[str]) -> bytes:
    """Writes rows as some program would."""

    def one(oddity: str, usual: Any, *others: Any) -> Any:
        return draw(st.sampled_from(others)) if oddity in odd else usual

    number = all(value.isdecimal() for _, value in rows)
    header = [
        one("columns", "path", *_PATH_COLUMNS),
        one("columns", "label" if number else "class", *_VALUE_COLUMNS),
    ]
    more = (
        draw(st.lists(st.sampled_from(_MORE_COLUMNS), max_size=2)) if "more columns" in odd else []
    )
    text = io.StringIO()
    writer = csv.writer(
        text,
        delimiter=one("separator", ",", ";", "\t", "|"),
        quoting=one("quotes", csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC),
        lineterminator=one("line ends", "\n", "\r\n", "\r"),
    )
    lines = [[*header, *more], *([*row, *("" for _ in more)] for row in rows)]
    if "order" in odd:
        lines = [list(reversed(line)) for line in lines]
    if "blank line" in odd:
        lines.insert(draw(st.integers(0, len(lines))), [])
    if "no header" in odd:
        lines = lines[1:]
    writer.writerows(lines)
    before = one("first line", "", "sep=,\n", "sep=;\r\n", "# made by x\n", "\n")
    encoding = one("encoding", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252")
    return (before + text.getvalue()).encode(encoding, "replace")


def write(case: Case, root: Path) -> Path:
    """Makes the folder of a case."""
    for path, holds in case.images.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(pictures.content(holds))
    for name, content in case.lists.items():
        (root / name).write_bytes(content)
    return root
