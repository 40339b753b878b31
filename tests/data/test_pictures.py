"""Pictures of every mode against Pillow's own `convert`, and what is no picture."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

import labkit as lk
from labkit.data.pictures import MODES, Unreadable, check_size, read

DRAW = np.random.default_rng(0)
COLOURS = Image.fromarray(DRAW.integers(0, 256, (40, 48, 3), dtype=np.uint8))


def stored(picture, kind="PNG", **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def array(picture, mode):
    pixels = np.array(picture.convert(mode))
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)).movedim(-1, 0)


@pytest.mark.parametrize("channels", MODES)
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_means_what_pillow_converts_it_to(mode, channels):
    picture = COLOURS.quantize(17) if mode == "P" else COLOURS.convert("L" if mode == "LA" else "RGB").convert(mode)
    kind = {"CMYK": "TIFF", "YCbCr": "JPEG"}.get(mode, "PNG")
    content = stored(picture, kind)
    again = Image.open(io.BytesIO(content))
    assert torch.equal(read(content, (channels, 40, 48)), array(again, MODES[channels]))


def test_a_palette_is_no_grey_picture():
    red, green = (stored(Image.new("RGB", (40, 40), c).quantize(8)) for c in ("red", "green"))
    assert read(red, (3, 32, 32)).float().mean((1, 2)).tolist() == [255, 0, 0]
    assert read(green, (3, 32, 32)).float().mean((1, 2)).tolist() == [0, 128, 0]


@pytest.mark.parametrize(("value", "seen"), [(60_000, 233), (1_000, 4), (65_535, 255), (0, 0), (257, 1), (255, 1)])
def test_sixteen_bits_are_scaled(value, seen):
    for channels in (1, 3):
        pixels = read(stored(Image.fromarray(np.full((20, 20), value, np.uint16))), (channels, 20, 20))
        assert set(pixels.flatten().tolist()) == {seen}


def test_exif_is_obeyed_and_the_first_frame_counts():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    turned = read(stored(COLOURS, exif=exif), (3, 48, 40))
    assert torch.equal(turned, array(COLOURS.transpose(Image.Transpose.ROTATE_270), "RGB"))
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    animated = stored(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert read(animated, (3, 20, 20)).float().mean((1, 2)).tolist() == pytest.approx([254, 0, 0], abs=2)


@pytest.mark.parametrize("image", [(3, 32, 32), (1, 96, 128), (3, 64, 28), (4, 33, 47)])
@pytest.mark.parametrize("size", [(40, 48), (200, 30), (31, 300), (8, 8)])
def test_every_size_is_brought_to_the_one_that_was_asked_for(image, size):
    picture = stored(Image.fromarray(DRAW.integers(0, 256, (*size, 3), dtype=np.uint8)))
    for resize in ("crop", "stretch", "pad"):
        pixels = read(picture, image, resize)
        assert tuple(pixels.shape) == image and pixels.dtype == torch.uint8


def test_crop_keeps_the_middle_stretch_the_whole_and_pad_adds_borders():
    """A picture of four times its height, whose left and right quarters are white and whose middle is grey."""
    pixels = np.full((32, 128, 3), 100, dtype=np.uint8)
    pixels[:, :32] = pixels[:, -32:] = 255
    content = stored(Image.fromarray(pixels))
    assert set(read(content, (1, 32, 32)).flatten().tolist()) == {100}
    stretched = read(content, (1, 32, 32), "stretch")
    assert stretched[0, 16, 0] == 255 and stretched[0, 16, 16] == 100
    padded = read(content, (1, 32, 32), "pad")
    assert padded[0, 0, 16] == 0 and padded[0, 16, 0] > 200 and padded[0, 16, 16] == 100


@pytest.mark.parametrize("content", [b"", b"not a picture", stored(COLOURS)[:300], b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_what_cannot_be_read_says_why_in_one_line(content):
    with pytest.raises(Unreadable) as problem:
        read(content, (3, 32, 32))
    assert str(problem.value) and "\n" not in str(problem.value)


def test_a_picture_too_large_to_be_meant_is_not_decoded(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    with pytest.raises(Unreadable, match="exceeds limit"):
        read(stored(COLOURS), (3, 32, 32))


@pytest.mark.parametrize(
    ("image", "resize", "says"),
    [
        ((5, 32, 32), "crop", "1 to 4 channels"),
        ((3, 4, 32), "crop", "8 to 1024 pixels"),
        ((3, 32.0, 32), "crop", "8 to 1024 pixels"),
        ((3, 32, 32), "zoom", "crop, stretch, pad; got 'zoom'"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(image, resize, says):
    with pytest.raises(lk.InputError, match=says):
        check_size(image, resize)
