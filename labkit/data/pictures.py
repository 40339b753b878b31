"""From a file that Pillow reads to pixels: every mode means what Pillow's `convert` means, and EXIF is obeyed."""

import io
import math
import warnings
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from labkit.data.torchvision_guard import transforms
from labkit.system.errors import InputError

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # Pillow's name for so many channels
RESIZES = ("crop", "stretch", "pad")
SIXTEEN_BIT = ("I", "I;16", "I;16B", "I;16L", "I;16N")


class Unreadable(Exception):
    """A file is no picture that can be read; the text says why."""


def check_size(image: tuple[int, int, int], resize: str) -> None:
    """Check how pictures are asked for.

    Args:
        image: channels, height and width in pixels.
        resize: one of `RESIZES`.

    Raises:
        InputError: they are none of these.
    """
    whole = len(image) == 3 and all(type(n) is int for n in image)
    if not (whole and image[0] in MODES and all(8 <= side <= 1024 for side in image[1:])):
        raise InputError(f"an image has 1 to 4 channels, and 8 to 1024 pixels in height and width; got {image}")
    if resize not in RESIZES:
        raise InputError(f"pictures are resized by {', '.join(RESIZES)}; got {resize!r}")


def read(source: Path | bytes, image: tuple[int, int, int], resize: str = "crop") -> Tensor:
    """Read a picture.

    Of several frames the first one counts. A picture of 16 bits is scaled to 8. Transparency is dropped unless the
    image has a channel for it.

    Args:
        source: the file, or its content.
        image: channels, height and width in pixels.
        resize: "crop" fills the image and cuts off the rest evenly, "stretch" changes the proportions, "pad" adds
            black borders.

    Returns:
        Pixels (channels, height, width) uint8.

    Raises:
        Unreadable: it cannot be read.
    """
    from PIL import Image, ImageOps

    file: Path | IO[bytes] = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as opened:
                picture = ImageOps.exif_transpose(opened)
                return _resized(_pixels(picture, MODES[image[0]]), image[1:], resize)
    # Pillow's decoders raise whatever they stumble over.
    except Exception as problem:
        raise Unreadable(" ".join(str(problem).split())[:200] or type(problem).__name__) from None


def _pixels(picture: Any, mode: str) -> Tensor:
    """Pixels (C, H, W) uint8 of a Pillow picture in a mode."""
    from PIL import Image

    if picture.mode in SIXTEEN_BIT:
        values = np.asarray(picture).astype(np.int64).clip(0, 65_535)
        if picture.mode != "I" or values.max(initial=0) > 255:  # "I" has 32 bits, and some files of 8 bits come so
            values = (values * 255 + 32_767) // 65_535
        picture = Image.fromarray(values.astype(np.uint8))
    array = np.array(picture.convert(mode))
    return torch.from_numpy(array).reshape(*array.shape[:2], -1).movedim(-1, 0).contiguous()


def _resized(pixels: Tensor, size: tuple[int, int], resize: str) -> Tensor:
    if tuple(pixels.shape[1:]) == size:
        return pixels
    v2 = transforms().functional
    if resize == "stretch":
        return v2.resize(pixels, list(size), antialias=True)
    scales = [wanted / side for wanted, side in zip(size, pixels.shape[1:])]
    scale = max(scales) if resize == "crop" else min(scales)
    between = [_near(wanted, scale * side, resize) for wanted, side in zip(size, pixels.shape[1:])]
    return v2.center_crop(v2.resize(pixels, between, antialias=True), list(size))


def _near(wanted: int, side: float, resize: str) -> int:
    """Whole pixels of a scaled side, at least what is cropped to, or at most what is padded to."""
    whole = max(1, math.floor(side + 1e-6))
    return max(wanted, whole) if resize == "crop" else min(wanted, whole)
