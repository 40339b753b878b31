"""Image sets as tensors: generated glyphs, scikit-learn's digits, and real sets through torchvision.

Every set is 32x32 RGB, so every space takes every set.
"""

from collections.abc import Callable
from dataclasses import replace

from labkit.data.generated import glyphs as glyphs
from labkit.data.generated import hard_glyphs as hard_glyphs
from labkit.data.images import SIDE as SIDE
from labkit.data.images import Images as Images
from labkit.data.images import ImageSet as ImageSet
from labkit.data.images import ShuffledBatches as ShuffledBatches
from labkit.data.images import crop_and_flip as crop_and_flip
from labkit.data.images import standardise as standardise
from labkit.data.real import cifar10 as cifar10
from labkit.data.real import cifar100 as cifar100
from labkit.data.real import digits as digits
from labkit.data.real import fashion_mnist as fashion_mnist
from labkit.data.real import folder as folder
from labkit.data.torchvision_guard import import_torchvision as import_torchvision
from labkit.system.errors import unknown

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
        raise unknown("data is folder:PATH or one of", name, SETS)
    elif name in ("glyphs", "glyphs-hard", "digits"):
        images = SETS[name](seed=seed)
    else:
        images = SETS[name](seed=seed, download=download)
    if small:
        parts = zip(("train", "valid", "test"), (3_000, 1_000, 2_000))
        images = replace(images, **{part: getattr(images, part)[:n] for part, n in parts})
    return images
