"""Time whole networks end to end in a runtime."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from labkit.latency.cards import Card, Measurement, statistic_of
from labkit.latency.stopwatch import ROUNDS, time_interleaved
from labkit.runtimes.base import DTYPES, Run, Runtime
from labkit.runtimes.registry import RUNTIMES, prepare
from labkit.runtimes.registry import runtime as runtime_called
from labkit.system.device import (
    capability,
    device_name,
    driver,
    git_state,
    ieee_float32,
    observed,
    rounds_float32,
    today,
)
from labkit.system.errors import InputError


@ieee_float32()
def measure(
    networks: Sequence[nn.Module | Run],
    image: tuple[int, int, int] = (3, 32, 32),
    *,
    runtime: str | Runtime = "torch",
    batch_size: int = 1,
    dtype: str = "float32",
    device: str | torch.device = "cpu",
    transfers: bool = False,
    seconds: float = 0.2,
    rounds: int = ROUNDS,
    exporter: str = "torchscript",
) -> list[Measurement]:
    """Whole networks end to end on random images (batch_size, *image), in turn with each other.

    A GPU multiplies float32 as it is, not rounded to TensorFloat-32.

    Args:
        networks: modules, which are prepared for `runtime`; or functions of images, which are timed as they are, with
            `runtime` only a name for what runs them.
        dtype: of weights and arithmetic, and of the images where they lie on the device already; ONNX Runtime and
            OpenVINO read float32 ones.
        transfers: on a GPU, begin with float32 images in the host's pinned memory and end with logits there.
        seconds: of timing each, in `rounds` blocks; see `stopwatch.time_interleaved`.
    """
    if isinstance(runtime, Runtime):
        runtime = runtime_called(runtime).name
    batches = _batches(batch_size, image, runtime, dtype, device)
    runs = [
        prepare(network, runtime, batches[0], dtype=dtype, exporter=exporter)
        if isinstance(network, nn.Module)
        else network
        for network in networks
    ]
    if transfers := transfers and torch.device(device).type == "cuda":
        runs = [_from_host(run, device) for run in runs]
        batches = batches.float().cpu().pin_memory()
    timings = time_interleaved([rotating(run, batches) for run in runs], device=device, seconds=seconds, rounds=rounds)
    card = card_of(runtime, batch_size, image, device, dtype=dtype, transfers=transfers)
    return [Measurement(timing, card) for timing in timings]


@ieee_float32()
def macs_per_ms(device: str | torch.device = "cpu", repeats: int = 20) -> float:
    """Multiply-accumulates that the device does in a millisecond, in float32, where the work suits it.

    That of a 3x3 convolution of 64 channels and 64 images, 32 x 32, channels last, no gradient: a floor for what a
    network's arithmetic takes. Depthwise and 1x1 convolutions come nowhere near it, and eight bits may go below it.
    """
    conv = nn.Conv2d(64, 64, 3, padding=1, bias=False).to(device)
    conv = conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(64, 64, 32, 32).to(device, memory_format=torch.channels_last)
    with torch.no_grad():
        (timing,) = time_interleaved([lambda: conv(images)], device=device, seconds=repeats * 0.02, rounds=repeats)
    return 64 * 32 * 32 * 64 * 64 * 9 / timing.best_ms


def _batches(batch_size: int, image: tuple[int, ...], runtime: str, dtype: str, device: str | torch.device) -> Tensor:
    """(4, batch_size, *image) random images as the runtime reads them, the same every time."""
    if dtype not in DTYPES:
        raise InputError(f"dtypes are {', '.join(DTYPES)}; got {dtype!r}")
    batches = torch.randn(4, batch_size, *image, generator=torch.Generator().manual_seed(0))
    widened = runtime in RUNTIMES and RUNTIMES[runtime].reads_float32
    return batches.to(device, torch.float32 if widened else DTYPES[dtype])


def _from_host(run: Run, device: str | torch.device) -> Run:
    return lambda images: run(images.to(device, non_blocking=True)).cpu()


def card_of(
    name: str,
    batch_size: int,
    image: tuple[int, ...],
    device: str | torch.device = "cpu",
    *,
    dtype: str = "float32",
    transfers: bool = False,
) -> Card:
    """The card of a measurement made here and now under the runtime `name`, or under one that labkit does not know."""
    used = RUNTIMES.get(name)
    versions = {"torch": str(torch.__version__)}
    if used is not None and used.version and used.version != torch.__version__:
        versions[name] = used.version
    return Card(
        device=device_name(device),
        runtime=name,
        versions=tuple(sorted(versions.items())),
        dtype=dtype,
        layout=used.layout if used is not None else Runtime.layout,
        batch_size=batch_size,
        input_shape=tuple(image),
        threads=torch.get_num_threads(),
        statistic=statistic_of(device),
        capability=capability(device),
        driver=driver(device),
        tf32=torch.device(device).type == "cuda" and rounds_float32(),
        transfers=transfers,
        observed=observed(device),
        git=git_state(),
        date=today(),
    )


def rotating(run: Callable[[Tensor], Tensor], batches: Tensor) -> Callable[[], Tensor]:
    """Another input every call, so that none is served from a cache that real use would not have."""
    inputs, i = list(batches), 0

    def call() -> Tensor:
        nonlocal i
        i = (i + 1) % len(inputs)
        return run(inputs[i])

    return call
