"""Plain networks sized by the stopwatch: as deep and as wide as fits a time."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from labkit.networks.controls import FAMILIES, Control

Clock = Callable[[Control], float]  # the time of a control, in the unit of the limit
SLACK = 1.02  # times the limit that still fits: the clock is not more exact
USED = 0.9  # share of the limit that a size should use
READINGS = 3  # of a size that seems too slow: other load on a machine only ever adds time


@dataclass(frozen=True)
class Fit:
    """A control, and its time.

    Attributes:
        control: the network.
        time: by the clock, in the unit of the limit.
    """

    control: Control
    time: float


def sized(family: str, limit: float, clock: Clock) -> Fit | None:
    """The size of a family that fits a time limit: the widest of a depth, at the depth where that is as published.

    From one depth to the next the widest that fits grows narrower. The search ends where it is narrower than in the
    article, and of all depths that use the time the one with the nearest width is taken.

    Args:
        family: a key of `FAMILIES`.
        limit: the most time.
        clock: the time of a control; it should not decrease with the width.

    Returns:
        The size with its time; None where even the smallest is too slow.
    """
    known, fits, widest = FAMILIES[family], list[Fit](), FAMILIES[family].most
    for depth in known.depths:
        fit = _widest(family, depth, widest, limit, clock)
        if fit is None:
            break
        fits.append(fit)
        widest = fit.control.steps
        if fit.control.width < known.published:
            break
    used = [fit for fit in fits if fit.time >= USED * limit]
    if used:
        return min(used, key=lambda fit: abs(math.log(fit.control.width / known.published)))
    return max(fits, key=lambda fit: fit.time, default=None)


def _widest(family: str, depth: float, most: int, limit: float, clock: Clock) -> Fit | None:
    """The widest of a depth that fits: doubled while it does, then halved in between."""
    fit, steps, above = None, 1, most + 1
    while steps < above:
        control = Control(family, depth, steps)
        time = clock(control)
        for _ in range(READINGS - 1):
            if time > SLACK * limit:
                time = min(time, clock(control))
        if time <= SLACK * limit:
            fit = Fit(control, time)
        else:
            above = steps
        if fit is None:
            return None
        below = fit.control.steps
        steps = (below + above) // 2 if above <= most else min(2 * below, most)
        if steps == below:
            break
    return fit
