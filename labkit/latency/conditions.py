"""Timing conditions: under what a latency is measured, as one value."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from labkit.runtimes.base import Runtime
from labkit.runtimes.registry import runtime as runtime_called
from labkit.system.device import threads as at_threads
from labkit.system.errors import InputError

ROUNDS = 15  # blocks a call gets: on a shared machine the best of 15 repeats within 2-3 %, a median within 5-58 %


@dataclass(frozen=True, kw_only=True)
class TimingConditions:
    """Under what networks are timed, and for how long.

    Attributes:
        runtime: the name of a runtime, or the runtime itself. Functions that are timed as they are may have any name.
        device: where the networks run: "cpu" or "cuda".
        dtype: of weights and arithmetic, and of images that lie on the device already. ONNX Runtime and OpenVINO
            read float32 images.
        batch_size: images in a call.
        threads: cores that a network may use; None for as many as PyTorch uses now.
        seconds: of timing for each call, about.
        rounds: blocks that the seconds are cut into; at least 2.
        transfers: on a GPU, start with float32 images in the host's pinned memory and end with logits there.

    Raises:
        InputError: a number is out of its range.
    """

    runtime: str | Runtime = "torch"
    device: str | torch.device = "cpu"
    dtype: str = "float32"
    batch_size: int = 1
    threads: int | None = None
    seconds: float = 0.2
    rounds: int = ROUNDS
    transfers: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise InputError(f"a batch has at least one image; got {self.batch_size}")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"a network runs on at least one thread; got {self.threads}")
        if not (math.isfinite(self.seconds) and self.seconds > 0):
            raise InputError(f"timing takes a positive number of seconds; got {self.seconds}")
        if self.rounds < 2:
            raise InputError(f"timing takes at least 2 rounds; got {self.rounds}")

    @property
    def runtime_name(self) -> str:
        """The name of the runtime. A runtime that was passed as an object is registered."""
        return runtime_called(self.runtime).name if isinstance(self.runtime, Runtime) else self.runtime

    @property
    def on_gpu(self) -> bool:
        """Whether the networks run on a CUDA device."""
        return torch.device(self.device).type == "cuda"

    @contextmanager
    def threads_set(self) -> Iterator[None]:
        """Inside the block networks run on `threads` threads, whatever their runtime."""
        with at_threads(self.threads or torch.get_num_threads()):
            yield
