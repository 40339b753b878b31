"""A stopwatch: several calls are timed in turn, each until its figure has settled."""

import gc
import os
import random
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from labkit.latency.cards import Timing, statistic_of
from labkit.latency.conditions import ROUNDS
from labkit.system.errors import InputError

SETTLED = 0.02  # relative width of a figure's 95 % interval
WINDOW = 0.01  # seconds of a window of warm-up, at least; usually it is a fifth of the timing
WINDOWS = 20  # of warm-up at most
STEADY = 0.05  # two windows of warm-up agree when they differ by less
DISTURBED = 1.25  # times its best that a usual block takes on a machine that is not quiet


class NoisyMachine(UserWarning):
    """Timings were taken on a machine that was doing other things."""


def time_interleaved(
    calls: Sequence[Callable[[], object]],
    *,
    device: str | torch.device = "cpu",
    seconds: float = 0.1,
    rounds: int = ROUNDS,
) -> list[Timing]:
    """Time several calls in turn, so that a disturbance of the machine affects all of them alike.

    Each call is warmed up until two windows in a row agree. Then all calls run in `rounds` blocks, in an order that is
    shuffled every round, with the garbage collector off and the device synchronised around each block. A call whose
    figure (best on a CPU, median on a GPU) is not known within 2 % by then gets up to as many blocks again. On a GPU a
    block is timed by its events. A machine that was not quiet causes a `NoisyMachine` warning.

    Args:
        calls: functions without arguments, at least one.
        device: where they run, "cpu" or "cuda".
        seconds: of timing for each call, about.
        rounds: blocks for each call, at least two.

    Returns:
        A timing for each call, in milliseconds of one call.

    Raises:
        InputError: there is no call, or fewer than two rounds.
    """
    if not calls or rounds < 2:
        raise InputError(f"what is timed is at least one call, in at least two rounds; got {len(calls)} in {rounds}")
    cuda = torch.device(device).type == "cuda"
    block = _gpu_block if cuda else _cpu_block
    window = max(WINDOW, seconds / 5)
    counts = [max(1, round(seconds / rounds / _warm_up(call, block, window))) for call in calls]
    runs: list[list[float]] = [[] for _ in calls]
    order, shuffle = list(range(len(calls))), random.Random(0).shuffle
    settled = lambda i: Timing.of(runs[i]).within(statistic_of(device)) <= SETTLED
    with _no_garbage_collection():
        for turn in range(2 * rounds):
            if turn >= rounds and not (order := [i for i in order if not settled(i)]):
                break
            shuffle(order)
            for i in order:
                runs[i].append(1e3 * block(calls[i], counts[i]) / counts[i])
    if seen := _disturbance(runs, [i for i in order if not settled(i)], rounds):
        warnings.warn(f"the machine is not quiet: {seen}. Close what else runs and measure again", NoisyMachine, 2)
    return [Timing.of(blocks) for blocks in runs]


def _cpu_block(call: Callable[[], object], n: int) -> float:
    """Seconds of `n` calls."""
    start = time.perf_counter()
    for _ in range(n):
        call()
    return time.perf_counter() - start


def _gpu_block(call: Callable[[], object], n: int) -> float:
    """Seconds of `n` calls between two events on the stream."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(n):
        call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def _warm_up(call: Callable[[], object], block: Callable[[Callable[[], object], int], float], window: float) -> float:
    """Run until two windows in a row agree; seconds of a call."""
    once = max(min(block(call, 1) for _ in range(2)), 1e-7)
    n = max(1, round(window / once))
    before = block(call, n) / n
    for _ in range(WINDOWS - 1):
        now = block(call, n) / n
        if abs(now - before) <= STEADY * before:
            break
        before = now
    return max(min(now, before), 1e-7)


def _disturbance(runs: Sequence[Sequence[float]], unsettled: Sequence[int], rounds: int) -> str:
    """What was seen of a noisy machine, in words; "" of a quiet one."""
    usual = statistics.median(ms / min(blocks) for blocks in runs for ms in blocks)
    if len(unsettled) <= 0.1 * len(runs) and usual <= DISTURBED:
        return ""
    words = [
        f"{len(unsettled)} of {len(runs)} timings did not settle within {SETTLED:.0%} in {2 * rounds} blocks",
        f"a usual block takes {usual:.2f} times the best",
    ]
    if hasattr(os, "getloadavg"):
        words.append(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return ", ".join(words)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
