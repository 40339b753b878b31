"""What a runtime is: one object that says what it takes and what it lacks, and prepares a network."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from labkit.data import Images, standardise
from labkit.runtimes.onnx_export import onnx_bytes
from labkit.runtimes.quantisation import CALIBRATION, quantised
from labkit.system.errors import InputError

Run = Callable[[Tensor], Tensor]  # images (B, C, H, W) -> class logits (B, classes) in float32
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
REFUSED = "export the network again, or take another runtime"


@dataclass(frozen=True)
class Preparation:
    """How a network is prepared for a runtime.

    Attributes:
        dtype: of weights and arithmetic. Images may have any dtype; logits are float32.
        exporter: how runtimes that read ONNX get the network; see `onnx_export.onnx_bytes`.
        onnx_model: the network exported in float32, where such a model exists already.
        calibration: real images, from which eight bits take their ranges; the first `quantisation.CALIBRATION` count.
        engines: a folder that keeps compiled engines for the next time.
        repeats: how often a call does the work, in runtimes that can launch it so; others do it once.
    """

    dtype: str = "float32"
    exporter: str = "dynamo"
    onnx_model: bytes | None = None
    calibration: Images | None = None
    engines: str | Path | None = None
    repeats: int = 1


class Runtime:
    """Base class of all runtimes. An own one is an instance of a subclass, added by `labkit.register_runtime`."""

    name: str
    layout: ClassVar[str] = "NCHW"  # or "channels_last": how feature maps lie in memory
    dtypes: tuple[str, ...] = ("float32",)  # that it takes
    devices: tuple[str, ...] = ("cpu",)  # kinds of device that it runs on
    eight_bits: ClassVar[Mapping[str, str]] = {}  # an eight-bit dtype -> how a model is quantised for it
    reads_float32: ClassVar[bool] = False  # its images come in float32, whatever the dtype
    deploys: ClassVar[bool] = False  # an inference engine: what a network is deployed in
    needs_trial: ClassVar[bool] = False  # on a GPU it may end the process, so it is tried in another one first
    repeats: ClassVar[bool] = False  # one launch can do the work several times
    preference: int | None = None  # place among those that "auto" tries on its first device, 0 the first; None: never

    @property
    def version(self) -> str | None:
        """Of its package; None where it is not installed."""
        return str(torch.__version__)

    @property
    def reason(self) -> str | None:
        """What is missing here and how to get it; None where it can be used."""
        return None

    @property
    def available(self) -> bool:
        """Whether it can be used here."""
        return self.reason is None

    def load(self) -> None:
        """Import its package. InputError, with the remedy, for one that is installed and does not load."""

    def prepare(self, network: nn.Module, example: Tensor, how: Preparation) -> Run:
        """Prepare a network to run here, in eval mode. The network itself is not changed.

        Args:
            network: images (B, C, H, W) to class logits (B, classes).
            example: images (B, C, H, W) like those that it will see, on the device where it will run.
            how: the dtype, and what is at hand for the preparation.

        Returns:
            A function of images (B, C, H, W) that gives logits (B, classes) in float32.

        Raises:
            InputError: the runtime refuses the network.
        """
        raise NotImplementedError

    def model(self, network: nn.Module, example: Tensor, how: Preparation) -> bytes:
        """Export a network to ONNX as this runtime reads it, with the precision in the model itself.

        Args:
            network: images (B, C, H, W) to class logits (B, classes).
            example: images (B, C, H, W) like those that it will see.
            how: the dtype, the exporter, the float32 model and the calibration images.

        Returns:
            The serialised model.

        Raises:
            InputError: the runtime does not take the dtype, or eight bits have no images to take their ranges from.
        """
        if how.dtype not in self.dtypes:
            raise InputError(f"{self.name} takes {', '.join(self.dtypes)}; got {how.dtype!r}")
        if how.dtype == "float16":
            return onnx_bytes(network, example, exporter=how.exporter, dtype=how.dtype)
        model = how.onnx_model or onnx_bytes(network, example, exporter=how.exporter)
        recipe = self.eight_bits.get(how.dtype)
        if recipe is None:
            return model
        if how.calibration is None:
            raise InputError(
                f"{how.dtype} takes its ranges from real images: pass calibration=, such as 256 training images"
            )
        images = standardise(how.calibration.pixels[:CALIBRATION])
        return quantised(model, images, recipe, seven_bit_weights="cpu" in self.devices)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


def version_of(package: str) -> str | None:
    """The version of an installed package; None without it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
