"""Points, and the ones that no other point beats. Every objective is a cost: smaller is better."""

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

JUDGED = {  # what an error is of, in words
    "supernet": "with the shared weights",
    "short training": "after a short training of its own",
    "trained": "trained from scratch",
}


@dataclass(frozen=True)
class Point:
    """One architecture's two costs, and how each was obtained."""

    architecture: Architecture
    error: float  # fraction of images misclassified
    latency_ms: float
    error_from: str = "supernet"  # or another key of JUDGED
    latency_from: str = "table"  # or "measured"

    def to_json(self) -> dict[str, Any]:
        return {
            "architecture": self.architecture.to_json(),
            "error": self.error,
            "latency_ms": self.latency_ms,
            "error_from": self.error_from,
            "latency_from": self.latency_from,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Point:
        return cls(**{**value, "architecture": Architecture.from_json(value["architecture"])})


def non_dominated(costs: Tensor) -> Tensor:
    """(N,) bool: the rows of `costs` (N, 2) that no other row matches everywhere and beats somewhere.

    Equal rows keep each other. A row with a NaN is refused: it would compare false with everything and stay.
    """
    import torch

    return torch.from_numpy(_undominated(costs.numpy()))


def _undominated(costs: NDArray[np.float64]) -> NDArray[np.bool_]:
    if np.isnan(costs).any():
        raise InputError("costs hold NaN: leave failed evaluations out before asking for a frontier")
    return (costs[:, None] == costs[front(costs)]).all(-1).any(1)


def front(costs: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices of the rows that no other beats, in rising order of the first cost; of equals the first."""
    if costs.shape[1] == 1:
        return np.array([costs[:, 0].argmin()])
    order = np.lexsort((costs[:, 1], costs[:, 0]))
    second = costs[order, 1]
    return order[np.append(True, second[1:] < np.minimum.accumulate(second)[:-1])]


def corners(costs: NDArray[np.float64]) -> list[int]:
    """Indices of the rows of `costs` (N, 2) with the least second cost + weight x first for some weight >= 0.

    In rising order of the first cost, of equals the first. They are the corners of the lower-left convex hull: a row of
    the front inside a dent of it is chosen by no weight, however finely it is turned.
    """
    rows = costs.tolist()
    slope = lambda fast, slow: (rows[fast][1] - rows[slow][1]) / (rows[slow][0] - rows[fast][0])
    hull: list[int] = []
    for i in front(costs).tolist():
        while len(hull) > 1 and slope(hull[-2], hull[-1]) <= slope(hull[-1], i):
            hull.pop()
        hull.append(i)
    return hull


def hypervolume(costs: NDArray[np.float64], worst: tuple[float, float]) -> float:
    """Area that the rows of `costs` (N, 2) dominate below `worst`, in the product of the two units."""
    inside = costs[(costs < worst).all(1)]
    if not len(inside):
        return 0.0
    inside = inside[front(inside)]
    return float(((np.append(inside[1:, 0], worst[0]) - inside[:, 0]) * (worst[1] - inside[:, 1])).sum())


@dataclass(frozen=True)
class Frontier:
    """Evaluated points; iterate over it for the non-dominated ones, fastest first."""

    points: tuple[Point, ...]

    @classmethod
    def of(cls, points: Iterable[Point]) -> Frontier:
        """The frontier of `points`.

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
        """The most accurate point within `max_ms`; the faster one of equals."""
        within = [p for p in self.points if p.latency_ms <= max_ms]
        if not within:
            fastest = min(p.latency_ms for p in self.points)
            raise InputError(f"no point is within {max_ms} ms; the fastest takes {fastest:.3f} ms")
        return min(within, key=lambda p: (p.error, p.latency_ms))

    def knee(self) -> Point:
        """The frontier point farthest below the line between the frontier's ends, both axes scaled to 0..1.

        With fewer than three frontier points it is the one with the least sum of the two scaled costs.
        """
        front = list(self)
        first, last = front[0], front[-1]
        ms, error = last.latency_ms - first.latency_ms, first.error - last.error
        if ms == 0 or error == 0:
            return first
        return min(front, key=lambda p: (p.latency_ms - first.latency_ms) / ms + (p.error - last.error) / error)

    def hypervolume(self, worst: tuple[float, float]) -> float:
        """Area dominated by the points below `worst` = (error, ms), in error fraction times milliseconds."""
        return hypervolume(np.array([[p.error, p.latency_ms] for p in self]), worst)  # a NaN is refused there


def supported(front: Frontier) -> tuple[Point, ...]:
    """The frontier points that some latency weight >= 0 chooses, fastest first: its `corners`.

    A target or a deadline may choose the others.
    """
    points = tuple(front)
    return tuple(points[i] for i in corners(np.array([[p.latency_ms, p.error] for p in points])))
