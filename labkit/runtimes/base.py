"""What a runtime is: one object that says what it takes and what it lacks, and prepares a network."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from labkit.runtimes.onnx_export import onnx_bytes
from labkit.runtimes.quantisation import quantised
from labkit.system.errors import InputError

Run = Callable[[Tensor], Tensor]  # images (B, C, H, W) -> class logits (B, classes) in float32
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
REFUSED = "export the network again, or take another runtime"


@dataclass(frozen=True)
class Preparation:
    """How a network is prepared for a runtime.

    Args:
        example: images (B, C, H, W) like those it will see, on the device it will run on.
        dtype: of weights and arithmetic. Images may come in any, logits leave in float32.
        exporter: how runtimes that need ONNX get it; see `onnx_export.onnx_bytes`.
        onnx_model: the network exported in float32, where there already is one.
        calibration: real images (N, C, H, W), as the network sees them: eight bits take their ranges from them.
        engines: a folder that keeps compiled engines for the next time.
        repeats: how often a call does the work, in runtimes that can launch it so; others do it once.
    """

    example: Tensor
    dtype: str = "float32"
    exporter: str = "dynamo"
    onnx_model: bytes | None = None
    calibration: Tensor | None = None
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

    def prepare(self, network: nn.Module, how: Preparation) -> Run:
        """`network` in eval mode as a function of images. The network itself is left alone.

        Raises:
            InputError: the runtime refuses the network.
        """
        raise NotImplementedError

    def model(self, network: nn.Module, how: Preparation) -> bytes:
        """`network` in ONNX with the precision in the model itself, as this runtime reads it.

        Raises:
            InputError: it does not take the dtype, or eight bits have no images to take their ranges from.
        """
        if how.dtype not in self.dtypes:
            raise InputError(f"{self.name} takes {', '.join(self.dtypes)}; got {how.dtype!r}")
        if how.dtype == "float16":
            return onnx_bytes(network, how.example, exporter=how.exporter, dtype=how.dtype)
        model = how.onnx_model or onnx_bytes(network, how.example, exporter=how.exporter)
        recipe = self.eight_bits.get(how.dtype)
        if recipe is None:
            return model
        if how.calibration is None:
            raise InputError(
                f"{how.dtype} takes its ranges from real images: pass calibration=, such as 256 training images"
            )
        return quantised(model, how.calibration, recipe, seven_bit_weights="cpu" in self.devices)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


def version_of(package: str) -> str | None:
    """The version of an installed package; None without it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
