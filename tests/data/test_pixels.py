"""Files to pixels and pixels to the network's input, against mindspore.dataset's operators."""

from __future__ import annotations

import io
import math
import resource
from typing import Any

import mindspore.dataset.vision as reference
import numpy as np
import pytest
from PIL import Image

from mixnet_core.data.pixels import ToNetwork, decoded, middle
from tests.data.augment.photographs import photograph, recipe_of, settings
from tests.data.odd_picture import OddPicture, drawn
from tests.data.odd_pictures import bombs, corpus
from tests.data.picture_writers import netpbm, png, tiff

PHOTO = photograph(64, 48)
USED = [pytest.param(it, id=it.name) for it in corpus() if it.pixels is not None]
REFUSED = [pytest.param(it, id=it.name) for it in corpus() if it.pixels is None]


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
    difference = np.abs(decoded(content).astype(int) - expected)
    # Four inks become three colours with another rounding.
    assert difference.max() <= (1 if b"Adobe" in content else 0)


@pytest.mark.parametrize("picture", USED)
def test_an_odd_picture_has_the_pixels_of_the_rule(picture: OddPicture) -> None:
    assert picture.pixels is not None
    found = decoded(picture.content)
    assert (found.shape, found.dtype) == (picture.pixels.shape, np.uint8)
    difference = np.abs(found.astype(int) - picture.pixels)
    assert difference.max() <= picture.off


@pytest.mark.parametrize("picture", REFUSED)
def test_what_is_odd_and_cannot_be_decoded_is_an_error(picture: OddPicture) -> None:
    with pytest.raises(ValueError, match=r"."):
        decoded(picture.content)


def test_sixteen_bits_are_scaled_alike_in_every_format() -> None:
    samples = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)
    image = Image.fromarray(samples)
    for content in (encoded(image, "PNG"), encoded(image, "TIFF"), netpbm(5, samples, 65_535)):
        np.testing.assert_array_equal(decoded(content)[..., 0], samples >> 8)
    colours = np.stack([samples, samples.T, samples[::-1]], 2)
    for content in (png(colours, 16, 2), tiff(colours, 16, 2), netpbm(6, colours, 65_535)):
        np.testing.assert_array_equal(decoded(content), colours >> 8)


@pytest.mark.parametrize("most", [1, 100, 255, 256, 1023, 4095, 65_535])
def test_the_maximum_of_a_pgm_is_white(most: int) -> None:
    samples = np.array([[0, most // 2, most]], np.uint16)
    black, middle_grey, white = decoded(netpbm(5, samples, most))[0, :, 0].tolist()
    assert (black, white) == (0, 255)
    assert abs(middle_grey - 255 * (most // 2) / most) < 1


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [2, 4])
def test_a_tiff_with_alpha_has_the_pixels_of_the_png(depth: int, channels: int) -> None:
    samples = drawn(channels, depth)
    of_png = decoded(png(samples, depth, {2: 4, 4: 6}[channels]))
    of_tiff = decoded(tiff(samples, depth, channels // 2, extra=(2,)))
    np.testing.assert_array_equal(of_tiff, of_png)


def test_samples_that_take_more_bytes_than_a_picture_may_have_pixels_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    samples = drawn(4, 16)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", samples.size // 4)
    content = tiff(samples, 16, 2, extra=(2,), deflated=True)
    np.testing.assert_array_equal(decoded(content), samples[..., :3] >> 8)


@pytest.mark.parametrize("content", bombs())
def test_a_bomb_is_refused_before_memory_is_taken(content: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"more than|cut off"):
        decoded(content)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@pytest.mark.parametrize("content", [b"", b"no image\n", b"P6 20000 20000 255\n", b"\xff\xd8\xff"])
def test_what_is_no_image_is_an_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decoded(content)


@pytest.mark.parametrize("size", [(64, 48), (48, 64), (50, 50), (333, 219), (41, 300)])
@pytest.mark.parametrize("crop_pct", [0.875, 0.9, 1.0])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_evaluation_resizes_and_crops_as_mindspore_does(
    size: tuple[int, int], crop_pct: float, interpolation: str
) -> None:
    pixels = np.asarray(photograph(*size, 3))
    recipe = recipe_of(image_size=28, crop_pct=crop_pct, interpolation=interpolation)
    inter = getattr(reference.Inter, interpolation.upper())
    # As transforms_imagenet_eval of MindCV has it (mindcv/data/transforms_factory.py).
    short_side = math.floor(28 / crop_pct)
    expected = reference.CenterCrop(28)(reference.Resize(short_side, inter)(pixels))
    found = middle(pixels, recipe.input, short_side=recipe.short_side)
    difference = np.abs(found.astype(int) - expected)
    # Another release of OpenCV rounds the bicubic filter's sums the other way now and then.
    assert difference.max() <= (interpolation == "bicubic")
    assert difference.mean() < 0.05


@pytest.mark.parametrize(
    ("image_size", "crop_pct", "floor", "nearest"),
    [(224, 0.875, 256, 256), (224, 0.9, 248, 249), (224, 0.95, 235, 236), (160, 0.875, 182, 183)],
)
def test_the_short_side_is_rounded_down_but_for_what_was_measured_by_rules_1(
    image_size: int, crop_pct: float, floor: int, nearest: int
) -> None:
    wanted = {"image_size": image_size, "crop_pct": crop_pct}
    assert recipe_of(**wanted).short_side == floor
    assert recipe_of({"rules": 1}, **wanted).short_side == nearest


@pytest.mark.parametrize("across", [True, False])
def test_of_a_strip_the_middle_is_seen(across: bool) -> None:
    strip = np.zeros((1, 20_000, 3), np.uint8)
    strip[:, 9_990:10_010] = 200
    image = strip if across else strip.transpose(1, 0, 2)
    seen = middle(image, settings(image_size=224), short_side=256)
    assert seen.shape == (224, 224, 3)
    assert seen.min() == 200


def test_normalising_subtracts_the_mean_and_divides_by_the_deviation() -> None:
    pixels = np.asarray(photograph(16, 16))
    out = np.empty((3, 16, 16), np.float32)
    ToNetwork.of(settings(), 3)(pixels, out)
    expected = (pixels.astype(float) - [123.7, 116.3, 103.5]) / [58.4, 57.1, 57.4]
    np.testing.assert_allclose(out, expected.transpose(2, 0, 1), atol=1e-5)


def test_one_channel_is_grey_normalised_by_the_first_mean() -> None:
    pixels = np.asarray(photograph(16, 16))
    out = np.empty((1, 16, 16), np.float32)
    ToNetwork.of(settings(), 1)(pixels, out)
    grey = reference.ConvertColor(reference.ConvertMode.COLOR_RGB2GRAY)(pixels)
    np.testing.assert_allclose(out[0], (grey.astype(float) - 123.7) / 58.4, atol=1e-5)
