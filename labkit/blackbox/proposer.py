"""What every proposer of the next architecture shares: the goal, and rows of choices that are drawn or changed.

In shapes: N trials, S slots, J objectives (1 or 2).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from labkit.blackbox.gaussian_process import Array, Rows
from labkit.pareto import frontier_rows

INITIAL = 10  # balanced designs before anything is modelled
BLOCK = 5  # trials between two fits of the model, or two steps of a policy
POLICIES = 8  # compromises between two costs that are looked for at once


@dataclass(frozen=True)
class Goal:
    """What is looked for: the least cost, the front of two inside `worst`, or the least first one within a deadline."""

    worst: tuple[float | None, ...] = ()  # one an objective; None where only the trials can tell
    deadline: float | None = None  # on the second objective

    def box(self, costs: Array) -> Array:
        """(J,) costs from which on nothing counts: where they were not given, the largest of the first designs."""
        given = (*self.worst, None, None)[: costs.shape[1]]
        return np.array([seen if worst is None else worst for worst, seen in zip(given, costs[:INITIAL].max(0))])


class Proposer(Protocol):
    """What names the next architectures from the trials so far, the same ones for the same trials and seed."""

    def propose(self, rows: Rows, costs: Array) -> Rows:
        """One row (S,) a trial, at least one, after the trials `rows` (N, S) with `costs` (N, J)."""
        ...


def scalar(costs: Array, goal: Goal, weighting: Array) -> Array:
    """(N,) one cost of several, each in units of what it spans; what is late counts as the worst there is."""
    box = goal.box(costs)
    spans = np.maximum(box - costs.min(0), 1e-12)
    scaled = np.minimum(costs, box) / spans
    if goal.deadline is None:
        return scaled @ weighting
    return np.where(costs[:, 1] <= goal.deadline, scaled[:, 0], box[0] / spans[0])


def parents(rows: Rows, costs: Array, goal: Goal, most: int) -> Rows:
    """The trials that nothing beats; with a deadline, the `most` best in time, or the least late."""
    if goal.deadline is None:
        return rows[frontier_rows(costs)]
    late = np.maximum(costs[:, 1] - goal.deadline, 0)
    return rows[np.lexsort((costs[:, 0], late))[:most]]


def balanced(mask: NDArray[np.bool_], n: int, rng: np.random.Generator) -> Rows:
    """(n, S) different rows in which the candidates of a slot occur equally often, to one."""
    for _ in range(100):
        columns = [rng.permutation(np.resize(rng.permutation(width), n)) for width in mask.sum(1)]
        rows = np.stack(columns, 1)
        if len(np.unique(rows, axis=0)) == n:
            return rows
    every = np.stack(np.unravel_index(rng.permutation(int(mask.sum(1).prod())), tuple(mask.sum(1))), 1)
    return every[:n]


def uniform(mask: NDArray[np.bool_], n: int, rng: np.random.Generator) -> Rows:
    """(n, S) random rows, some perhaps twice."""
    return np.stack([rng.integers(width, size=n) for width in mask.sum(1)], 1)


def mutations(parents: Rows, mask: NDArray[np.bool_], n: int, rng: np.random.Generator, most: int = 2) -> Rows:
    """(n, S) random parents, one half changed in one slot, the other in two; with `most` 1 all in one."""
    rows, widths = parents[rng.integers(len(parents), size=n)], mask.sum(1)
    free = np.flatnonzero(widths > 1)
    places = free[rng.random((n, len(free))).argsort(1)[:, :most]]  # slots of each, in random order
    for turn, slots in enumerate(places.T):
        at = np.arange(turn, n, turn + 1)  # all rows in the first slot, every other one in the second as well
        widest = widths[slots[at]]
        rows[at, slots[at]] = (rows[at, slots[at]] + rng.integers(1, widest)) % widest
    return rows


def neighbours(row: NDArray[np.int64], mask: NDArray[np.bool_]) -> Rows:
    """(N, S) every row that differs from `row` (S,) in one slot."""
    found = np.repeat(row[None], int((mask.sum(1) - 1).sum()), 0)
    places = [(s, k) for s, width in enumerate(mask.sum(1)) for k in range(width) if k != row[s]]
    for i, (s, k) in enumerate(places):
        found[i, s] = k
    return found


def fresh(rows: Rows, seen: set[bytes]) -> Rows:
    """Those that were not seen, once each, in their order."""
    kept = {row.tobytes(): row for row in rows if row.tobytes() not in seen}
    return np.array(list(kept.values()), dtype=np.int64).reshape(-1, rows.shape[1])


def unseen(draw: Callable[..., Rows], rows: Rows, mask: NDArray[np.bool_], rng: np.random.Generator) -> Rows:
    """(1, S) the first row of `draw(mask, n, rng)` that is not among `rows`; when they run out, any."""
    seen = set(map(bytes, rows))
    for source in (draw, draw, uniform, uniform, uniform):
        if len(found := fresh(source(mask, 32, rng), seen)):
            return found[:1]
    # Three times 32 were all seen: nearly the whole space is, so it can be listed.
    every = np.stack(np.unravel_index(np.arange(int(mask.sum(1).prod())), tuple(mask.sum(1))), 1)
    return fresh(rng.permutation(every), seen)[:1]
