"""PyTorch as runtimes: eager in two memory layouts, compiled just in time or ahead of time, and as one CUDA graph."""

import copy
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from labkit.data import import_torchvision
from labkit.runtimes.base import DTYPES, Preparation, Run, Runtime
from labkit.runtimes.cuda_graphs import graph_run

MOST_COMPILED = 64  # networks, shapes and precisions: all share one `forward`, and beyond this many none is compiled
_FORMATS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


class Eager(Runtime):
    """Eager PyTorch in NCHW, the baseline."""

    name = "torch"
    dtypes = tuple(DTYPES)
    devices: tuple[str, ...] = ("cpu", "cuda")

    def prepare(self, network: nn.Module, example: Tensor, how: Preparation) -> Run:
        network, place = self._placed(network, example.device, how), self._placing(how)

        @torch.inference_mode()
        def eager(images: Tensor) -> Tensor:
            return network(place(images)).float()

        return eager

    def _placing(self, how: Preparation) -> Callable[[Tensor], Tensor]:
        """Brings images to the dtype and the layout of the network."""
        dtype, memory_format = DTYPES[how.dtype], _FORMATS[self.layout]
        return lambda images: images.to(dtype=dtype, memory_format=memory_format)

    def _placed(self, network: nn.Module, device: torch.device, how: Preparation) -> nn.Module:
        """A copy in eval mode on the device. Below float32, batch norm and the head keep float32.

        They cost next to nothing, and statistics and logits rounded to the eight bits of bfloat16 cause a third to two
        thirds of a small network's parity error.
        """
        dtype = DTYPES[how.dtype]
        ours = copy.deepcopy(network).eval().to(device, dtype)
        ours = ours.to(memory_format=_FORMATS[self.layout])  # type: ignore[call-overload]
        if dtype == torch.float32:
            return ours
        for name, module in network.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) or name == "head":
                ours.get_submodule(name).float().load_state_dict(module.state_dict())
        if isinstance(head := getattr(ours, "head", None), nn.Module):
            ours.head = nn.Sequential(_Widen(), head)
        return ours


class ChannelsLast(Eager):
    """Eager PyTorch with channels last, which is faster for most convolutions on a CPU and on a GPU."""

    name = "torch-channels-last"
    layout: ClassVar[str] = "channels_last"
    preference: int | None = 2


class Compiled(ChannelsLast):
    """`torch.compile`, which takes half a minute for each network and shape."""

    name = "torch-compile"
    needs_trial: ClassVar[bool] = True
    preference = None

    @property
    def reason(self) -> str | None:
        """Which compiler is missing and how to get it; None where there is one."""
        return _no_compiler()

    def prepare(self, network: nn.Module, example: Tensor, how: Preparation) -> Run:
        place = self._placing(how)
        # Weights become constants, so convolution and batch norm are folded into one as the other compilers do.
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MOST_COMPILED)
        run = torch.compile(self._placed(network, example.device, how), options={"freezing": True})

        @torch.no_grad()  # not inference mode: `freezing` asks for this one
        def compiled(images: Tensor) -> Tensor:
            return run(place(images)).float()

        return compiled


class AheadOfTime(Compiled):
    """AOTInductor, which compiles a network to a library in half a minute; no Python runs between its kernels."""

    name = "torch-aot"

    def prepare(self, network: nn.Module, example: Tensor, how: Preparation) -> Run:
        import_torchvision()  # the compiler imports it if it is installed, and a CPU-only torch needs our guard
        placed, place = self._placed(network, example.device, how), self._placing(how)
        example = place(example)
        if len(example) < 2:  # a batch of one would be taken for a constant
            pair = example.expand(2, *example.shape[1:])
            example = pair.contiguous(memory_format=_FORMATS[self.layout])
        dynamic = ({0: torch.export.Dim("batch", max=4_096)},)
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            program = torch.export.export(placed, (example,), dynamic_shapes=dynamic)
            path = str(Path(folder, "network.pt2"))
            torch._inductor.aoti_compile_and_package(program, package_path=path, inductor_configs={"freezing": True})
            compiled = torch._inductor.aoti_load_package(path)

        @torch.no_grad()
        def run(images: Tensor) -> Tensor:
            return compiled(place(images)).float()

        return run


class CudaGraph(ChannelsLast):
    """PyTorch with all kernels of a pass launched as one CUDA graph."""

    name = "torch-cuda-graph"
    devices = ("cuda",)
    repeats: ClassVar[bool] = True
    preference = 2

    @property
    def reason(self) -> str | None:
        """That a GPU is missing; None where torch can use one."""
        return None if torch.cuda.is_available() else "a CUDA graph needs an NVIDIA GPU that torch can use"

    def prepare(self, network: nn.Module, example: Tensor, how: Preparation) -> Run:
        return graph_run(self._placed(network, example.device, how), self._placing(how), how.repeats)


class _Widen(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.float()


def _no_compiler() -> str | None:
    """Why torch.compile cannot work here; None where it can. It writes C++ for a CPU and Triton for a GPU."""
    wanted = [os.environ.get("CXX", ""), "g++", "clang++", "cl"]
    if not any(shutil.which(compiler) for compiler in wanted if compiler):
        return "torch.compile needs a C++ compiler: install g++ or clang++, or name one in CXX"
    if torch.cuda.is_available() and importlib.util.find_spec("triton") is None:
        return "torch.compile needs triton on a GPU: pip install triton"
    return None
