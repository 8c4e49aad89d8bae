"""RandAugment (arXiv:1909.13719): which operations an image gets, and with which arguments.

The procedure is timm's (timm/data/auto_augment.py): `operations` of the list, uniformly and with
replacement; each is left out with probability 0.5; its magnitude is normal around `magnitude` with
`magnitude_std` (beyond 100: uniform in 0..magnitude), clipped to 0..10; direction is random.

MindCV copied it (mindcv/data/auto_augment.py) onto mindspore.dataset's operators, which read some
arguments otherwise. Its recipes were trained like that, so "mindcv" means what happened there:

                timm                                    mindcv
    list        15 operations                           14: no SolarizeAdd
    Shear       factor up to 0.3                        the same number as degrees: up to 0.0052
    Posterize   keeps int(0.4 m) bits                   keeps 8 - int(0.4 m): milder
      increasing  keeps 4 - int(0.4 m)                  keeps 4 + int(0.4 m): milder as m grows
    Solarize    from int(25.6 m)                        from int(25.5 m)
      increasing  from 256 - that                       from 255 - that
    magnitude_std as written, 0 if not                  0.5, whatever its configuration says

    Rotate      shows the mean colour from beyond   shows it with red and blue exchanged, as
                the edge                            MindSpore's RandomRotation does (`applying`)

`magnitude_std` is for whoever reads MindCV's files; here it is taken at its word. Not followed,
because the operators are timm's for both: MindSpore shears around the middle (half a pixel of
difference at 0.0052), and its Equalize rounds otherwise (3 to 6 grey levels on average, on
scikit-learn's two photographs).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from numpy.random import Generator

from mixnet_core.recipe.sections import RandAugment

Flavour = Literal["timm", "mindcv"]
OperationName = Literal[
    "AutoContrast",
    "Equalize",
    "Invert",
    "Rotate",
    "Posterize",
    "Solarize",
    "SolarizeAdd",
    "Color",
    "Contrast",
    "Brightness",
    "Sharpness",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
]

APPLIED = 0.5
MAGNITUDES = 10.0
UNIFORM_FROM_STD = 100.0
TRANSLATE_SHARE = 0.45


@dataclass(frozen=True)
class Operation:
    """Describes one operation on one image.

    Attributes:
        name: of the operation.
        argument: Rotate: degrees counter-clockwise; Posterize: bits kept; Solarize: least value
            that is inverted; SolarizeAdd: added to values below 128; Color, Contrast, Brightness,
            Sharpness: factor, 1 changes nothing; Shear: pixels per pixel; Translate: share of the
            side. None: the operation has none.
    """

    name: OperationName
    argument: float | None


@dataclass(frozen=True)
class _Row:
    """Says how a magnitude becomes an argument.

    Attributes:
        argument: magnitude, 0..10 -> argument; None: the operation has none.
        signed: whether the magnitude is negated half of the time.
    """

    argument: Callable[[float], float] | None = None
    signed: bool = False


def draw_operations(settings: RandAugment, generator: Generator) -> tuple[Operation, ...]:
    """Draws an image's operations, in order; they are often fewer than `settings.operations`."""
    rows = _ROWS[settings.flavour, settings.increasing]
    names = tuple(rows)
    drawn = []
    for choice in generator.integers(len(names), size=settings.operations):
        if generator.random() >= APPLIED:
            continue
        name = names[choice]
        drawn.append(Operation(name, _draw_argument(rows[name], settings, generator)))
    return tuple(drawn)


def operation_names(flavour: Flavour) -> tuple[OperationName, ...]:
    """Returns the operations that are drawn from."""
    return tuple(_ROWS[flavour, False])


def _draw_argument(row: _Row, settings: RandAugment, generator: Generator) -> float | None:
    if row.argument is None:
        return None
    magnitude = settings.magnitude
    if settings.magnitude_std > UNIFORM_FROM_STD:
        magnitude = generator.uniform(0.0, magnitude)
    elif settings.magnitude_std > 0:
        magnitude = generator.normal(magnitude, settings.magnitude_std)
    magnitude = max(0.0, min(magnitude, MAGNITUDES))
    if row.signed and generator.random() >= 0.5:
        magnitude = -magnitude
    return row.argument(magnitude)


def _times(greatest: float) -> Callable[[float], float]:
    return lambda magnitude: magnitude / MAGNITUDES * greatest


def _enhance(magnitude: float) -> float:
    return magnitude / MAGNITUDES * 1.8 + 0.1


def _enhance_increasing(magnitude: float) -> float:
    return max(0.1, 1.0 + magnitude / MAGNITUDES * 0.9)


def _whole(greatest: int) -> Callable[[float], int]:
    return lambda magnitude: int(magnitude / MAGNITUDES * greatest)


def _shear_in_degrees(magnitude: float) -> float:
    return math.tan(math.radians(_times(0.3)(magnitude)))


def _rows(flavour: Flavour, increasing: bool) -> Mapping[OperationName, _Row]:
    timm = flavour == "timm"
    enhance = _Row(_enhance_increasing, signed=True) if increasing else _Row(_enhance)
    shear = _Row(_times(0.3) if timm else _shear_in_degrees, signed=True)
    translate = _Row(_times(TRANSLATE_SHARE), signed=True)
    bits, least, most = _whole(4), _whole(256 if timm else 255), 256 if timm else 255

    def posterize(magnitude: float) -> float:
        asked = 4 - bits(magnitude) if increasing else bits(magnitude)
        return asked if timm else max(8 - asked, 1)

    def solarize(magnitude: float) -> float:
        return most - least(magnitude) if increasing else least(magnitude)

    rows: dict[OperationName, _Row] = {
        "AutoContrast": _Row(),
        "Equalize": _Row(),
        "Invert": _Row(),
        "Rotate": _Row(_times(30.0), signed=True),
        "Posterize": _Row(posterize),
        "Solarize": _Row(solarize),
        "SolarizeAdd": _Row(_whole(110)),
        "Color": enhance,
        "Contrast": enhance,
        "Brightness": enhance,
        "Sharpness": enhance,
        "ShearX": shear,
        "ShearY": shear,
        "TranslateX": translate,
        "TranslateY": translate,
    }
    if not timm:
        del rows["SolarizeAdd"]
    return rows


_ROWS: Mapping[tuple[Flavour, bool], Mapping[OperationName, _Row]] = {
    ("timm", False): _rows("timm", False),
    ("timm", True): _rows("timm", True),
    ("mindcv", False): _rows("mindcv", False),
    ("mindcv", True): _rows("mindcv", True),
}
