"""CUDA graphs: launch all kernels of a function at once, for launches take most of a small network's time on a GPU."""

import warnings
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

Function = Callable[..., Tensor | Sequence[Tensor]]
Changes = Callable[[], Iterable[Tensor]]
WARM_UP = 3  # calls before a recording: libraries choose their algorithms in them, which they may not do in it


class Recording:
    """A function of tensors, recorded as one CUDA graph for the shapes of its arguments.

    The function may use its arguments and tensors that stay where they are. It may neither draw random numbers nor
    wait for the device. The next call overwrites what a call returned.

    Args:
        function: of tensors on the GPU; gives a tensor or several.
        values: its arguments.
        changes: tensors that it changes in place; they are restored after the recording.
        pool: memory that recordings share, from `torch.cuda.graph_pool_handle()`; None for memory of its own.
            Arguments and results lie outside.
    """

    def __init__(self, function: Function, values: Sequence[Tensor], changes: Sequence[Tensor] = (), pool: Any = None):
        self.held, self.graph = [value.detach().clone() for value in values], torch.cuda.CUDAGraph()
        before, side = [tensor.detach().clone() for tensor in changes], torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                results = function(*self.held)
            self._one = isinstance(results, Tensor)
            shared = None if pool is None else [torch.empty_like(r, requires_grad=False) for r in self._list(results)]
            with torch.no_grad():
                for tensor, value in zip(changes, before):
                    tensor.copy_(value)
            del results
        torch.cuda.current_stream().wait_stream(side)
        with warnings.catch_warnings(), torch.cuda.graph(self.graph, pool=pool):
            warnings.filterwarnings("ignore", "The CUDA Graph is empty")  # a candidate that does nothing has no kernels
            self.results = self._list(function(*self.held))
            if shared is not None:
                _copy(shared, self.results)
                self.results = shared

    def _list(self, results: Tensor | Sequence[Tensor]) -> list[Tensor]:
        return [results] if isinstance(results, Tensor) else list(results)

    def __call__(self, *values: Tensor) -> Tensor | list[Tensor]:
        """Copy the values to the arguments and launch the graph."""
        _copy(self.held, list(values))
        self.graph.replay()
        return self.results[0] if self._one else self.results


def graph_run(
    network: Callable[[Tensor], Tensor], place: Callable[[Tensor], Tensor], repeats: int
) -> Callable[[Tensor], Tensor]:
    """Make a network a function of images that launches all its kernels as one CUDA graph.

    A graph is recorded for each shape of images when that shape first comes.

    Args:
        network: images (B, C, H, W) to logits (B, classes), on a GPU.
        place: brings images to the network's dtype and layout.
        repeats: how often a launch does the work, one pass after the other.

    Returns:
        A function of images (B, C, H, W) that gives logits (B, classes) in float32.
    """
    recordings: dict[torch.Size, Recording] = {}

    def work(images: Tensor) -> Tensor:
        for _ in range(repeats):
            logits = network(images)
        return logits.float()

    @torch.inference_mode()
    def run(images: Tensor) -> Tensor:
        if images.shape not in recordings:
            recordings[images.shape] = Recording(work, [place(images.clone())])
        logits = recordings[images.shape](images)
        assert isinstance(logits, Tensor)
        return logits.clone()  # the next replay writes over it

    return run


@torch.no_grad()
def _copy(to: list[Tensor], of: list[Tensor]) -> None:
    torch._foreach_copy_(to, of)  # hundreds of gradients in a few launches


def eager(name: Hashable, function: Function, *values: Tensor, changes: Changes = tuple):
    """Call a function of tensors as a `Recorder` does, without recording it.

    Args:
        name: not used.
        function: of tensors.
        values: its arguments.
        changes: not used.

    Returns:
        What the function returns.
    """
    return function(*values)


class Recorder:
    """Calls functions of tensors on a GPU, and records each when it is first called with such shapes.

    Functions that are called under the same name must do the same.
    """

    def __init__(self):
        self.pool, self.recordings = torch.cuda.graph_pool_handle(), {}

    def __call__(self, name: Hashable, function: Function, *values: Tensor, changes: Changes = tuple):
        """Call a function, or replay its recording.

        Args:
            name: identifies the function.
            function: of tensors on the GPU.
            values: its arguments.
            changes: gives the tensors that the function changes in place.

        Returns:
            What the function returns; the next call overwrites it.
        """
        key = (name, *((value.shape, value.dtype) for value in values))
        if key not in self.recordings:
            self.recordings[key] = Recording(function, values, list(changes()), self.pool)
        return self.recordings[key](*values)
