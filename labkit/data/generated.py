"""Glyphs: generated images of letters in the fonts that come with matplotlib."""

import math
import string
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.data.images import SIDE, Images, ImageSet
from labkit.system.errors import InputError

GLYPH_FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSerif",
               "DejaVuSerif-Bold", "DejaVuSerif-Italic", "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic",
               "cmr10", "cmss10", "cmtt10")  # fmt: skip


def glyphs(
    train: int = 10_000,
    valid: int = 2_000,
    test: int = 10_000,
    *,
    letters: str = string.ascii_uppercase[:10],
    noise: float = 0.08,
    texture: float = 0.10,
    turn: float = 0.35,
    clutter: int = 0,
    seed: int = 0,
) -> ImageSet:
    """Draw letters in 13 fonts, each with a random affine map, colours, texture and noise.

    They are generated from the seed in about 0.1 ms an image, without a file or a download.

    Args:
        train: number of training images.
        valid: number of validation images.
        test: number of test images.
        letters: one class each.
        noise: standard deviation of independent pixel noise, in units of full brightness.
        texture: amplitude of the smooth background pattern, in the same unit.
        turn: largest rotation of a letter to either side, in radians.
        clutter: number of other letters behind it at the edges, rotated at random and partly outside.
        seed: of everything random.

    Returns:
        The image set.

    Raises:
        InputError: there are fewer than two letters or equal ones, a part has no image, or a size is negative.
    """
    if len(set(letters)) < 2 or len(set(letters)) != len(letters):
        raise InputError(f"glyphs needs at least two different letters; got {letters!r}")
    if min(train, valid, test) < 1:
        raise InputError(f"every part needs an image; got train {train}, valid {valid}, test {test}")
    if min(noise, texture, turn, clutter) < 0:
        raise InputError(f"none of these is negative: noise {noise}, texture {texture}, turn {turn}, clutter {clutter}")
    generator = torch.Generator().manual_seed(seed)
    stamps = _glyph_stamps(letters)
    look = _Look(noise, texture, turn, clutter)
    first, second, third = (_draw_glyphs(n, stamps, look, generator) for n in (train, valid, test))
    return ImageSet("glyphs", tuple(letters), first, second, third, seed=seed)


def hard_glyphs(train: int = 28_000, valid: int = 2_000, test: int = 10_000, *, seed: int = 0) -> ImageSet:
    """Draw harder glyphs, on which good networks differ more: similar letters, rotated by up to 50 degrees, clutter.

    The tabular benchmark has the default sizes, which take some seconds. On 4,000 letters with less rotation and more
    noise the best quarter of the five-layer space lay within 2.4 points of accuracy, here within 4.1.

    Args:
        train: number of training images.
        valid: number of validation images.
        test: number of test images.
        seed: of everything random.

    Returns:
        The image set, shifted at random in training.

    Raises:
        InputError: a part has no image.
    """
    images = glyphs(train, valid, test, letters="BCDEFGOPQR", noise=0.09, texture=0.30, turn=0.85, clutter=3, seed=seed)
    return replace(images, name="glyphs-hard", augment=shift_together)


def shift_together(pixels: Tensor, most: int = 2) -> Tensor:
    """Shift a whole batch by the same random distance, with wrap-around.

    It uses torch's global random state, so call it inside `networks.supernet.seeded`.

    Args:
        pixels: (B, C, H, W).
        most: largest shift in pixels, in each direction.

    Returns:
        (B, C, H, W).
    """
    down, right = torch.randint(-most, most + 1, (2,)).tolist()
    return pixels.roll((down, right), (-2, -1))


def _glyph_stamps(letters: str, side: int = 64) -> Tensor:
    """Each letter of each font, centred: (letters, fonts, side, side) in 0..1."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    stamps = np.zeros((len(letters), len(GLYPH_FONTS), side, side), dtype=np.float32)
    for f, name in enumerate(GLYPH_FONTS):
        font = ImageFont.truetype(str(folder / f"{name}.ttf"), side * 3 // 4)
        for c, letter in enumerate(letters):
            picture = Image.new("L", (side, side))
            ImageDraw.Draw(picture).text((side / 2, side / 2), letter, fill=255, font=font, anchor="mm")
            stamps[c, f] = np.asarray(picture, dtype=np.float32) / 255
    return torch.from_numpy(stamps)


@dataclass(frozen=True)
class _Look:
    noise: float
    texture: float
    turn: float
    clutter: int


def _draw_glyphs(n: int, stamps: Tensor, look: _Look, generator: torch.Generator) -> Images:
    chunks = [_draw_glyph_chunk(min(1_000, n - start), stamps, look, generator) for start in range(0, n, 1_000)]
    return Images(torch.cat([pixels for pixels, _ in chunks]), torch.cat([labels for _, labels in chunks]))


def _draw_glyph_chunk(n: int, stamps: Tensor, look: _Look, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=generator)

    def letters(turn: float, off_centre: float = 0.0) -> tuple[Tensor, Tensor]:
        """Random labels (n,) and their ink (n, 1, SIDE, SIDE), shifted by `off_centre` half widths in any direction."""
        labels = torch.randint(stamps.shape[0], (n,), generator=generator)
        fonts = torch.randint(stamps.shape[1], (n,), generator=generator)
        angle, shear = uniform(n, low=-turn, high=turn), uniform(n, low=-0.2, high=0.2)
        zoom, shift = uniform(n, low=0.65, high=1.1), uniform(n, 2, low=-0.2, high=0.2)
        if off_centre:
            shift = shift + off_centre * F.normalize(torch.randn(n, 2, generator=generator), dim=1)
        cos, sin = angle.cos() * zoom, angle.sin() * zoom
        rows = [torch.stack([cos, -sin + shear, shift[:, 0]], -1), torch.stack([sin, cos, shift[:, 1]], -1)]
        return labels, F.grid_sample(stamps[labels, fonts][:, None], _grid(torch.stack(rows, 1)), align_corners=False)

    labels, ink = letters(look.turn)
    paper = uniform(n, 3, 1, 1)
    side = torch.where(paper > 0.5, -1.0, 1.0)  # away from the paper: always a visible contrast
    away = side * uniform(n, 3, 1, 1, low=0.25, high=0.6)
    pattern = F.interpolate(uniform(n, 3, 6, 6, low=-1.0), (SIDE, SIDE), mode="bicubic", align_corners=False)
    picture = paper + away * ink + look.texture * pattern
    beneath = torch.zeros(())
    for _ in range(look.clutter):
        _, other = letters(math.pi, off_centre=1.1)
        beneath = beneath * (1 - other) + side * uniform(n, 3, 1, 1, low=0.25, high=0.6) * other
    picture = picture + beneath * (1 - ink)
    picture = picture + look.noise * torch.randn(n, 3, SIDE, SIDE, generator=generator)
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8), labels


def _grid(maps: Tensor) -> Tensor:
    """The grid (n, SIDE, SIDE, 2) of affine maps (n, 2, 3), as `F.affine_grid`, but equal on every processor."""
    # F.affine_grid leaves its sums to a library that may or may not round each product before adding it, by which some
    # pixels differ. The tabular benchmark's images are without that rounding: float64 holds such products exactly.
    line = torch.linspace(-1, 1, SIDE) * ((SIDE - 1) / SIDE)  # centres of the pixels
    across, down, moved = (maps[:, None, None, :, k].double() for k in range(3))
    first = (line[None, None, :, None].double() * across).float()
    second = (line[None, :, None, None].double() * down + first.double()).float()
    return (second.double() + moved).float()
