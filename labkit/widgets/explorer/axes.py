"""Axes of both pictures: the browser's and the static one."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labkit.widgets.explorer.choosing import rounded
from labkit.widgets.explorer.scenes import Scene

Scale = Callable[[float], float]  # value -> position


@dataclass(frozen=True)
class Axis:
    """The span and the ticks that show some values with a little room.

    Attributes:
        span: least and largest value.
        ticks: (text, value) of each tick.
    """

    span: tuple[float, float]
    ticks: tuple[tuple[str, float], ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> "Axis":
        """Make the axis of some values, with ticks at round numbers.

        Args:
            values: none of them negative.

        Returns:
            The axis.
        """
        low, high = float(min(values)), float(max(values))
        room = 0.05 * (high - low) or 0.05 * high or 1.0
        low, high = max(0.0, low - room), high + room
        power = 10.0 ** math.floor(math.log10((high - low) / 6))
        step = next(m * power for m in (1, 2, 5, 10) if m * power * 6 >= high - low)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        ticks = (k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1))
        return cls((low, high), tuple((f"{tick:.{decimals}f}", rounded(tick, 9)) for tick in ticks))

    def between(self, start: float, end: float) -> Scale:
        """Make the scale that lays the span from one position to another.

        Args:
            start: position of the least value.
            end: position of the largest value.

        Returns:
            A function value -> position.
        """
        low, high = self.span
        return lambda value: start + (value - low) / (high - low) * (end - start)


def axes_of(scene: Scene) -> dict[str, Axis]:
    """Make the axes of a scene.

    Args:
        scene: the architectures.

    Returns:
        "ms" -> axis of latency in ms, "error" -> axis of error in percent.
    """
    return {
        "ms": Axis.of([point.ms for point in scene.points]),
        "error": Axis.of([100 * point.error for point in scene.points]),
    }
