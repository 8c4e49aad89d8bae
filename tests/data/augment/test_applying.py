"""Draws applied to photographs, against what Pillow and MindSpore make of them."""

from __future__ import annotations

from typing import Any

import cv2
import mindspore.dataset.vision as reference
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps
from sklearn.datasets import load_sample_images

from mixnet_core.data.augment import geometry
from mixnet_core.data.augment.applying import Applying, apply_operation, resized
from mixnet_core.data.augment.draws import Box, Draws
from mixnet_core.data.augment.rand_augment import Operation, OperationName
from tests.data.augment.photographs import photograph, recipe_of

FILL = (124, 116, 104)
PHOTO = photograph(64, 48)
PIXELS = np.asarray(PHOTO)
PILLOW = {cv2.INTER_CUBIC: Image.Resampling.BICUBIC, cv2.INTER_LINEAR: Image.Resampling.BILINEAR}


def same(left: NDArray[np.uint8], right: Image.Image | NDArray[np.uint8]) -> None:
    assert left.dtype == np.uint8
    np.testing.assert_array_equal(left, np.asarray(right))


def near(left: NDArray[np.uint8], right: Image.Image, *, levels: int) -> None:
    assert np.abs(left.astype(int) - np.asarray(right)).max() <= levels


def applied(
    name: OperationName,
    argument: float | None,
    interpolation: int = cv2.INTER_CUBIC,
    image: NDArray[np.uint8] = PIXELS,
) -> NDArray[np.uint8]:
    before = image.copy()
    operation = Operation(name, argument)
    done = apply_operation(image, operation, interpolation=interpolation, fill=FILL)
    np.testing.assert_array_equal(image, before)
    return done


def changed(
    name: OperationName, argument: float | None, interpolation: int = cv2.INTER_CUBIC
) -> NDArray[np.uint8]:
    """The photograph with one operation, which must change it."""
    done = applied(name, argument, interpolation)
    assert (done != PIXELS).any()
    return done


def test_operations_without_an_argument_are_image_ops() -> None:
    dim = ImageEnhance.Contrast(PHOTO).enhance(0.5)
    done = applied("AutoContrast", None, image=np.asarray(dim))
    same(done, ImageOps.autocontrast(dim))
    assert (done != np.asarray(dim)).any()
    same(changed("Equalize", None), ImageOps.equalize(PHOTO))
    same(changed("Invert", None), 255 - PIXELS)


def test_mindspores_equalize_is_another_one_by_as_much_as_is_said() -> None:
    for image in load_sample_images().images:
        ours, theirs = applied("Equalize", None, image=image), reference.Equalize()(image)
        assert 3 <= np.abs(ours.astype(int) - theirs).mean() <= 6


@pytest.mark.parametrize("value", [0, 100, 255])
def test_one_colour_has_no_contrast_to_stretch(value: int) -> None:
    plain = np.full((20, 30, 3), value, np.uint8)
    same(applied("AutoContrast", None, image=plain), plain)
    same(applied("Equalize", None, image=plain), plain)


def test_two_colours_are_equalized_as_pillow_does() -> None:
    two = np.where(PIXELS < 100, 17, 200).astype(np.uint8)
    same(applied("Equalize", None, image=two), ImageOps.equalize(Image.fromarray(two)))
    few = PIXELS[:5, :40]
    same(applied("Equalize", None, image=few), ImageOps.equalize(Image.fromarray(few)))


@pytest.mark.parametrize("factor", [0.1, 0.19, 0.64, 1.72, 1.9])
def test_enhancing_operations_are_image_enhances(factor: float) -> None:
    same(changed("Contrast", factor), ImageEnhance.Contrast(PHOTO).enhance(factor))
    same(changed("Brightness", factor), ImageEnhance.Brightness(PHOTO).enhance(factor))
    near(changed("Color", factor), ImageEnhance.Color(PHOTO).enhance(factor), levels=2)
    near(changed("Sharpness", factor), ImageEnhance.Sharpness(PHOTO).enhance(factor), levels=2)


@pytest.mark.parametrize("bits", [0, 1, 3, 5, 7])
def test_posterize_keeps_the_upper_bits(bits: int) -> None:
    lowest = 1 << (8 - bits)
    same(changed("Posterize", bits), (PIXELS.astype(int) // lowest * lowest).astype(np.uint8))
    if bits:
        same(changed("Posterize", bits), ImageOps.posterize(PHOTO, bits))


def test_posterize_to_eight_bits_changes_nothing() -> None:
    same(applied("Posterize", 8), PIXELS)


@pytest.mark.parametrize("least", [0, 26, 76, 200])
def test_solarize_inverts_from_its_threshold_up(least: int) -> None:
    same(changed("Solarize", least), np.where(least > PIXELS, PIXELS, 255 - PIXELS))
    same(changed("Solarize", least), ImageOps.solarize(PHOTO, least))


def test_solarize_from_256_changes_nothing() -> None:
    same(applied("Solarize", 256), PIXELS)


@pytest.mark.parametrize("add", [33, 99, 110, 128])
def test_solarize_add_brightens_the_darker_half(add: int) -> None:
    pixels = PIXELS.astype(int)
    expected = np.where(pixels < 128, np.minimum(pixels + add, 255), pixels)
    same(changed("SolarizeAdd", add), expected.astype(np.uint8))


@pytest.mark.parametrize("interpolation", [cv2.INTER_CUBIC, cv2.INTER_LINEAR])
@pytest.mark.parametrize("sign", [1, -1])
def test_geometric_operations_are_pillows_with_the_mean_as_background(
    interpolation: int, sign: int
) -> None:
    resample = PILLOW[interpolation]

    def expect(name: OperationName, argument: float, expected: Image.Image) -> None:
        difference = np.abs(changed(name, argument, interpolation).astype(int) - expected)
        # Half a pixel aside a rotation differs by 2.5 or more, the other way round by far more;
        # what is left is the filter and the last half pixel before the background.
        assert difference.mean() < (1.6 if interpolation == cv2.INTER_CUBIC else 1.2)

    def moved(*matrix: float) -> Image.Image:
        return PHOTO.transform(
            PHOTO.size, Image.Transform.AFFINE, matrix, resample=resample, fillcolor=FILL
        )

    shear, share = sign * 0.27, sign * 0.405
    expect("Rotate", sign * 27.0, PHOTO.rotate(sign * 27.0, resample=resample, fillcolor=FILL))
    expect("ShearX", shear, moved(1, shear, 0, 0, 1, 0))
    expect("ShearY", shear, moved(1, 0, 0, shear, 1, 0))
    expect("TranslateX", share, moved(1, 0, share * 64, 0, 1, 0))
    expect("TranslateY", share, moved(1, 0, 0, 0, 1, share * 48))


def test_whole_pixels_and_right_angles_move_pixels_exactly() -> None:
    right = applied("TranslateX", -0.25)
    same(right[:, 16:], PIXELS[:, :48])
    assert (right[:, :16] == FILL).all()
    down = applied("TranslateY", -0.25)
    same(down[12:], PIXELS[:36])
    assert (down[:12] == FILL).all()
    square = np.ascontiguousarray(PIXELS[:, :48])
    same(applied("Rotate", 90.0, image=square), np.rot90(square))


@pytest.mark.parametrize("interpolation", [cv2.INTER_CUBIC, cv2.INTER_LINEAR])
@pytest.mark.parametrize("name", ["TranslateX", "TranslateY", "ShearX", "ShearY"])
def test_rows_that_move_alike_are_moved_as_opencvs_warp_does(
    name: OperationName, interpolation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (0.25, 0.017, -0.4, 1.2) if name.startswith("Translate") else (0.001, -0.003)
    filtered = [changed(name, argument, interpolation) for argument in arguments]
    monkeypatch.setattr(geometry, "_moved_along", lambda *_: None)
    for argument, ours in zip(arguments, filtered, strict=True):
        warped = changed(name, argument, interpolation)
        difference = np.abs(ours.astype(int) - warped)
        # A thirty-second of a pixel where a row lies between two of them.
        assert difference.max() <= 8
        assert difference.mean() < 0.2


def test_draws_are_applied_in_order() -> None:
    draws = Draws(
        Box(10, 4, 40, 36),
        True,
        (Operation("Posterize", 3), Operation("Rotate", 90.0), Operation("Invert", None)),
        None,
    )
    crop = reference.Resize((16, 16), reference.Inter.BICUBIC)(PIXELS[4:40, 10:50])
    done = Applying.of(recipe_of(interpolation="bicubic"))(PIXELS, draws)
    same(done, 255 - np.rot90(crop[:, ::-1] // 32 * 32))


def test_the_background_is_the_mean_colour_and_of_a_grey_network_its_grey() -> None:
    draws = Draws(Box(0, 0, 16, 16), False, (Operation("TranslateX", 0.5),), None)
    for channels, fill in ((3, [124, 116, 104]), (1, [124, 124, 124])):
        recipe = recipe_of({"network.in_channels": channels})
        done = Applying.of(recipe)(PIXELS, draws)
        same(done[:, :8], PIXELS[:16, 8:16])
        assert done[0, -1].tolist() == fill


def test_rotate_shows_the_background_that_mindcvs_operator_shows() -> None:
    plain = np.full((48, 48, 3), 200, np.uint8)
    draws = Draws(Box(0, 0, 48, 48), False, (Operation("Rotate", 27.0),), None)
    theirs = reference.RandomRotation((27, 27), reference.Inter.BICUBIC, fill_value=FILL)(plain)

    def corner(**more: Any) -> list[int]:
        changes = {f"augment.rand_augment.{key}": value for key, value in more.items()}
        recipe = recipe_of(changes, image_size=48, interpolation="bicubic")
        return Applying.of(recipe)(plain, draws)[0, 0].tolist()

    # The mean colour's channels in the other order.
    assert corner(flavour="mindcv") == theirs[0, 0].tolist() == [104, 116, 124]
    assert corner(flavour="timm") == list(FILL)
    by_rules_1 = recipe_of({"rules": 1}, image_size=48, interpolation="bicubic")
    assert Applying.of(by_rules_1)(plain, draws)[0, 0].tolist() == list(FILL)


def test_other_geometric_operations_of_mindcv_show_the_mean_colour_itself() -> None:
    plain = np.full((48, 48, 3), 200, np.uint8)
    options = {"resample": reference.Inter.BICUBIC, "fill_value": FILL}
    sheared = reference.RandomAffine(degrees=0, shear=(20, 20), **options)(plain)
    translated = reference.RandomAffine(degrees=0, translate=(0.3, 0.3), **options)(plain)
    for image in (sheared, translated):
        assert (image == FILL).all(axis=-1).any()
        assert not (image == FILL[::-1]).all(axis=-1).any()


@pytest.mark.parametrize("size", [20, 21, 60, 130], ids=["same", "shrunk", "either", "enlarged"])
@pytest.mark.parametrize(
    ("interpolation", "inter"),
    [
        (cv2.INTER_LINEAR, reference.Inter.BILINEAR),
        (cv2.INTER_CUBIC, reference.Inter.BICUBIC),
    ],
)
def test_training_resizes_as_evaluation_does(size: int, interpolation: int, inter: Any) -> None:
    pixels = np.asarray(photograph(120, 100, 1))
    width, height = (20, 20) if size == 20 else (80, 50)
    expected = reference.Resize((size, size), inter)(pixels[10 : 10 + height, 20 : 20 + width])
    done = resized(pixels, Box(20, 10, width, height), size, interpolation)
    # Another release of OpenCV may round the other way.
    assert np.abs(done.astype(int) - expected).max() <= 1
