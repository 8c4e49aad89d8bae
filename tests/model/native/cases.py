"""Calls of the compiled operators on shapes where they could go wrong.

Run as a program, `cases.py LIBRARY`: makes every call and prints one digest of all outputs. With
`--exact` each is compared with float64 too, and guarded.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from tests.model.native import oracle
from tests.model.native.case import Case, draw, linear
from tests.model.native.compiled import Compiled
from tests.model.native.norm_cases import norm_act
from tests.model.native.oracle import Activation, Array, Padding

KERNELS = (1, 3, 5, 7, 9, 11, 13)
# (H, W): pixels, single rows and columns, smaller than the kernels, and widths of input or, with
# stride 2, of output around vectors of 4, 8 and 16 floats.
PLANES = (
    *((1, 1), (2, 2), (1, 2), (1, 9), (9, 1), (1, 33), (31, 1), (3, 4), (4, 3), (5, 7), (7, 7)),
    *((8, 8), (5, 9), (14, 14), (6, 15), (16, 16), (3, 17), (29, 31), (12, 33), (2, 65), (3, 64)),
)


def mixconv(
    kernels: tuple[int, ...],
    shares: tuple[int, ...],
    plane: tuple[int, int],
    stride: int,
    padding: Padding,
    images: int = 2,
) -> Iterator[Case]:
    """Forward, input gradient and weight gradient."""
    height, width = plane
    label = f"{kernels} on {images}x{shares}x{height}x{width}, stride {stride}, {padding}"
    out = (images, sum(shares), -(-height // stride), -(-width // stride))
    x, dy, *weights = draw(
        label,
        (images, sum(shares), height, width),
        out,
        *((c, 1, k, k) for c, k in zip(shares, kernels, strict=True)),
    )

    def forward(x: Array, *weights: Array) -> Array:
        return oracle.mixconv(x, list(weights), stride, padding)

    def by_x(dy: Array, x: Array, *weights: Array) -> Array:
        return oracle.mixconv_gradients(dy, x, list(weights), stride, padding)[0]

    def by_weights(dy: Array, x: Array, *weights: Array) -> list[Array]:
        return oracle.mixconv_gradients(dy, x, list(weights), stride, padding)[1]

    for operator, inputs, shapes, function in (
        ("forward", (x, *weights), (out,), forward),
        ("input_gradient", (dy, x, *weights), (x.shape,), by_x),
        ("weight_gradient", (dy, x, *weights), tuple(w.shape for w in weights), by_weights),
    ):
        yield Case(
            label,
            f"mixconv_{operator}_{padding}",
            inputs,
            shapes,
            partial(linear, function, *inputs),
        )


def mixconv_of_one_kernel(kernel: int, stride: int, padding: Padding) -> Iterator[Case]:
    for plane in PLANES:
        yield from mixconv((kernel,), (3,), plane, stride, padding)


def mixconv_of_several(stride: int, padding: Padding) -> Iterator[Case]:
    for plane in ((1, 1), (4, 3), (7, 7), (9, 16), (10, 33)):
        # Eleven channels do not divide by two or five; one image, and one channel of each.
        yield from mixconv((3, 5, 7, 9, 11), (3, 2, 2, 2, 2), plane, stride, padding, images=3)
        yield from mixconv((5, 3), (6, 5), plane, stride, padding, images=1)
        yield from mixconv((13, 1), (1, 1), plane, stride, padding, images=1)
    # More planes than a thread takes at once.
    yield from mixconv((3, 7), (21, 20), (10, 12), stride, padding, images=4)


def stem(stride: int) -> Iterator[Case]:
    planes = ((1, 1), (1, 9), (9, 1), (2, 3), (7, 8), (8, 15), (9, 16), (6, 17), (5, 33), (3, 31))
    for channels, outputs, kernel in product((1, 3, 4), (10, 16, 24), (3, 5)):
        for images, (height, width) in zip((1, 2, 3, 2) * 3, planes, strict=False):
            label = f"{channels} to {outputs}, {kernel}x{kernel}, on {images}x{height}x{width}"
            out = (images, outputs, -(-height // stride), -(-width // stride))
            x, dy, weights = draw(
                f"{label} / {stride}",
                (images, channels, height, width),
                out,
                (outputs, channels, kernel, kernel),
            )
            yield Case(
                label,
                "stem_forward",
                (x, weights),
                (out,),
                partial(linear, partial(oracle.stem, stride=stride), x, weights),
            )

            def by_weights(dy: Array, x: Array, weights: Array) -> Array:
                return oracle.stem_gradients(dy, x, weights, stride)[1]

            yield Case(
                label,
                "stem_weight_gradient",
                (dy, x, weights),
                (weights.shape,),
                partial(linear, by_weights, dy, x, weights),
            )


def scale() -> Iterator[Case]:
    for size in (1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 49, 196):
        shape = (2, 5, 1, size) if size % 7 else (3, 4, size // 7, 7)
        x, dy, gate = draw(f"scale {size}", shape, shape, (*shape[:2], 1, 1))

        def gradients(dy: Array, x: Array, gate: Array) -> list[Array]:
            return [dy * gate, (dy * x).sum((2, 3), keepdims=True)]

        def times(x: Array, gate: Array) -> Array:
            return x * gate

        label = f"planes of {size}"
        yield Case(label, "scale_forward", (x, gate), (shape,), partial(linear, times, x, gate))
        yield Case(
            label,
            "scale_backward",
            (dy, x, gate),
            (shape, gate.shape),
            partial(linear, gradients, dy, x, gate),
        )


def _groups() -> Iterator[tuple[str, Callable[[], Iterable[Case]]]]:
    paddings: tuple[Padding, ...] = ("symmetric", "same")
    activations: tuple[Activation, ...] = ("none", "relu", "swish")
    for padding, stride in product(paddings, (1, 2)):
        for kernel in KERNELS:
            name = f"mixconv {kernel}x{kernel}, stride {stride}, {padding}"
            yield name, partial(mixconv_of_one_kernel, kernel, stride, padding)
        name = f"mixconv of several kernels, stride {stride}, {padding}"
        yield name, partial(mixconv_of_several, stride, padding)
    for stride in (1, 2):
        yield f"stem, stride {stride}", partial(stem, stride)
    yield "scale", scale
    for activation in activations:
        yield f"norm and {activation}", partial(norm_act, activation)


# What each group's name is of; the cases are drawn when asked for.
GROUPS: dict[str, Callable[[], Iterable[Case]]] = dict(_groups())


def expect_exact(compiled: Compiled, case: Case) -> list[Array]:
    """Makes a call; NaN where nothing was written is no number, and so fails too."""
    outputs = compiled.run_guarded(case.operator, case.inputs, case.shapes)
    for output, expected in zip(outputs, case.expected(), strict=True):
        off = np.abs(output - expected.values)
        assert (off <= expected.off).all(), f"{case.operator}: {case.label}"
    return outputs


def main(library: str, *, exact: bool) -> None:
    compiled, digest, calls = Compiled(Path(library)), hashlib.sha256(), 0
    for cases in GROUPS.values():
        for case in cases():
            outputs = (
                expect_exact(compiled, case)
                if exact
                else compiled.run(case.operator, case.inputs, case.shapes)
            )
            for output in outputs:
                digest.update(output.tobytes())
            calls += 1
    said = f"{platform.machine()}: {calls} calls as in float64, outputs " if exact else ""
    sys.stdout.write(f"{said}{digest.hexdigest()}\n")


if __name__ == "__main__":
    main(sys.argv[1], exact="--exact" in sys.argv)
