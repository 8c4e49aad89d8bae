"""Calls operators of a compiled library as MindSpore would, without MindSpore."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# Not a multiple of a vector, so that what lies between two guards begins at an odd address.
_GUARD = 67
_UNTOUCHED = np.float32(-12345.5)


class Compiled:
    def __init__(self, path: Path) -> None:
        self.library = ctypes.CDLL(str(path))

    def status(self, name: str, arrays: Sequence[Floats]) -> int:
        """Of calling `name` with inputs, then outputs; outputs are written in place."""
        count = len(arrays)
        for array in arrays:
            assert array.dtype == np.float32
            assert array.flags.c_contiguous
        shapes = [(ctypes.c_int64 * a.ndim)(*a.shape) for a in arrays]
        data = [a.ctypes.data for a in arrays]
        return int(
            getattr(self.library, name)(
                count,
                (ctypes.c_void_p * count)(*data),
                (ctypes.c_int * count)(*[a.ndim for a in arrays]),
                (ctypes.c_void_p * count)(*map(ctypes.addressof, shapes)),
                None,
                None,
                None,
            )
        )

    def run(
        self, name: str, inputs: Sequence[Floats], shapes: Sequence[tuple[int, ...]]
    ) -> list[Floats]:
        """The outputs, NaN before the call, in memory of exactly their size."""
        outputs = [np.full(shape, np.nan, np.float32) for shape in shapes]
        assert self.status(name, [*inputs, *outputs]) == 0, name
        return outputs

    def run_guarded(
        self, name: str, inputs: Sequence[Floats], shapes: Sequence[tuple[int, ...]]
    ) -> list[Floats]:
        """As `run`, and asserts that nothing was written before, after or into the inputs."""
        guarded = [np.full(np.prod(s, dtype=int) + 2 * _GUARD, _UNTOUCHED) for s in shapes]
        outputs = [
            whole[_GUARD:-_GUARD].reshape(s) for whole, s in zip(guarded, shapes, strict=True)
        ]
        for output in outputs:
            output[...] = np.nan
        before = [array.copy() for array in inputs]
        assert self.status(name, [*inputs, *outputs]) == 0, name
        for whole in guarded:
            assert (whole[:_GUARD] == _UNTOUCHED).all(), f"{name} wrote before an output"
            assert (whole[-_GUARD:] == _UNTOUCHED).all(), f"{name} wrote beyond an output"
        for array, copy in zip(inputs, before, strict=True):
            np.testing.assert_array_equal(array, copy, f"{name} wrote into an input")
        return outputs
