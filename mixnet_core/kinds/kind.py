"""One kind of thing: the modules of a package, each of which offers one under a given name.

A file that is put into the package is one more of the kind. Its name is what a recipe, a URI or an
option calls it; a leading underscore keeps a file out.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Kind(Generic[T]):
    """All of one kind.

    Attributes:
        package: dotted name of the package whose modules they are.
        attribute: what each module calls the one that it offers.
    """

    package: str
    attribute: str

    def names(self) -> tuple[str, ...]:
        """Returns the names of all, sorted; no module is imported for it."""
        paths = importlib.import_module(self.package).__path__
        found = (module.name for module in pkgutil.iter_modules(paths))
        return tuple(sorted(name for name in found if not name.startswith("_")))

    def load(self, name: str) -> T:
        """Imports one of them.

        Raises:
            KeyError: there is none of that name.
        """
        if name not in self.names():
            raise KeyError(name)
        found: T = getattr(importlib.import_module(f"{self.package}.{name}"), self.attribute)
        return found

    def all(self) -> dict[str, T]:
        """Imports all of them: name -> it."""
        return {name: self.load(name) for name in self.names()}


def did_you_mean(name: str, known: Iterable[str], most: int = 1) -> str:
    """Returns " (did you mean X or Y?)" for a name that is near known ones, else "".

    Args:
        most: how many near names it says.
    """
    close = difflib.get_close_matches(name, list(known), n=most)
    return f" (did you mean {' or '.join(close)}?)" if close else ""
