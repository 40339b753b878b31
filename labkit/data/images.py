"""Images and sets of them as tensors. Pixels stay 8-bit until a batch is made.

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
        """The same images on `device`."""
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
class Recipe:
    """How an image set is made again: by which registered function, called with what."""

    name: str
    arguments: Mapping[str, Any]  # of the function, its seed among them
    small: bool = False  # cut down for a quick look
    parts: tuple[Mapping[str, str], ...] = ()  # where an own function is found, see `system.registry.describe`


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
    made_by: Recipe | None = None  # None: nobody but its maker can make it again

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
        """The same set with all three parts on `device`."""
        return replace(self, train=self.train.to(device), valid=self.valid.to(device), test=self.test.to(device))


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


def split(images: Images, n: int, seed: int) -> tuple[Images, Images]:
    """All but `n` images, and those `n`, at random from the seed."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return images[order[n:]], images[order[:n]]
