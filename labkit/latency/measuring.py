"""Time whole networks end to end in a runtime."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from labkit.latency.cards import Card, Measurement, statistic_of
from labkit.latency.conditions import TimingConditions
from labkit.latency.stopwatch import time_interleaved
from labkit.runtimes.base import DTYPES, Preparation, Run, Runtime
from labkit.runtimes.registry import RUNTIMES, prepare
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
    conditions: TimingConditions = TimingConditions(),
    *,
    image: tuple[int, int, int] = (3, 32, 32),
    exporter: str = "torchscript",
) -> list[Measurement]:
    """Time whole networks end to end on random images, in turn with each other.

    A GPU multiplies float32 as it is, not rounded to TensorFloat-32.

    Args:
        networks: modules, which are prepared for the runtime; or functions of images, which are timed as they are.
            For functions the runtime of `conditions` is only a name for what runs them.
        conditions: the runtime, device, dtype, batch size, threads and time.
        image: channels, height and width of an image.
        exporter: how runtimes that read ONNX get the network; see `runtimes.onnx_export.onnx_bytes`.

    Returns:
        A measurement for each network, all with the same card.

    Raises:
        InputError: the runtime cannot be used under these conditions, or there is no network.
    """
    name, device = conditions.runtime_name, conditions.device
    with conditions.threads_set():
        batches = random_batches(conditions, image)
        runs = [
            prepare(network, name, batches[0], Preparation(conditions.dtype, exporter))
            if isinstance(network, nn.Module)
            else network
            for network in networks
        ]
        if conditions.transfers and conditions.on_gpu:
            runs = [_from_host(run, device) for run in runs]
            batches = batches.float().cpu().pin_memory()
        calls = [rotating(run, batches) for run in runs]
        timings = time_interleaved(calls, device=device, seconds=conditions.seconds, rounds=conditions.rounds)
        card = card_of(conditions, image)
    return [Measurement(timing, card) for timing in timings]


@ieee_float32()
def macs_per_ms(device: str | torch.device = "cpu", repeats: int = 20) -> float:
    """Measure how many multiply-accumulates the device does in a millisecond, in float32, where the work suits it.

    The work is a 3x3 convolution of 64 channels on 64 images of 32 x 32, channels last, without a gradient. It gives a
    lower bound for the time of a network's arithmetic. Depthwise and 1x1 convolutions are much slower, and arithmetic
    in eight bits may be faster.

    Args:
        device: where it is measured.
        repeats: blocks of 20 ms; the best one counts.

    Returns:
        Multiply-accumulates in a millisecond.
    """
    conv = nn.Conv2d(64, 64, 3, padding=1, bias=False).to(device)
    conv = conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(64, 64, 32, 32).to(device, memory_format=torch.channels_last)
    with torch.no_grad():
        (timing,) = time_interleaved([lambda: conv(images)], device=device, seconds=repeats * 0.02, rounds=repeats)
    return 64 * 32 * 32 * 64 * 64 * 9 / timing.best_ms


def random_batches(conditions: TimingConditions, image: tuple[int, ...]) -> Tensor:
    """Draw random images as the runtime reads them, the same ones every time.

    Args:
        conditions: its runtime, device, dtype and batch size count.
        image: channels, height and width of an image.

    Returns:
        Four batches (4, batch_size, C, H, W), on the device.

    Raises:
        InputError: images cannot have this dtype.
    """
    dtype, name = conditions.dtype, conditions.runtime_name
    if dtype not in DTYPES:
        raise InputError(f"dtypes are {', '.join(DTYPES)}; got {dtype!r}")
    batches = torch.randn(4, conditions.batch_size, *image, generator=torch.Generator().manual_seed(0))
    widened = name in RUNTIMES and RUNTIMES[name].reads_float32
    return batches.to(conditions.device, torch.float32 if widened else DTYPES[dtype])


def _from_host(run: Run, device: str | torch.device) -> Run:
    return lambda images: run(images.to(device, non_blocking=True)).cpu()


def card_of(conditions: TimingConditions, image: tuple[int, ...]) -> Card:
    """Describe a measurement that is made here and now.

    Args:
        conditions: of the measurement. Its runtime may be one that labkit does not know.
        image: channels, height and width of an image.

    Returns:
        The card, with this machine, its versions, the commit of labkit and the date.
    """
    name, device = conditions.runtime_name, conditions.device
    used = RUNTIMES.get(name)
    versions = {"torch": str(torch.__version__)}
    if used is not None and used.version and used.version != torch.__version__:
        versions[name] = used.version
    return Card(
        device=device_name(device),
        runtime=name,
        versions=tuple(sorted(versions.items())),
        dtype=conditions.dtype,
        layout=used.layout if used is not None else Runtime.layout,
        batch_size=conditions.batch_size,
        input_shape=tuple(image),
        threads=conditions.threads or torch.get_num_threads(),
        statistic=statistic_of(device),
        capability=capability(device),
        driver=driver(device),
        tf32=conditions.on_gpu and rounds_float32(),
        transfers=conditions.transfers and conditions.on_gpu,
        observed=observed(device),
        git=git_state(),
        date=today(),
    )


def rotating(run: Callable[[Tensor], Tensor], batches: Tensor) -> Callable[[], Tensor]:
    """Give `run` another input in every call, so that no input lies in a cache that real use would not have.

    Args:
        run: a function of images.
        batches: at least one batch of images, along the first dimension.

    Returns:
        A function without arguments, which calls `run` on the batches in turn.
    """
    inputs, i = list(batches), 0

    def call() -> Tensor:
        nonlocal i
        i = (i + 1) % len(inputs)
        return run(inputs[i])

    return call
