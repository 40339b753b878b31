"""Images and image sets as tensors. Pixels stay 8-bit until a batch is made.

In shapes: N images of a part, B images of a batch.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 32  # pixels


@dataclass(frozen=True, eq=False)
class Images:
    """One part of an image set. Its length is the number of images; an index or a slice selects images.

    Attributes:
        pixels: (N, 3, 32, 32) uint8.
        labels: (N,) int64, from 0.
    """

    pixels: Tensor
    labels: Tensor

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
            augment: (B, 3, 32, 32) uint8 -> the same, applied to each batch.

        Yields:
            Standardised images (B, 3, 32, 32) float32, and labels (B,).
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
        augment: (B, 3, 32, 32) uint8 -> the same, applied to each batch.

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
        """Standardised images (B, 3, 32, 32) float32 with labels (B,)."""
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
        augment: (B, 3, 32, 32) uint8 -> the same, on training batches only; it uses torch's global random state.
        made_by: how to make the set again; None where that is unknown.
    """

    name: str
    classes: tuple[str, ...]
    train: Images
    valid: Images
    test: Images
    seed: int
    augment: Callable[[Tensor], Tensor] | None = None
    made_by: Recipe | None = None

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
    """Augment as usual for CIFAR: pad each image by 4 pixels and crop it at random, then mirror half of them.

    It uses torch's global random state, on the CPU for every device, so call it inside `networks.supernet.seeded`.

    Args:
        pixels: (B, C, 32, 32).

    Returns:
        (B, C, 32, 32).
    """
    # torchvision's transforms draw once for a whole batch, so they would have to be called for each image.
    n, pad = len(pixels), 4
    top, left = torch.randint(2 * pad + 1, (2, n, 1))
    rows, columns = (first + torch.arange(SIDE) for first in (top, left))
    columns = torch.where(torch.rand(n, 1) < 0.5, columns, columns.flip(-1))
    each, channel = torch.arange(n)[:, None, None, None], torch.arange(pixels.shape[1])[:, None, None]
    picked = (i.to(pixels.device) for i in (each, channel, rows[:, None, :, None], columns[:, None, None, :]))
    return F.pad(pixels, (pad,) * 4)[tuple(picked)]


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
