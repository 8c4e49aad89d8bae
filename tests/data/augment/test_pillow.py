"""Draws applied to photographs, against what Pillow makes of them, written out here."""

from __future__ import annotations

import io
from typing import Any

import mindspore.dataset.vision as reference
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from mixnet_core.data.augment.draws import Box, Draws
from mixnet_core.data.augment.pillow import ToNetwork, apply_operation, opened, resized, rgb
from mixnet_core.data.augment.rand_augment import Operation, OperationName
from mixnet_core.recipe import load_recipe
from mixnet_core.recipe_sections import Input
from tests.data.augment.photographs import photograph

FILL = (124, 116, 104)
BICUBIC, BILINEAR = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR
PHOTO = photograph(64, 48)


def same(left: Image.Image, right: Image.Image) -> None:
    assert (left.mode, left.size) == (right.mode, right.size)
    np.testing.assert_array_equal(np.asarray(left), np.asarray(right))


def applied(
    name: OperationName, argument: float | None, resample: Image.Resampling = BICUBIC
) -> Image.Image:
    """PHOTO with one operation, which must change it."""
    done = apply_operation(PHOTO, Operation(name, argument), resample=resample, fill=FILL)
    assert (np.asarray(done) != np.asarray(PHOTO)).any()
    return done


def moved(matrix: tuple[float, ...], resample: Image.Resampling) -> Image.Image:
    return PHOTO.transform(
        PHOTO.size, Image.Transform.AFFINE, matrix, resample=resample, fillcolor=FILL
    )


def test_operations_without_an_argument_are_image_ops() -> None:
    dim = ImageEnhance.Contrast(PHOTO).enhance(0.5)
    done = apply_operation(dim, Operation("AutoContrast", None), resample=BICUBIC, fill=FILL)
    same(done, ImageOps.autocontrast(dim))
    assert (np.asarray(done) != np.asarray(dim)).any()
    same(applied("Equalize", None), ImageOps.equalize(PHOTO))
    same(applied("Invert", None), Image.fromarray(255 - np.asarray(PHOTO)))


@pytest.mark.parametrize("factor", [0.1, 0.19, 0.64, 1.72, 1.9])
def test_enhancing_operations_are_image_enhances(factor: float) -> None:
    same(applied("Color", factor), ImageEnhance.Color(PHOTO).enhance(factor))
    same(applied("Contrast", factor), ImageEnhance.Contrast(PHOTO).enhance(factor))
    same(applied("Brightness", factor), ImageEnhance.Brightness(PHOTO).enhance(factor))
    same(applied("Sharpness", factor), ImageEnhance.Sharpness(PHOTO).enhance(factor))


@pytest.mark.parametrize("bits", [0, 1, 3, 5, 7])
def test_posterize_keeps_the_upper_bits(bits: int) -> None:
    lowest = 1 << (8 - bits)
    expected = np.asarray(PHOTO).astype(int) // lowest * lowest
    same(applied("Posterize", bits), Image.fromarray(expected.astype(np.uint8)))
    if bits:
        same(applied("Posterize", bits), ImageOps.posterize(PHOTO, bits))


def test_posterize_to_eight_bits_changes_nothing() -> None:
    same(apply_operation(PHOTO, Operation("Posterize", 8), resample=BICUBIC, fill=FILL), PHOTO)


@pytest.mark.parametrize("least", [0, 26, 76, 200])
def test_solarize_inverts_from_its_threshold_up(least: int) -> None:
    pixels = np.asarray(PHOTO)
    expected = np.where(pixels < least, pixels, 255 - pixels)
    same(applied("Solarize", least), Image.fromarray(expected))
    same(applied("Solarize", least), ImageOps.solarize(PHOTO, least))


def test_solarize_from_256_changes_nothing() -> None:
    same(apply_operation(PHOTO, Operation("Solarize", 256), resample=BICUBIC, fill=FILL), PHOTO)


@pytest.mark.parametrize("add", [33, 99, 110, 128])
def test_solarize_add_brightens_the_darker_half(add: int) -> None:
    pixels = np.asarray(PHOTO).astype(int)
    expected = np.where(pixels < 128, np.minimum(pixels + add, 255), pixels)
    same(applied("SolarizeAdd", add), Image.fromarray(expected.astype(np.uint8)))


@pytest.mark.parametrize("resample", [BICUBIC, BILINEAR])
@pytest.mark.parametrize("sign", [1, -1])
def test_geometric_operations_are_pillows_with_the_mean_as_background(
    resample: Image.Resampling, sign: int
) -> None:
    turned = PHOTO.rotate(sign * 27.0, resample=resample, fillcolor=FILL)
    same(applied("Rotate", sign * 27.0, resample), turned)
    shear, share = sign * 0.27, sign * 0.405
    same(applied("ShearX", shear, resample), moved((1, shear, 0, 0, 1, 0), resample))
    same(applied("ShearY", shear, resample), moved((1, 0, 0, shear, 1, 0), resample))
    sideways, upright = share * 64, share * 48
    same(applied("TranslateX", share, resample), moved((1, 0, sideways, 0, 1, 0), resample))
    same(applied("TranslateY", share, resample), moved((1, 0, 0, 0, 1, upright), resample))
    assert np.asarray(applied("TranslateY", 0.405))[-1, 0].tolist() == list(FILL)


def test_draws_are_applied_in_order() -> None:
    draws = Draws(
        Box(10, 4, 40, 36),
        True,
        (Operation("Posterize", 3), Operation("Rotate", 9.0), Operation("Invert", None)),
        Box(3, 5, 7, 2),
    )
    to_network = ToNetwork.of(settings(interpolation="bicubic"), 3)
    image = PHOTO.transform((16, 16), Image.Transform.EXTENT, (10, 4, 50, 40), BICUBIC)
    image = ImageOps.posterize(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 3)
    image = ImageOps.invert(image.rotate(9.0, resample=BICUBIC, fillcolor=FILL))
    same(to_network.changed(PHOTO, draws), image)
    expected = (np.asarray(image).astype(float) - [123.7, 116.3, 103.5]) / [58.4, 57.1, 57.4]
    expected[5:7, 3:10] = 0
    out = np.empty((3, 16, 16), np.float32)
    to_network(PHOTO, draws, out)
    np.testing.assert_allclose(out, expected.transpose(2, 0, 1), atol=1e-5)


def test_one_channel_is_grey_normalised_by_the_first_mean() -> None:
    draws = Draws(Box(0, 0, 16, 16), False, (Operation("TranslateX", 0.45),), None)
    out = np.empty((1, 16, 16), np.float32)
    ToNetwork.of(settings(), 1)(PHOTO, draws, out)
    image = PHOTO.crop((0, 0, 16, 16)).transform(
        (16, 16),
        Image.Transform.AFFINE,
        (1, 0, 0.45 * 16, 0, 1, 0),
        resample=BILINEAR,
        fillcolor=(124, 124, 124),
    )
    expected = (np.asarray(image.convert("L")).astype(float) - 123.7) / 58.4
    np.testing.assert_allclose(out[0], expected, atol=1e-5)


def test_a_crop_of_the_right_size_is_not_touched() -> None:
    for resample in (BICUBIC, BILINEAR):
        same(resized(PHOTO, Box(7, 5, 20, 20), 20, resample), PHOTO.crop((7, 5, 27, 25)))


@pytest.mark.parametrize("size", [21, 60, 130], ids=["shrunk", "either", "enlarged"])
@pytest.mark.parametrize(
    ("resample", "inter", "tolerance"),
    [(BILINEAR, reference.Inter.BILINEAR, 0.6), (BICUBIC, reference.Inter.BICUBIC, 1.6)],
)
def test_training_resizes_as_evaluation_does(
    size: int, resample: Image.Resampling, inter: Any, tolerance: float
) -> None:
    photo = photograph(120, 100, 1)
    box = Box(20, 10, 80, 50)
    expected = reference.Resize((size, size), inter)(np.asarray(photo.crop((20, 10, 100, 60))))
    difference = np.abs(np.asarray(resized(photo, box, size, resample)).astype(int) - expected)
    # Averaging over what lies between, or half a pixel aside, differs by five grey levels or more.
    assert difference[2:-2, 2:-2].mean() < tolerance


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def with_alpha() -> Image.Image:
    image = PHOTO.copy()
    image.putalpha(PHOTO.convert("L"))
    return image


def sixteen_bits() -> Image.Image:
    upper = np.asarray(PHOTO.convert("L")).astype(np.uint16) * 256
    return Image.fromarray(upper + np.arange(64, dtype=np.uint16))


def turned_by_exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(PHOTO, "JPEG", exif=exif)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(encoded(PHOTO, "JPEG"), id="jpeg"),
        pytest.param(encoded(PHOTO, "JPEG", progressive=True), id="progressive"),
        pytest.param(encoded(PHOTO.convert("L"), "JPEG"), id="grey-jpeg"),
        pytest.param(encoded(PHOTO.convert("CMYK"), "JPEG"), id="cmyk"),
        pytest.param(turned_by_exif(), id="exif"),
        pytest.param(encoded(PHOTO, "PNG"), id="png"),
        pytest.param(encoded(PHOTO.convert("1"), "PNG"), id="one-bit"),
        pytest.param(encoded(PHOTO.convert("P"), "PNG"), id="palette"),
        pytest.param(
            encoded(PHOTO.convert("P"), "PNG", transparency=bytes(range(256))), id="clear"
        ),
        pytest.param(encoded(with_alpha(), "PNG"), id="alpha"),
        pytest.param(encoded(sixteen_bits(), "PNG"), id="sixteen-bits"),
        pytest.param(encoded(sixteen_bits(), "TIFF"), id="sixteen-bits-tiff"),
        pytest.param(encoded(PHOTO, "BMP"), id="bmp"),
    ],
)
def test_training_decodes_what_evaluation_decodes(content: bytes) -> None:
    expected = reference.Decode()(np.frombuffer(content, np.uint8))
    np.testing.assert_array_equal(np.asarray(rgb(opened(content))), expected)


def settings(**changes: Any) -> Input:
    values = {
        "image_size": 16,
        "interpolation": "bilinear",
        "mean": [123.7, 116.3, 103.5],
        "std": [58.4, 57.1, 57.4],
    }
    return load_recipe(
        "mixnet_s", {f"input.{key}": value for key, value in (values | changes).items()}
    ).input
