"""TensorRT and TensorRT-RTX as runtimes, plain and launched as one CUDA graph."""

from collections.abc import Callable, Mapping
from typing import ClassVar

from torch import Tensor, nn

from labkit.runtimes import tensorrt_engines
from labkit.runtimes.base import Preparation, Run, Runtime, version_of
from labkit.runtimes.cuda_graphs import graph_run


class TensorRT(Runtime):
    """An engine of one of TensorRT's two packages.

    Args:
        flavour: the package, "tensorrt" or "tensorrt-rtx".
        graph: launch all kernels of a pass as one CUDA graph.
    """

    dtypes = ("float32", "float16", "int8", "float8")
    devices = ("cuda",)
    eight_bits: ClassVar[Mapping[str, str]] = {"int8": "s8s8", "float8": "fp8"}
    deploys: ClassVar[bool] = True

    def __init__(self, flavour: str, *, graph: bool = False):
        self.flavour, self.graph = flavour, graph
        self.name = f"{flavour}-cuda-graph" if graph else flavour
        self.preference = None if graph else [*tensorrt_engines.FLAVOURS].index(flavour)

    @property
    def repeats(self) -> bool:  # type: ignore[override]
        """Whether one launch can do the work several times."""
        return self.graph

    @property
    def version(self) -> str | None:
        """The version of its package; None where it is not installed."""
        return version_of(self.flavour)

    @property
    def reason(self) -> str | None:
        """Whether the package or a GPU is missing, and how to get it; None where engines can run."""
        return tensorrt_engines.unavailable(self.flavour)

    def load(self) -> None:
        tensorrt_engines.module(self.flavour)

    def prepare(self, network: nn.Module, example: Tensor, how: Preparation) -> Run:
        model, batch = self.model(network, example, how), example.shape[0]
        settings = tensorrt_engines.Settings(tensorrt_engines.Profile(1, batch, max(64, batch)))
        device = example.device
        run: Run
        if how.engines is None:
            run = tensorrt_engines.EngineRun(tensorrt_engines.build(model, settings, flavour=self.flavour), device)
        else:
            run = tensorrt_engines.ready(model, settings, how.engines, device, flavour=self.flavour)
        widen: Callable[[Tensor], Tensor] = lambda images: images.float()
        return graph_run(run, widen, how.repeats) if self.graph else run
