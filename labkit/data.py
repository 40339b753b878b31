"""Image sets as tensors: generated glyphs, scikit-learn's digits, and real sets through torchvision.

Every set is 32x32 RGB, so every space takes every set. Pixels stay 8-bit until a batch is made.
In shapes: N images of a part, B images of a batch.
"""

import hashlib
import io
import math
import os
import string
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.errors import InputError

SIDE = 32  # pixels


@dataclass(frozen=True, eq=False)
class Images:
    """One part of a set. Its length is the number of images."""

    pixels: Tensor  # (N, 3, 32, 32) uint8
    labels: Tensor  # (N,) int64

    def __len__(self) -> int:
        return self.labels.shape[0]

    def batches(
        self,
        size: int,
        generator: torch.Generator | None = None,
        augment: Callable[[Tensor], Tensor] | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Standardised batches (B, 3, 32, 32) float32 with labels (B,).

        With a generator: shuffled, the last short batch dropped. Without: in order, all of them.
        """
        n = len(self)
        order = None if generator is None else torch.randperm(n, generator=generator).to(self.labels.device)
        stop = n if order is None else n - size + 1
        for start in range(0, stop, size):
            index = slice(start, start + size) if order is None else order[start : start + size]
            pixels = self.pixels[index]
            yield standardise(augment(pixels) if augment else pixels), self.labels[index]

    def __getitem__(self, index: Tensor | slice) -> "Images":
        return Images(self.pixels[index], self.labels[index])

    def to(self, device: str | torch.device) -> "Images":
        return Images(self.pixels.to(device), self.labels.to(device))


class ShuffledBatches:
    """Training batches without end: each pass over the images in a new order, its last short batch dropped.

    `order`, `used` and the generator's state say what comes next, but for what `augment` draws.
    """

    def __init__(
        self,
        images: Images,
        size: int,
        generator: torch.Generator,
        augment: Callable[[Tensor], Tensor] | None = None,
    ):
        self.images, self.size, self.generator, self.augment = images, size, generator, augment
        self.order: Tensor | None = None  # of the images in this pass; None before the first
        self.used = 0  # images of it

    def __next__(self) -> tuple[Tensor, Tensor]:
        """Standardised images (B, 3, 32, 32) float32 with labels (B,)."""
        if self.order is None or self.used + self.size > len(self.images):
            self.order, self.used = torch.randperm(len(self.images), generator=self.generator), 0
        index = self.order[self.used : self.used + self.size].to(self.images.labels.device)
        self.used += self.size
        pixels = self.images.pixels[index]
        return standardise(self.augment(pixels) if self.augment else pixels), self.images.labels[index]


def standardise(pixels: Tensor) -> Tensor:
    """8-bit pixels to float32 about zero. Constants rather than statistics: nothing leaks between the parts."""
    return (pixels.float() / 255 - 0.5) / 0.25


@dataclass(frozen=True)
class ImageSet:
    """Three disjoint parts of one image set. The test part is touched once, at the end."""

    name: str
    classes: tuple[str, ...]
    train: Images  # shared weights, and later the chosen network, learn here
    valid: Images  # architectures are chosen here
    test: Images
    seed: int  # of the split (and of generation)
    augment: Callable[[Tensor], Tensor] | None = None  # (B, 3, 32, 32) uint8 -> the same, on training batches only

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits over every pixel, label and the split."""
        hasher = hashlib.sha256()
        for part in (self.train, self.valid, self.test):
            hasher.update(part.labels.cpu().numpy().tobytes())
            hasher.update(part.pixels.cpu().contiguous().numpy().tobytes())
        return hasher.hexdigest()[:12]

    def card(self) -> dict:
        """What identifies this split, for manifests."""
        sizes = {"train": len(self.train), "valid": len(self.valid), "test": len(self.test)}
        return {
            "name": self.name,
            "classes": len(self.classes),
            **sizes,
            "seed": self.seed,
            "digest": self.digest,
        }

    def to(self, device: str | torch.device) -> "ImageSet":
        return replace(self, train=self.train.to(device), valid=self.valid.to(device), test=self.test.to(device))


# --- generated ------------------------------------------------------------------------------------------

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
    """Letters from the fonts that matplotlib ships, each under a random affine map, colours, texture and noise.

    Made on the spot from the seed, about 0.1 ms an image: no file, no download, any size.

    Args:
        letters: one class each.
        noise: standard deviation of independent pixel noise, in units of full brightness.
        texture: amplitude of the smooth background pattern, likewise.
        turn: largest angle that a letter is turned by, in radians, to either side.
        clutter: other letters that lie beneath at the edges, turned at random, partly outside.
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
    parts = [_draw_glyphs(n, stamps, look, generator) for n in (train, valid, test)]
    return ImageSet("glyphs", tuple(letters), *parts, seed=seed)


def hard_glyphs(train: int = 28_000, valid: int = 2_000, test: int = 10_000, *, seed: int = 0) -> ImageSet:
    """Glyphs that tell good networks apart: letters that differ in a stroke, turned by up to 50 degrees, with pieces of
    three others at the edges.

    The truth table is of the default sizes, some seconds' work; a demonstration takes fewer. On 4,000 letters that were
    turned less and noisier the best quarter of the five-layer space lay within 2.4 points of accuracy, here within 4.1.
    """
    look = {"letters": "BCDEFGOPQR", "noise": 0.09, "texture": 0.30, "turn": 0.85, "clutter": 3}
    images = glyphs(train, valid, test, **look, seed=seed)
    return replace(images, name="glyphs-hard", augment=shift_together)


def shift_together(pixels: Tensor, most: int = 2) -> Tensor:
    """A whole batch moved by up to `most` pixels each way, what leaves at one side coming back at the other.

    Uses torch's global random state, so call it inside `networks.seeded`.
    """
    down, right = torch.randint(-most, most + 1, (2,)).tolist()
    return pixels.roll((down, right), (-2, -1))


def _glyph_stamps(letters: str, side: int = 64) -> Tensor:
    """(letters, fonts, side, side) in 0..1: each letter of each font, centred."""
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
        """Random labels (n,) and their ink (n, 1, SIDE, SIDE), moved by `off_centre` half widths to any side."""
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
    """Where each pixel comes from under affine maps (n, 2, 3): (n, SIDE, SIDE, 2), as `F.affine_grid` gives it.

    That leaves its sums to the processor's library: one rounds each product before adding it, another does not, and a
    pixel here and there comes out another. The truth table is of the latter's images. Here a product of two float32
    numbers is taken in float64, where it is exact, so every processor draws them.
    """
    line = torch.linspace(-1, 1, SIDE) * ((SIDE - 1) / SIDE)  # centres of the pixels
    across, down, moved = (maps[:, None, None, :, k].double() for k in range(3))
    first = (line[None, None, :, None].double() * across).float()
    second = (line[None, :, None, None].double() * down + first.double()).float()
    return (second.double() + moved).float()


# --- real -----------------------------------------------------------------------------------------------


def digits(*, seed: int = 0) -> ImageSet:
    """scikit-learn's 1,797 real handwritten digits, 8x8 grey, enlarged to 32x32: 1,197 / 200 / 400 images."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    small = torch.from_numpy(bunch.images).float()[:, None] / 16
    large = F.interpolate(small, (SIDE, SIDE), mode="bilinear", align_corners=False).clamp(0, 1)
    pixels = (large * 255).round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()
    images = Images(pixels, torch.from_numpy(bunch.target).long())
    rest, test = _split(images, 400, seed)
    train, valid = _split(rest, 200, seed)
    return ImageSet("digits", tuple(string.digits), train, valid, test, seed=seed)


def cifar10(root: str | Path | None = None, *, download: bool = False, seed: int = 0) -> ImageSet:
    return _torchvision_set("cifar10", "CIFAR10", root, download, seed)


def cifar100(root: str | Path | None = None, *, download: bool = False, seed: int = 0) -> ImageSet:
    return _torchvision_set("cifar100", "CIFAR100", root, download, seed)


def fashion_mnist(root: str | Path | None = None, *, download: bool = False, seed: int = 0) -> ImageSet:
    return _torchvision_set("fashion-mnist", "FashionMNIST", root, download, seed)


def folder(path: str | Path, *, limit: int | None = None, seed: int = 0) -> ImageSet:
    """Your own images: one folder a class, or `train/` and `test/` with one folder a class in each.

    `path` may also be a tar archive of such folders. Without a `test/` a fifth of the images becomes the test part;
    a tenth of the rest is kept for validation.

    Args:
        limit: at most so many images a class and part, the first by name.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"no images at {path}: name a folder with one folder a class, or a tar archive of it")
    files = _archive_files(path, limit) if path.is_file() else _folder_files(path, limit)
    if not files:
        raise InputError(f"{path} holds no folder of images; expected CLASS/*.png or train/CLASS/*.png")
    classes = tuple(sorted({file.label for file in files}))
    if len(classes) < 2:
        raise InputError(f"{path} holds one class ({classes[0]}); a classifier needs at least two")
    images = _decode(files, classes)
    is_test = torch.tensor([file.part == "test" for file in files])
    if is_test.any() and not is_test.all():
        rest, test = images[~is_test], images[is_test]
    else:
        rest, test = _split(images, len(files) // 5, seed)
    train, valid = _split(rest, len(rest) // 10, seed)
    return ImageSet("folder", classes, train, valid, test, seed=seed, augment=crop_and_flip)


class _File(NamedTuple):
    part: str  # "train", "test" or ""
    label: str
    content: bytes | Path


SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def _folder_files(path: Path, limit: int | None) -> list[_File]:
    named = {p.name for p in path.iterdir() if p.is_dir()}
    parts = [part for part in ("train", "test") if part in named] or [""]
    files = []
    for part in parts:
        for label in sorted(p for p in (path / part).iterdir() if p.is_dir()):
            pictures = sorted(p for p in label.iterdir() if p.suffix.lower() in SUFFIXES)
            files += [_File(part, label.name, p) for p in pictures[:limit]]
    return files


def _archive_files(path: Path, limit: int | None) -> list[_File]:
    """Pictures of a tar archive, read without unpacking it anywhere."""
    files, taken = [], {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                parts = Path(member.name).parts
                if not member.isfile() or len(parts) < 2 or Path(parts[-1]).suffix.lower() not in SUFFIXES:
                    continue
                key = (parts[-3] if len(parts) > 2 and parts[-3] in ("train", "test") else "", parts[-2])
                taken[key] = taken.get(key, 0) + 1
                if limit is None or taken[key] <= limit:
                    files.append(_File(*key, archive.extractfile(member).read()))
    except (tarfile.TarError, EOFError, OSError) as problem:
        raise InputError(f"{path} is not a whole tar archive of class folders ({problem})") from None
    return files


def _decode(files: list[_File], classes: tuple[str, ...]) -> Images:
    from PIL import Image, UnidentifiedImageError

    shrink = _to_square()
    pixels = torch.empty(len(files), 3, SIDE, SIDE, dtype=torch.uint8)
    for i, file in enumerate(files):
        try:
            with Image.open(io.BytesIO(file.content) if isinstance(file.content, bytes) else file.content) as picture:
                pixels[i] = shrink(picture)
        except (UnidentifiedImageError, OSError) as problem:
            raise InputError(f"a picture of class {file.label} cannot be read: {problem}") from None
    labels = torch.tensor([classes.index(file.label) for file in files])
    return Images(pixels, labels)


def _torchvision_set(name: str, kind: str, root: str | Path | None, download: bool, seed: int) -> ImageSet:
    root = Path(root or os.environ.get("LABKIT_DATA") or Path.home() / ".cache" / "labkit")
    datasets = import_torchvision().datasets
    try:
        train, test = (getattr(datasets, kind)(root, train=part, download=download) for part in (True, False))
    except RuntimeError as problem:
        raise InputError(
            f"{name} is not in {root} and nothing is downloaded unless asked: "
            f"pass download=True (--download), set LABKIT_DATA to where it is, or use folder:PATH ({problem})"
        ) from None
    except OSError as problem:
        raise InputError(f"{name} could not be brought to {root}: {problem}") from None
    shrink = _to_square()

    def images(dataset) -> Images:
        from PIL import Image

        pictures = [shrink(Image.fromarray(np.asarray(row))) for row in dataset.data]
        return Images(torch.stack(pictures), torch.as_tensor(dataset.targets).long())

    weights, valid = _split(images(train), len(train) // 10, seed)
    return ImageSet(name, tuple(train.classes), weights, valid, images(test), seed=seed, augment=crop_and_flip)


def _to_square():
    """PIL picture of any size and mode to (3, 32, 32) uint8."""
    v2 = _transforms()
    return v2.Compose([v2.ToImage(), v2.RGB(), v2.Resize(SIDE, antialias=True), v2.CenterCrop(SIDE)])


def crop_and_flip(pixels: Tensor) -> Tensor:
    """The usual CIFAR augmentation, each image on its own: pad 4 and crop, mirror half of them.

    torchvision's transforms draw once for a whole batch, so they would be called an image at a time. Drawn on the CPU,
    so that a seed changes the images alike on every device. Uses torch's global random state: call it inside
    `networks.seeded`.
    """
    n, pad = len(pixels), 4
    top, left = torch.randint(2 * pad + 1, (2, n, 1))
    rows, columns = (first + torch.arange(SIDE) for first in (top, left))
    columns = torch.where(torch.rand(n, 1) < 0.5, columns, columns.flip(-1))
    each, channel = torch.arange(n)[:, None, None, None], torch.arange(pixels.shape[1])[:, None, None]
    picked = (i.to(pixels.device) for i in (each, channel, rows[:, None, :, None], columns[:, None, None, :]))
    return F.pad(pixels, (pad,) * 4)[tuple(picked)]


def _split(images: Images, n: int, seed: int) -> tuple[Images, Images]:
    """All but `n` images, and those `n`, at random from the seed."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return images[order[n:]], images[order[:n]]


def _transforms():
    import_torchvision()
    from torchvision.transforms import v2

    return v2


_torchvision_schemas: torch.library.Library | None = None


def import_torchvision():
    """torchvision, also beside a CPU-only torch.

    Its wheel on PyPI is built for CUDA: without the CUDA libraries its C++ operators do not load, and its import
    then fails on the schemas of the two that it registers a fake for. Declaring those is enough for all we use.
    """
    global _torchvision_schemas
    if torch.version.cuda is None and _torchvision_schemas is None:
        try:
            torch.ops.torchvision.nms  # noqa: B018
        except (AttributeError, RuntimeError):
            _torchvision_schemas = torch.library.Library("torchvision", "DEF")
            for name in ("nms", "qnms"):
                _torchvision_schemas.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision
    import torchvision.datasets

    return torchvision


SETS: dict[str, Callable[..., ImageSet]] = {
    "glyphs": glyphs,
    "glyphs-hard": hard_glyphs,
    "digits": digits,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "fashion-mnist": fashion_mnist,
}


def by_name(name: str, *, seed: int = 0, download: bool = False, small: bool = False) -> ImageSet:
    """The set called `name` on the command line: one of `SETS`, or `folder:PATH`.

    `small` shrinks the parts for a quick look: 3,000 / 1,000 / 2,000 images.
    """
    if name.startswith("folder:"):
        images = folder(name.removeprefix("folder:"), seed=seed)
    elif name not in SETS:
        raise InputError(f"data is one of {', '.join(SETS)} or folder:PATH; got {name!r}")
    elif name in ("glyphs", "glyphs-hard", "digits"):
        images = SETS[name](seed=seed)
    else:
        images = SETS[name](seed=seed, download=download)
    if small:
        parts = zip(("train", "valid", "test"), (3_000, 1_000, 2_000))
        images = replace(images, **{part: getattr(images, part)[:n] for part, n in parts})
    return images
