"""Real images: scikit-learn's digits, and sets through torchvision."""

import os
import string
from pathlib import Path

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
