"""The base class of runtimes: an object that says what it takes and what it lacks, and prepares a network."""

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
    """Base class of all runtimes. Add your own one with `labkit.register_runtime`.

    Attributes:
        name: under which it is registered.
        layout: of feature maps in memory, "NCHW" or "channels_last".
        dtypes: that it takes.
        devices: kinds of device that it runs on.
        eight_bits: a quantisation recipe for each eight-bit dtype that it takes.
        reads_float32: whether its images are float32 whatever the dtype.
        deploys: whether it is an inference engine, in which networks are deployed.
        needs_trial: whether it may end the process on a GPU, so that it is tried in another process first.
        repeats: whether one launch can do the work several times.
        preference: order among the runtimes that "auto" tries on its first device, 0 for the first; None for never.
    """

    name: str
    layout: ClassVar[str] = "NCHW"
    dtypes: tuple[str, ...] = ("float32",)
    devices: tuple[str, ...] = ("cpu",)
    eight_bits: ClassVar[Mapping[str, str]] = {}
    reads_float32: ClassVar[bool] = False
    deploys: ClassVar[bool] = False
    needs_trial: ClassVar[bool] = False
    repeats: ClassVar[bool] = False
    preference: int | None = None

    @property
    def version(self) -> str | None:
        """The version of its package; None where it is not installed."""
        return str(torch.__version__)

    @property
    def reason(self) -> str | None:
        """Why it cannot be used here and how to change that; None where it can be used."""
        return None

    @property
    def available(self) -> bool:
        """Whether it can be used here."""
        return self.reason is None

    def load(self) -> None:
        """Import its package.

        Raises:
            InputError: the package is installed and cannot be imported. The message names the remedy.
        """

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
    """Look up the version of a package without importing it.

    Args:
        package: its name on PyPI.

    Returns:
        The version; None where it is not installed.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
