"""The header of a list: which column names the image, and which tell what is on it.

A column is known by its header, in any case of letters, with `_`, `-`, a space or nothing between
the words:

    the image   path, file_path, image_path, img_path, relative_path, file_name, file,
                image_file_name, image_file, image_name, img_name, image, img, image_id, img_id,
                id_code, id; of several the first of this order
    its label   label, labels, label_id, label_index, label_idx, class_id, class_index, class_idx,
                category_id, target, target_id, y
    its class   class, class_name, class_label, category, category_name, label_name, breed, species,
                wnid, synset

Other columns are passed over. What separates the values is the comma, semicolon or tab that gives a
header with such names.
"""

from __future__ import annotations

import csv
import re
from typing import NamedTuple

from mixnet_core.data.account import several
from mixnet_core.data.lists.text import (
    DELIMITERS,
    HEAD_BYTES,
    no_csv,
    not_utf_8,
    plain,
    quoted,
    records,
)
from mixnet_core.errors import DatasetError

EXPECTED = "expected a header with path and label, or path and class"
_PATH = (
    "path", "filepath", "imagepath", "imgpath", "relativepath", "filename", "file",
    "imagefilename", "imagefile", "imagename", "imgname", "image", "img", "imageid", "imgid",
    "idcode", "id",
)  # fmt: skip
_LABEL = (
    "label", "labels", "labelid", "labelindex", "labelidx", "classid", "classindex", "classidx",
    "categoryid", "target", "targetid", "y",
)  # fmt: skip
_CLASS = (
    "class", "classname", "classlabel", "category", "categoryname", "labelname", "breed",
    "species", "wnid", "synset",
)  # fmt: skip
# Rows of several splits in one list would be trained on together.
_SPLIT = frozenset(("split", "isvalid", "isval", "istest", "istrain"))
_IMAGE_NAME = re.compile(r"[^,;\t]\.(?:jpe?g|png|bmp|gif|tiff?|webp|ppm|jp2)$", re.IGNORECASE)
_NAMED = 12


class Header(NamedTuple):
    """Tells the columns of a list, by their positions.

    Attributes:
        delimiter: what separates values.
        names: of all columns, as the file has them.
        path: the column that names the image.
        other_paths: columns that would have done as well.
        labels, classes: columns that tell what is on the image, by what they are headed as.
        splits: columns that tell which split an image is of.
    """

    delimiter: str
    names: list[str]
    path: int
    other_paths: list[int]
    labels: list[int]
    classes: list[int]
    splits: list[int]

    @property
    def values(self) -> list[int]:
        """Returns the columns that tell what is on the image, as they stand."""
        return sorted(self.labels + self.classes)


def header_of(content: bytes, encoding: str, where: str) -> Header:
    """Finds the header by what separates its names; without one that fits, the longest.

    Raises:
        DatasetError: there is none, none of its columns names images, or two have one name.
    """
    # Cut anywhere: what is incomplete at the end is behind the header.
    head = content[:HEAD_BYTES]
    found = []
    fault = None
    for delimiter in DELIMITERS:
        try:
            _, names = next(records(head, encoding, delimiter))
        except StopIteration:
            raise DatasetError(f"{where} is empty: {EXPECTED}, one row per image") from None
        except UnicodeDecodeError as error:
            raise not_utf_8(content, encoding, where) from error
        except csv.Error as error:
            # Names in quotes are none where another character separates them.
            fault = fault or error
            continue
        found.append(_understood(delimiter, [name.strip() for name in names]))
    if not found:
        assert fault is not None
        raise no_csv(where, 1, fault) from fault
    best = max(found, key=lambda h: (h.path >= 0, bool(h.values), len(h.names)))
    if best.path < 0 and any(_IMAGE_NAME.search(name) for name in best.names):
        raise DatasetError(
            f"{where} has no header, it begins with the image {some(best.names)}: put a line "
            "path,label or path,class above"
        )
    if best.path < 0:
        raise DatasetError(
            f"{where} has the columns {some(best.names)}, none of them an image's: {EXPECTED}; "
            "rename the one that names images"
        )
    for name in best.names:
        if name and best.names.count(name) > 1:
            raise DatasetError(f"{where} has two columns {quoted(name)}: remove or rename one")
    return best


def _understood(delimiter: str, names: list[str]) -> Header:
    keys = [re.sub(r"[\s_-]", "", name).lower() for name in names]
    paths = sorted(
        (i for i, k in enumerate(keys) if k in _PATH), key=lambda i: _PATH.index(keys[i])
    )
    # Beside x, y is the other coordinate.
    labels = [i for i, k in enumerate(keys) if k in _LABEL and not (k == "y" and "x" in keys)]
    return Header(
        delimiter,
        names,
        path=paths[0] if paths else -1,
        other_paths=paths[1:],
        labels=labels,
        classes=[i for i, key in enumerate(keys) if key in _CLASS],
        splits=[i for i, key in enumerate(keys) if key in _SPLIT],
    )


def some(names: list[str]) -> str:
    """Names columns in a message, the first of many."""
    return several([plain(name) for name in names[:_NAMED]], len(names))
