"""Runtimes by name: PyTorch eager, compiled or as a CUDA graph, ONNX Runtime, OpenVINO and TensorRT.

The package of a runtime is imported when the runtime is loaded, not before.
"""

from typing import Any

import torch
from torch import Tensor, nn

from labkit.runtimes import tensorrt_engines
from labkit.runtimes.base import Preparation, Run, Runtime
from labkit.runtimes.onnx_runtimes import OnnxRuntime, OpenVino
from labkit.runtimes.tensorrt_runtimes import TensorRT
from labkit.runtimes.torch_runtimes import AheadOfTime, ChannelsLast, Compiled, CudaGraph, Eager
from labkit.system.errors import InputError
from labkit.system.registry import Registry

RUNTIMES: Registry[Runtime] = Registry("runtime", "labkit.register_runtime")


def register_runtime(runtime: Any, *, replace: bool = False) -> Any:
    """Add a runtime under its own name. It works as a call with an instance and as a decorator of a class.

    Args:
        runtime: an instance of a subclass of `Runtime`, or such a class that is made without arguments.
        replace: take the place of a runtime of this name.

    Returns:
        `runtime`.

    Raises:
        InputError: the name is taken, or this is no `Runtime`.
    """
    instance = runtime() if isinstance(runtime, type) else runtime
    if not isinstance(instance, Runtime):
        raise InputError(f"a runtime is a subclass of labkit.runtimes.Runtime; got {runtime!r:.80}")
    RUNTIMES.register(instance.name, instance, replace=replace)
    return runtime


for _runtime in (Eager(), ChannelsLast(), Compiled(), AheadOfTime(), CudaGraph(), OnnxRuntime(), OpenVino()):
    register_runtime(_runtime)
for _flavour in tensorrt_engines.FLAVOURS:
    for _graph in (False, True):
        register_runtime(TensorRT(_flavour, graph=_graph))


def runtimes() -> tuple[Runtime, ...]:
    """Every runtime that is registered, the baseline first. Never raises."""
    return tuple(RUNTIMES.values())


def runtime(name: str | Runtime) -> Runtime:
    """Look up a runtime, available here or not.

    Args:
        name: its name; or the runtime itself, which is registered if it was not.

    Returns:
        The runtime.

    Raises:
        InputError: there is none of this name, or another one has the name of the instance.
    """
    if isinstance(name, Runtime):
        return RUNTIMES.register(name.name, name)
    return RUNTIMES.find(name)


def usable(name: str | Runtime, dtype: str = "float32", device: str | torch.device = "cpu") -> Runtime:
    """Look up a runtime and check that it can be used here.

    Args:
        name: its name, or the runtime itself.
        dtype: that it must take.
        device: that it must run on, "cpu" or "cuda".

    Returns:
        The runtime. Its package is not imported.

    Raises:
        InputError: it cannot be used so. The message names the remedy.
    """
    chosen, kind = runtime(name), torch.device(device).type
    if chosen.reason is not None:
        raise InputError(f"the runtime {chosen.name} cannot be used here: {chosen.reason}")
    if dtype not in chosen.dtypes:
        raise InputError(f"the runtime {chosen.name} takes {', '.join(chosen.dtypes)}; got {dtype!r}")
    if kind not in chosen.devices:
        there = ", ".join(entry.name for entry in runtimes() if kind in entry.devices)
        raise InputError(
            f"the runtime {chosen.name} runs on {' or '.join(chosen.devices)}; got {kind!r}, for which: {there}"
        )
    return chosen


def loaded(name: str | Runtime, dtype: str = "float32", device: str | torch.device = "cpu") -> Runtime:
    """Look up a runtime, check that it can be used here, and import its package.

    Args:
        name: as in `usable`.
        dtype: likewise.
        device: likewise.

    Returns:
        The runtime.

    Raises:
        InputError: it cannot be used so, or its package cannot be imported. The message names the remedy.
    """
    chosen = usable(name, dtype, device)
    chosen.load()
    return chosen


def preferred(device: str | torch.device) -> list[Runtime]:
    """List the runtimes that "auto" tries on a device.

    Args:
        device: "cpu" or "cuda".

    Returns:
        Runtimes, the usually fastest first.

    Raises:
        InputError: none is known for this kind of device.
    """
    kind = torch.device(device).type
    first = lambda entry: "cuda" if entry.devices == ("cuda",) else "cpu"
    fit = [e for e in runtimes() if e.preference is not None and kind in e.devices]
    if not fit:
        known = sorted({device for entry in runtimes() if entry.preference is not None for device in entry.devices})
        raise InputError(f"'auto' knows the runtimes of {' and '.join(known)}; got {kind!r}: name a runtime")
    return sorted(fit, key=lambda entry: (first(entry) != kind, entry.preference))


def prepare(
    network: nn.Module,
    name: str | Runtime,
    example: Tensor,
    how: Preparation = Preparation(),
) -> Run:
    """Prepare a network to run in a runtime, in eval mode. The network itself is not changed.

    Args:
        network: images (B, C, H, W) to class logits (B, classes).
        name: of a runtime, or the runtime itself.
        example: images (B, C, H, W) like those that it will see, on the device where it will run.
        how: the dtype, and what is at hand for the preparation.

    Returns:
        A function of images (B, C, H, W) that gives logits (B, classes) in float32.

    Raises:
        InputError: the runtime cannot be used here, or refuses the network.
    """
    return loaded(name, how.dtype, example.device).prepare(network, example, how)
