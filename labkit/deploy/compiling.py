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

_WARNED: set[str] = set()  # fall-backs that have caused a warning


def compile(
    network: nn.Module,
    runtime: str | Runtime = "auto",
    precision: str = "fp32",
    *,
    example: Tensor | None = None,
    calibration: Images | None = None,
    engines: str | Path | None = None,
) -> Run:
    """Compile a network for a runtime, with the same call for every runtime.

    Args:
        network: images (B, C, H, W) to class logits (B, classes).
        runtime: the name of a runtime, or the runtime itself; or "auto" for the first of `registry.preferred` that can
            be used, with a warning once where it is not the first of all.
        precision: of weights and arithmetic: fp32, fp16, bf16, int8 or fp8. Images and logits are float32.
        example: images like those that it will see, on the device where it will run; TensorRT tunes an engine to their
            number. None for one image of the space, on the device of the network, where it is a network of labkit.
        calibration: real images that int8 and fp8 take their ranges from, such as `data.train`.
        engines: a folder that keeps TensorRT engines for the next time.

    Returns:
        A function of images (B, C, H, W) that gives logits (B, classes) in float32.

    Raises:
        InputError: the runtime cannot be used here or not in this precision, it refuses the network, or something that
            it needs is missing. The message names the remedy.
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
    """Export a network to ONNX as a runtime reads it, to build its engine here or elsewhere.

    Args:
        network: the network.
        runtime: the name of a runtime that reads ONNX, or the runtime itself.
        precision: fp32, fp16, bf16, int8 or fp8.
        calibration: real images that int8 and fp8 take their ranges from.

    Returns:
        The serialised model.

    Raises:
        InputError: the runtime does not take this precision.
    """
    example = torch.zeros(2, *network.space.image)
    return runtime_called(runtime).model(network, example, Preparation(PRECISIONS[precision], calibration=calibration))


def first_usable(dtype: str, device: str | torch.device) -> str:
    """Choose the runtime that "auto" means: the first of `registry.preferred` that can be used here.

    One that is not the first of all causes a warning, once, which says what the others lack.

    Args:
        dtype: of weights and arithmetic, such as "float32".
        device: where it runs, "cpu" or "cuda".

    Returns:
        The name of the runtime.

    Raises:
        InputError: none can be used.
    """
    passed_over: list[str] = []
    for name in (entry.name for entry in preferred(device)):
        try:
            loaded(name, dtype, device)
        except InputError as problem:
            passed_over.append(str(problem))
            continue
        message = f"taking {name}: {'; '.join(passed_over)}"
        if passed_over and message not in _WARNED:
            _WARNED.add(message)
            warnings.warn(message, stacklevel=3)
        return name
    raise InputError(f"no runtime here takes {dtype} on {torch.device(device).type}: {'; '.join(passed_over)}")
