"""Train one network and compute its error."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from labkit.data import Images, ImageSet
from labkit.networks.supernet import in_memory_format, seeded
from labkit.system import malloc
from labkit.system.errors import InputError


class SmallSet(UserWarning):
    """There are fewer training images than a batch should have; the text says which batches were taken."""


class Diverged(InputError):
    """The loss of a training is no longer a finite number."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train: AdamW, one cycle of the learning rate, clipped gradients. It ranks networks alike across seeds.

    Attributes:
        epochs: number of passes over the training images.
        batch_size: images in a batch.
        lr: largest learning rate of the cycle.
        warmup: share of the steps in which the learning rate rises to it.
        weight_decay: of AdamW.
        clip: largest norm of the gradient.
        seed: of the order of the images and of augmentation.

    Raises:
        InputError: there is no epoch, or a batch has fewer than two images.
    """

    epochs: int = 6
    batch_size: int = 128
    lr: float = 4e-3
    warmup: float = 0.3
    weight_decay: float = 1e-2
    clip: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2:
            raise InputError(
                f"training needs at least 1 epoch and 2 images a batch; got {self.epochs} and {self.batch_size}"
            )


RECIPE = TrainConfig(epochs=3, batch_size=64, warmup=0.6)  # a long rise, for many images: seeds rank networks alike


@contextmanager
def trained_fast(network: nn.Module) -> Iterator[None]:
    """Make training on a CPU faster inside the block: weights in channels last, freed memory kept by the process.

    Args:
        network: the network to train; afterwards its weights are contiguous again.
    """
    malloc.keep_freed()
    in_memory_format(network, torch.channels_last)
    try:
        yield
    finally:
        in_memory_format(network, torch.contiguous_format)


def train(
    network: nn.Module,
    data: ImageSet,
    config: TrainConfig = TrainConfig(),
    *,
    validate: str = "every epoch",
    progress: bool = False,
) -> list[dict[str, Any]]:
    """Train a network in place.

    Args:
        network: the network, on the device of the images.
        data: the image set; the test part is not used.
        config: how to train.
        validate: when to compute the validation error: "every epoch", or only "at the end", which saves a tenth of the
            time.
        progress: whether to show a progress bar.

    Returns:
        One record for each epoch: "epoch", the mean training "loss" in nats, and "valid_error" where it was computed.

    Raises:
        InputError: the training diverged, there are fewer than two images, or the network reads images of another size.
    """
    if validate not in ("every epoch", "at the end"):
        raise InputError(f"validate 'every epoch' or 'at the end'; got {validate!r}")
    with trained_fast(network):
        return _train(network, data, config, validate, progress)


def _train(network, data, config, validate, progress) -> list[dict[str, Any]]:
    space = getattr(network, "space", None)
    if space is not None and space.image != data.image:
        raise InputError(
            f"the network reads images of {space.image} (channels, height, width); {data.name} has {data.image}"
        )
    batch_size, n = config.batch_size, len(data.train)
    if n < 2:
        raise InputError(f"a network learns from 2 images at least; {data.name} has {n} to learn from")
    if n < batch_size:
        batch_size = max(2, n // 8)
        warnings.warn(
            f"a batch of {config.batch_size} is more than the {n} training images of {data.name}: batches of "
            f"{batch_size} are taken", SmallSet, stacklevel=4,
        )  # fmt: skip
    batches = n // batch_size
    optimizer = torch.optim.AdamW(network.parameters(), config.lr, weight_decay=config.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.lr, total_steps=config.epochs * batches, pct_start=config.warmup
    )
    generator = torch.Generator().manual_seed(config.seed)
    records = []
    with seeded(config.seed), tqdm(total=config.epochs * batches, disable=not progress, desc="train") as bar:
        for epoch in range(config.epochs):
            network.train()
            total = 0.0
            for images, labels in data.train.batches(batch_size, generator, data.augment):
                loss = F.cross_entropy(network(images), labels)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), config.clip)
                optimizer.step()
                schedule.step()
                total += loss.item()
                bar.update()
            if not math.isfinite(total):
                raise Diverged(
                    f"training diverged in epoch {epoch}: its loss is {total}; repeat it with an lr below {config.lr:g}"
                )
            records.append({"epoch": epoch, "loss": total / batches})
            if validate == "every epoch" or epoch == config.epochs - 1:
                records[-1]["valid_error"] = error(network, data.valid)
                bar.set_postfix(valid_error=f"{records[-1]['valid_error']:.3f}")
    return records


@torch.no_grad()
def error(network: nn.Module, images: Images, batch_size: int = 500) -> float:
    """Compute the fraction of images that a network misclassifies.

    Args:
        network: the network, on the device of the images. It is put in eval mode.
        images: at least one.
        batch_size: images in a batch.

    Returns:
        The fraction, from 0 to 1.
    """
    network.eval()
    wrong = sum((network(x).argmax(-1) != y).sum().item() for x, y in images.batches(batch_size))
    return wrong / len(images)
