"""Images that are given one by one are read as evaluation reads its own."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mixnet_core.data import given
from mixnet_core.data.given import given_one_by_one, name_of, read_file, reader_of
from mixnet_core.data.pixels import decoded
from mixnet_core.errors import DatasetError, InputError

PIXELS = np.random.default_rng(1).integers(0, 256, (6, 9, 3), np.uint8)


def written(path: Path, image: Image.Image, **more: object) -> Path:
    image.save(path, **more)
    return path


def test_a_file_is_decoded_by_the_rule_of_evaluation(tmp_path: Path) -> None:
    for name, image in (
        ("a.png", Image.fromarray(PIXELS)),
        ("a.jpg", Image.fromarray(PIXELS)),
        ("16.png", Image.fromarray(np.arange(54, dtype=np.uint16).reshape(6, 9) * 1000)),
        ("p.gif", Image.fromarray(PIXELS).convert("P")),
    ):
        path = written(tmp_path / name, image)
        np.testing.assert_array_equal(read_file(str(path)), decoded(path.read_bytes()))
    upper = read_file(str(tmp_path / "16.png"))[..., 0]
    np.testing.assert_array_equal(upper, np.arange(54).reshape(6, 9) * 1000 >> 8)


def test_of_an_animation_the_first_picture_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (5, 5), (value, 0, 0)) for value in (10, 250)]
    path = tmp_path / "two.png"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert read_file(str(path))[0, 0].tolist() == [10, 0, 0]


def test_pillows_images_that_are_none_are_said_in_a_few_words() -> None:
    for image, said in (
        (Image.new("RGB", (0, 5)), "it has no pixels"),
        (Image.new("F", (5, 5)), "an image of mode F"),
    ):
        with pytest.raises((DatasetError, ValueError), match=said):
            reader_of(image)()


def test_what_cannot_be_read_is_said_in_a_few_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = io.BytesIO()
    Image.fromarray(PIXELS).save(whole, "PNG")
    (tmp_path / "cut.png").write_bytes(whole.getvalue()[:-40])
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty.png").touch()
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    for name, said in (
        ("cut.png", "cut off"),
        ("text.jpg", "not an image"),
        ("empty.png", "the file is empty"),
        ("a.pdf", "a PDF: convert it"),
        ("pipe", "no regular file"),
        ("link", "a link that leads nowhere"),
        ("none", "there is no such file"),
        (".", "it is a folder"),
    ):
        with pytest.raises(DatasetError, match=said) as raised:
            read_file(str(tmp_path / name))
        assert str(tmp_path) not in str(raised.value)
    monkeypatch.setattr(given, "MOST_BYTES", 600)
    (tmp_path / "large.png").write_bytes(whole.getvalue() + bytes(2000))
    with pytest.raises(DatasetError, match="larger than 600 bytes"):
        read_file(str(tmp_path / "large.png"))


def test_pictures_in_memory_give_the_pixels_of_their_files(tmp_path: Path) -> None:
    path = written(tmp_path / "a.png", Image.fromarray(PIXELS))
    for image in (PIXELS, Image.fromarray(PIXELS), Image.open(path), path, str(path)):
        np.testing.assert_array_equal(reader_of(image)(), PIXELS)
    grey = PIXELS[..., 0]
    for image in (grey, Image.fromarray(grey)):
        np.testing.assert_array_equal(reader_of(image)(), np.repeat(grey[..., None], 3, 2))
    with_palette = Image.fromarray(PIXELS).convert("P")
    with_palette.info["transparency"] = 0
    reader_of(with_palette)()
    assert "transparency" in with_palette.info, "somebody's image was changed"


def test_one_image_or_many_are_given(tmp_path: Path) -> None:
    image, path = Image.fromarray(PIXELS), tmp_path / "a.png"
    for one in (image, path, str(path), PIXELS):
        (only,) = given_one_by_one(one)
        assert only is one
    many = np.stack([PIXELS, PIXELS[::-1]])
    first, second = given_one_by_one(many)
    np.testing.assert_array_equal(second, PIXELS[::-1])  # type: ignore[arg-type]
    mixed = list(given_one_by_one([image, path, first]))
    assert [name_of(item, i) for i, item in enumerate(mixed)] == ["image 0", str(path), "image 2"]


@pytest.mark.parametrize(
    "image",
    [
        PIXELS.astype(np.float32) / 255,
        PIXELS.transpose(2, 0, 1),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        7,
        None,
    ],
)
def test_what_is_no_image_is_refused_before_anything_is_computed(image: object) -> None:
    with pytest.raises(InputError, match="got "):
        reader_of(image)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="got "):
        list(map(reader_of, given_one_by_one(image)))  # type: ignore[arg-type]
