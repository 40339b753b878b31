"""Images and image sets as tensors. Pixels stay 8-bit until a batch is made.

In shapes: N images of a part, B images of a batch.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.system.errors import InputError

SIDE = 32  # pixels of the sets that labkit knows


@dataclass(frozen=True, eq=False)
class Images:
    """One part of an image set. Its length is the number of images; an index or a slice selects images.

    Attributes:
        pixels: (N, C, H, W) uint8, of 1 to 4 channels.
        labels: (N,) int64, from 0.

    Raises:
        InputError: the tensors are none of these, or differ in N.
    """

    pixels: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        for name, value in (("pixels", self.pixels), ("labels", self.labels)):
            if not isinstance(value, Tensor):
                raise InputError(f"{name} are a tensor; got {type(value).__name__}: torch.as_tensor makes one")
        if self.pixels.dtype != torch.uint8:
            raise InputError(
                f"pixels are uint8 from 0 to 255; got {self.pixels.dtype}: (255 * x).round().to(torch.uint8) makes "
                f"them of numbers from 0 to 1"
            )
        if self.pixels.dim() != 4 or not 1 <= self.pixels.shape[1] <= 4:
            raise InputError(
                f"pixels are (N, channels, height, width) of 1 to 4 channels; got {tuple(self.pixels.shape)}"
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.pixels.shape[:1]:
            raise InputError(
                f"labels are {self.pixels.shape[0]} whole numbers, (N,) int64, one an image; got "
                f"{tuple(self.labels.shape)} {self.labels.dtype}"
            )

    def __len__(self) -> int:
        return self.labels.shape[0]

    def batches(
        self,
        size: int,
        generator: torch.Generator | None = None,
        augment: Callable[[Tensor], Tensor] | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield one pass over the images in batches.

        Args:
            size: B, images in a batch.
            generator: for shuffled batches, of which the last short one is dropped; None for all images in order.
            augment: (B, C, H, W) uint8 -> the same, applied to each batch.

        Yields:
            Standardised images (B, C, H, W) float32, and labels (B,).
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
        """Move the images to a device.

        Args:
            device: such as "cuda".

        Returns:
            The same images there.
        """
        return Images(self.pixels.to(device), self.labels.to(device))


class ShuffledBatches:
    """Training batches without end. Each pass over the images is shuffled again, and its last short batch is dropped.

    `order`, `used` and the state of the generator determine the next batches, except for random augmentation.

    Args:
        images: the images.
        size: B, images in a batch.
        generator: for the order, on the CPU.
        augment: (B, C, H, W) uint8 -> the same, applied to each batch.

    Attributes:
        order: (N,) order of the images in this pass; None before the first one.
        used: number of images of this pass that were in a batch.
    """

    def __init__(
        self,
        images: Images,
        size: int,
        generator: torch.Generator,
        augment: Callable[[Tensor], Tensor] | None = None,
    ):
        self.images, self.size, self.generator, self.augment = images, size, generator, augment
        self.order: Tensor | None = None
        self.used = 0

    def __next__(self) -> tuple[Tensor, Tensor]:
        """Standardised images (B, C, H, W) float32 with labels (B,)."""
        if self.order is None or self.used + self.size > len(self.images):
            self.order, self.used = torch.randperm(len(self.images), generator=self.generator), 0
        index = self.order[self.used : self.used + self.size].to(self.images.labels.device)
        self.used += self.size
        pixels = self.images.pixels[index]
        return standardise(self.augment(pixels) if self.augment else pixels), self.images.labels[index]


def standardise(pixels: Tensor) -> Tensor:
    """Convert 8-bit pixels to float32 around zero, from -2 to 2.

    Args:
        pixels: uint8, of any shape.

    Returns:
        float32 of the same shape.
    """
    # Constants rather than statistics of the images: nothing leaks between the parts of a set.
    return (pixels.float() / 255 - 0.5) / 0.25


@dataclass(frozen=True)
class Recipe:
    """How to make an image set again: the registered function and its arguments.

    Attributes:
        name: of the registered function.
        arguments: of the function, its seed included.
        small: whether the set was then cut by `shrunk`.
        parts: where a user's own function is found, see `system.registry.describe`.
    """

    name: str
    arguments: Mapping[str, Any]
    small: bool = False
    parts: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True)
class ImageSet:
    """Three disjoint parts of one set of images.

    Attributes:
        name: its registered name.
        classes: names of the classes.
        train: for training the shared weights, and later the chosen network.
        valid: for choosing architectures.
        test: used once, at the end.
        seed: of the split, and of generated images.
        augment: (B, C, H, W) uint8 -> the same, on training batches only; it uses torch's global random state.
        made_by: how to make the set again; None where that is unknown.

    Raises:
        InputError: the parts have images of other sizes, or labels that are no class.
    """

    name: str
    classes: tuple[str, ...]
    train: Images
    valid: Images
    test: Images
    seed: int
    augment: Callable[[Tensor], Tensor] | None = None
    made_by: Recipe | None = None

    def __post_init__(self) -> None:
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        if len(sizes := {tuple(part.pixels.shape[1:]) for part in parts.values()}) > 1:
            raise InputError(f"the parts of {self.name} have images of several sizes: {sorted(sizes)}")
        for name, part in parts.items():
            if len(part) and not (0 <= part.labels.min() and part.labels.max() < len(self.classes)):
                low, high = part.labels.min().item(), part.labels.max().item()
                raise InputError(
                    f"labels of the {name} part of {self.name} are from 0 to {len(self.classes) - 1}, one for each of "
                    f"{len(self.classes)} classes; got {low} to {high}"
                )

    @property
    def image(self) -> tuple[int, int, int]:
        """Channels, height and width in pixels."""
        channels, height, width = self.train.pixels.shape[1:]
        return channels, height, width

    def check(self, image: tuple[int, int, int], classes: int) -> None:
        """Check that networks of a space can learn from these images.

        Args:
            image: channels, height and width that the space is made for.
            classes: its number of classes.

        Raises:
            InputError: the images are of another size, or have other classes.
        """
        if len(self.classes) != classes:
            raise InputError(
                f"{self.name} has {len(self.classes)} classes, the space {classes}: make the space with "
                f"classes={len(self.classes)}"
            )
        if self.image != tuple(image):
            raise InputError(
                f"the images of {self.name} are {self.image} (channels, height, width), those of the space {image}: "
                f"make the space with space.for_images({self.image}), or load the images at its size"
            )

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits of a hash of all pixels and labels of the three parts."""
        hasher = hashlib.sha256()
        for part in (self.train, self.valid, self.test):
            hasher.update(part.labels.cpu().numpy().tobytes())
            hasher.update(part.pixels.cpu().contiguous().numpy().tobytes())
        return hasher.hexdigest()[:12]

    def card(self) -> dict:
        """Return what identifies this split, as JSON values: name, classes, sizes of the parts, seed and digest."""
        sizes = {"train": len(self.train), "valid": len(self.valid), "test": len(self.test)}
        return {
            "name": self.name,
            "classes": len(self.classes),
            **sizes,
            "seed": self.seed,
            "digest": self.digest,
        }

    def to(self, device: str | torch.device) -> "ImageSet":
        """Move all three parts to a device.

        Args:
            device: such as "cuda".

        Returns:
            The same set there.
        """
        return replace(self, train=self.train.to(device), valid=self.valid.to(device), test=self.test.to(device))


def crop_and_flip(pixels: Tensor) -> Tensor:
    """Augment as usual for CIFAR: pad each image by an eighth and crop it at random, then mirror half of them.

    It uses torch's global random state, on the CPU for every device, so call it inside `networks.supernet.seeded`.

    Args:
        pixels: (B, C, H, W).

    Returns:
        (B, C, H, W).
    """
    return _moved(pixels, crop=True, mirror=True)


def _moved(pixels: Tensor, *, crop: bool, mirror: bool) -> Tensor:
    # torchvision's transforms draw once for a whole batch, so they would have to be called for each image.
    n, (height, width) = len(pixels), pixels.shape[2:]
    down, across = (side // 8 if crop else 0 for side in (height, width))
    top, left = (torch.randint(2 * pad + 1, (n, 1)) for pad in (down, across))
    rows, columns = top + torch.arange(height), left + torch.arange(width)
    if mirror:
        columns = torch.where(torch.rand(n, 1) < 0.5, columns, columns.flip(-1))
    each, channel = torch.arange(n)[:, None, None, None], torch.arange(pixels.shape[1])[:, None, None]
    picked = (i.to(pixels.device) for i in (each, channel, rows[:, None, :, None], columns[:, None, None, :]))
    return F.pad(pixels, (across, across, down, down))[tuple(picked)]


AUGMENTATIONS: dict[str, Callable[[Tensor], Tensor] | None] = {
    "none": None,
    "crop": partial(_moved, crop=True, mirror=False),
    "flip": partial(_moved, crop=False, mirror=True),
    "crop_and_flip": crop_and_flip,
}


def split(images: Images, n: int, seed: int) -> tuple[Images, Images]:
    """Split images at random.

    Args:
        images: all of them.
        n: number of images of the second part.
        seed: of the split.

    Returns:
        The other images, and the `n` images.
    """
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return images[order[n:]], images[order[:n]]
