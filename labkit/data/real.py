"""Real images: scikit-learn's digits, sets through torchvision, and a user's own folders or archives."""

import io
import os
import string
import tarfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from labkit.data.images import SIDE, Images, ImageSet, crop_and_flip, split
from labkit.data.torchvision_guard import import_torchvision, transforms
from labkit.system.errors import InputError


def digits(*, seed: int = 0) -> ImageSet:
    """Load scikit-learn's handwritten digits (Alpaydin, Kaynak 1998), enlarged from 8x8 grey to 32x32 RGB.

    Args:
        seed: of the split.

    Returns:
        1,197 / 200 / 400 images.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    small = torch.from_numpy(bunch.images).float()[:, None] / 16
    large = F.interpolate(small, (SIDE, SIDE), mode="bilinear", align_corners=False).clamp(0, 1)
    pixels = (large * 255).round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()
    images = Images(pixels, torch.from_numpy(bunch.target).long())
    rest, test = split(images, 400, seed)
    train, valid = split(rest, 200, seed)
    return ImageSet("digits", tuple(string.digits), train, valid, test, seed=seed)


def cifar10(root: str | Path | None = None, *, download: bool = False, seed: int = 0) -> ImageSet:
    """Load CIFAR-10 (Krizhevsky 2009) through torchvision.

    Args:
        root: folder of the files; None for the one in the environment variable LABKIT_DATA, or ~/.cache/labkit.
        download: whether missing files are downloaded.
        seed: of the split into training and validation.

    Returns:
        45,000 / 5,000 / 10,000 images, cropped and mirrored at random in training.

    Raises:
        InputError: files are missing and not to be downloaded, or the download failed.
    """
    return _torchvision_set("cifar10", "CIFAR10", root, download, seed)


def cifar100(root: str | Path | None = None, *, download: bool = False, seed: int = 0) -> ImageSet:
    """Load CIFAR-100 (Krizhevsky 2009) through torchvision.

    The classes are its hundred fine labels.

    Args:
        root: as in `cifar10`.
        download: as in `cifar10`.
        seed: as in `cifar10`.

    Returns:
        45,000 / 5,000 / 10,000 images, cropped and mirrored at random in training.

    Raises:
        InputError: as in `cifar10`.
    """
    return _torchvision_set("cifar100", "CIFAR100", root, download, seed)


def fashion_mnist(root: str | Path | None = None, *, download: bool = False, seed: int = 0) -> ImageSet:
    """Load Fashion-MNIST (Xiao, Rasul, Vollgraf 2017) through torchvision, as 32x32 RGB.

    Args:
        root: folder of the files, see `cifar10`.
        download: whether missing files are fetched.
        seed: of the split.

    Returns:
        54,000 / 6,000 / 10,000 images, cropped and mirrored at random in training.

    Raises:
        InputError: as in `cifar10`.
    """
    return _torchvision_set("fashion-mnist", "FashionMNIST", root, download, seed)


def folder(path: str | Path, *, limit: int | None = None, seed: int = 0) -> ImageSet:
    """Load your own images.

    Without a `test/` a fifth of the images is for testing. A tenth of the rest is for validation. Each part gets at
    least one image.

    Args:
        path: a folder with one folder a class, or with `train/` and `test/` of such folders; or a tar archive of it.
        limit: largest number of images of each class and part, the first ones by name; None for all.
        seed: of the split.

    Returns:
        The images as 32x32 RGB, cropped and mirrored at random in training.

    Raises:
        InputError: there are no images, fewer than two classes, too few images, or one cannot be read.
    """
    path = Path(path).expanduser()
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
        rest, test = split(images, max(1, len(files) // 5), seed)
    if len(rest) < 2:
        raise InputError(
            f"{path} leaves {len(rest)} of {len(files)} images to learn from and to validate on, and needs one for "
            f"each: add images"
        )
    train, valid = split(rest, max(1, len(rest) // 10), seed)
    return ImageSet("folder", classes, train, valid, test, seed=seed, augment=crop_and_flip)


class _File(NamedTuple):
    part: str  # "train", "test" or ""
    label: str
    content: bytes | Path


SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def _folder_files(path: Path, limit: int | None) -> list[_File]:
    named = {p.name for p in path.iterdir() if p.is_dir()}
    parts = tuple(part for part in ("train", "test") if part in named) or ("",)
    files = []
    for part in parts:
        for label in sorted(p for p in (path / part).iterdir() if p.is_dir()):
            pictures = sorted(p for p in label.iterdir() if p.suffix.lower() in SUFFIXES)
            files += [_File(part, label.name, p) for p in pictures[:limit]]
    return files


def _archive_files(path: Path, limit: int | None) -> list[_File]:
    """Pictures of a tar archive, which is not unpacked."""
    files: list[_File] = []
    taken: Counter[tuple[str, str]] = Counter()
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                parts = Path(member.name).parts
                if not member.isfile() or len(parts) < 2 or Path(parts[-1]).suffix.lower() not in SUFFIXES:
                    continue
                key = (parts[-3] if len(parts) > 2 and parts[-3] in ("train", "test") else "", parts[-2])
                taken[key] += 1
                picture = archive.extractfile(member)
                if picture is not None and (limit is None or taken[key] <= limit):
                    files.append(_File(*key, picture.read()))
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
            f"{name} is not in {root} and nothing is downloaded without a request: "
            f"pass download=True (--download), set LABKIT_DATA to where it is, or use folder:PATH ({problem})"
        ) from None
    except OSError as problem:
        raise InputError(f"{name} could not be brought to {root}: {problem}") from None
    shrink = _to_square()

    def images(dataset) -> Images:
        from PIL import Image

        pictures = [shrink(Image.fromarray(np.asarray(row))) for row in dataset.data]
        return Images(torch.stack(pictures), torch.as_tensor(dataset.targets).long())

    weights, valid = split(images(train), len(train) // 10, seed)
    return ImageSet(name, tuple(train.classes), weights, valid, images(test), seed=seed, augment=crop_and_flip)


def _to_square():
    """PIL picture of any size and mode to (3, 32, 32) uint8."""
    v2 = transforms()
    return v2.Compose([v2.ToImage(), v2.RGB(), v2.Resize(SIDE, antialias=True), v2.CenterCrop(SIDE)])
