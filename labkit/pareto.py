"""Points with two costs, and their Pareto frontier. Every objective is a cost: smaller is better.

In shapes, N is a number of points.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from labkit.spaces import Architecture
from labkit.system.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

ERROR_SOURCES = {  # how an error was obtained, in words
    "supernet": "with the shared weights",
    "short training": "after a short training of its own",
    "trained": "trained from scratch",
}


@dataclass(frozen=True)
class Point:
    """The two costs of one architecture, and how each was obtained.

    Attributes:
        architecture: the architecture.
        error: fraction of images misclassified.
        latency_ms: latency in milliseconds.
        error_from: a key of `ERROR_SOURCES`.
        latency_from: "table" or "measured".
    """

    architecture: Architecture
    error: float
    latency_ms: float
    error_from: str = "supernet"
    latency_from: str = "table"

    def to_json(self) -> dict[str, Any]:
        """Return the point as JSON values."""
        return {
            "architecture": self.architecture.to_json(),
            "error": self.error,
            "latency_ms": self.latency_ms,
            "error_from": self.error_from,
            "latency_from": self.latency_from,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Point:
        """Read a point that `to_json` wrote.

        Args:
            value: JSON values.

        Returns:
            The point.

        Raises:
            InputError: its architecture is damaged.
            TypeError: a key is missing or unknown.
        """
        return cls(**{**value, "architecture": Architecture.from_json(value["architecture"])})


def non_dominated(costs: Tensor) -> Tensor:
    """Find the rows that no other row dominates. Equal rows do not dominate each other.

    Args:
        costs: (N, 2) on the CPU.

    Returns:
        (N,) bool, true where no other row is at most as large everywhere and smaller somewhere.

    Raises:
        InputError: a cost is NaN, which compares with nothing.
    """
    import torch

    return torch.from_numpy(_undominated(costs.numpy()))


def _undominated(costs: NDArray[np.float64]) -> NDArray[np.bool_]:
    if np.isnan(costs).any():
        raise InputError("costs hold NaN: leave failed evaluations out before asking for a frontier")
    return (costs[:, None] == costs[frontier_rows(costs)]).all(-1).any(1)


def frontier_rows(costs: NDArray[np.float64]) -> NDArray[np.int64]:
    """Find the rows that no other row dominates, one of each group of equal rows.

    Args:
        costs: (N, 1) or (N, 2), without NaN.

    Returns:
        Their indices in rising order of the first cost; of equal rows the first.
    """
    if costs.shape[1] == 1:
        return np.array([costs[:, 0].argmin()])
    order = np.lexsort((costs[:, 1], costs[:, 0]))
    second = costs[order, 1]
    return order[np.append(True, second[1:] < np.minimum.accumulate(second)[:-1])]


def supported_rows(costs: NDArray[np.float64]) -> list[int]:
    """Find the rows that minimise second cost + weight x first cost for some weight >= 0.

    They are the corners of the lower-left convex hull. No weight chooses a row of the frontier inside a dent of it.

    Args:
        costs: (N, 2), without NaN.

    Returns:
        Their indices in rising order of the first cost; of equal rows the first.
    """
    rows = costs.tolist()
    slope = lambda fast, slow: (rows[fast][1] - rows[slow][1]) / (rows[slow][0] - rows[fast][0])
    hull: list[int] = []
    for i in frontier_rows(costs).tolist():
        while len(hull) > 1 and slope(hull[-2], hull[-1]) <= slope(hull[-1], i):
            hull.pop()
        hull.append(i)
    return hull


def hypervolume(costs: NDArray[np.float64], reference: tuple[float, float]) -> float:
    """Compute the area that rows dominate below a reference point.

    Args:
        costs: (N, 2), without NaN.
        reference: the reference point; rows that are not below it in both costs count nothing.

    Returns:
        The area, in the product of the two units.
    """
    inside = costs[(costs < reference).all(1)]
    if not len(inside):
        return 0.0
    inside = inside[frontier_rows(inside)]
    return float(((np.append(inside[1:, 0], reference[0]) - inside[:, 0]) * (reference[1] - inside[:, 1])).sum())


@dataclass(frozen=True)
class Frontier:
    """Evaluated points. Iterate over it for the non-dominated ones, fastest first.

    Attributes:
        points: all points, dominated ones included.
    """

    points: tuple[Point, ...]

    @classmethod
    def of(cls, points: Iterable[Point]) -> Frontier:
        """Make a frontier from points that can be compared.

        Args:
            points: at least one.

        Returns:
            The frontier.

        Raises:
            InputError: there are none, or their errors or latencies were obtained in different ways.
        """
        points = tuple(points)
        if not points:
            raise InputError("a frontier needs at least one point")
        kinds = {(p.error_from, p.latency_from) for p in points}
        if len(kinds) > 1:
            raise InputError(f"points obtained in different ways do not compare: {sorted(kinds)}")
        return cls(points)

    def __iter__(self) -> Iterator[Point]:
        costs = np.array([[p.error, p.latency_ms] for p in self.points], dtype=np.float64)
        kept = [p for p, keep in zip(self.points, _undominated(costs)) if keep]
        return iter(sorted(kept, key=lambda p: (p.latency_ms, p.error)))

    def best(self, max_ms: float) -> Point:
        """Return the most accurate point within a deadline, of equally accurate ones the fastest.

        Args:
            max_ms: the deadline in milliseconds.

        Returns:
            The point.

        Raises:
            InputError: no point is within it. The message gives the latency of the fastest.
        """
        within = [p for p in self.points if p.latency_ms <= max_ms]
        if not within:
            fastest = min(p.latency_ms for p in self.points)
            raise InputError(f"no point is within {max_ms} ms; the fastest takes {fastest:.3f} ms")
        return min(within, key=lambda p: (p.error, p.latency_ms))

    def knee(self) -> Point:
        """Return the frontier point farthest below the line between the frontier's ends, both costs scaled to 0..1.

        With fewer than three frontier points it is the one with the least sum of the two scaled costs.
        """
        points = list(self)
        first, last = points[0], points[-1]
        ms, error = last.latency_ms - first.latency_ms, first.error - last.error
        if ms == 0 or error == 0:
            return first
        return min(points, key=lambda p: (p.latency_ms - first.latency_ms) / ms + (p.error - last.error) / error)

    def hypervolume(self, reference: tuple[float, float]) -> float:
        """Compute the area that the points dominate below a reference point.

        Args:
            reference: error fraction and milliseconds.

        Returns:
            The area, in error fraction times milliseconds.

        Raises:
            InputError: an error or a latency is NaN.
        """
        return hypervolume(np.array([[p.error, p.latency_ms] for p in self]), reference)  # iterating refuses a NaN


def supported(frontier: Frontier) -> tuple[Point, ...]:
    """Find the frontier points that some latency weight >= 0 chooses. A deadline may choose the others, too.

    Args:
        frontier: the frontier.

    Returns:
        The points, fastest first.
    """
    points = tuple(frontier)
    return tuple(points[i] for i in supported_rows(np.array([[p.latency_ms, p.error] for p in points])))
