"""A network as a function of images under a runtime, the same call for all runtimes."""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from labkit.data import Images
from labkit.deploy.precisions import PRECISIONS
from labkit.networks.supernet import Network
from labkit.runtimes.base import Preparation, Run, Runtime
from labkit.runtimes.registry import loaded, preferred, prepare
from labkit.runtimes.registry import runtime as runtime_called
from labkit.system.errors import InputError

_SAID: set[str] = set()  # fall-backs that have been announced


def compile(
    network: nn.Module,
    runtime: str | Runtime = "auto",
    precision: str = "fp32",
    *,
    example: Tensor | None = None,
    calibration: Images | None = None,
    engines: str | Path | None = None,
) -> Run:
    """`network` as a function of images (B, C, H, W) -> logits (B, classes) under a runtime; the same call for all.

    Args:
        runtime: a name of `runtimes()`, refused with the remedy where it cannot be used; or "auto", the first of
            `registry.preferred` that can, which is said once when it is not the first of all; or a runtime itself.
        precision: of weights and arithmetic: fp32, fp16, bf16, int8 or fp8. Images and logits are float32.
        example: images like those it will see, on the device it will run on; TensorRT tunes an engine to their number.
            Of labkit's own networks one image of their space, where the network lies.
        calibration: real images that int8 and fp8 take their ranges from, such as `data.train`.
        engines: a folder that keeps TensorRT engines for the next time.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precisions are {', '.join(PRECISIONS)}; got {precision!r}")
    if example is None:
        if not isinstance(network, Network):
            raise InputError(
                "what is no network of labkit's needs example=, images (B, C, H, W) like those it will see"
            )
        example = torch.zeros(1, *network.space.image, device=next(network.parameters()).device)
    dtype = PRECISIONS[precision]
    name = first_usable(dtype, example.device) if runtime == "auto" else runtime
    return prepare(network, name, example, Preparation(dtype, calibration=calibration, engines=engines))


def model_for(network: Network, runtime: str | Runtime, precision: str, calibration: Images) -> bytes:
    """`network` in ONNX as `runtime` takes it in `precision`: what its engine is built from, here or elsewhere."""
    example = torch.zeros(2, *network.space.image)
    return runtime_called(runtime).model(network, example, Preparation(PRECISIONS[precision], calibration=calibration))


def first_usable(dtype: str, device: str | torch.device) -> str:
    """The runtime that "auto" means: the first of `registry.preferred` that takes `dtype` and `device` here.

    One that is not the first of all is announced in a warning, once, with what the others lack.
    """
    passed_over: list[str] = []
    for name in (entry.name for entry in preferred(device)):
        try:
            loaded(name, dtype, device)
        except InputError as problem:
            passed_over.append(str(problem))
            continue
        said = f"taking {name}: {'; '.join(passed_over)}"
        if passed_over and said not in _SAID:
            _SAID.add(said)
            warnings.warn(said, stacklevel=3)
        return name
    raise InputError(f"no runtime here takes {dtype} on {torch.device(device).type}: {'; '.join(passed_over)}")
