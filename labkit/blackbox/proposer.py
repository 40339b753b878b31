"""What all proposers share: the goal of a search, and rows of choices that are drawn or changed.

Shapes: N trials, S slots, J objectives (1 or 2).
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
    """What a search minimises: one cost, the front of two, or the first cost under a deadline on the second.

    Attributes:
        worst: Reference point of the front, a cost an objective; None where the trials decide.
        deadline: Limit of the second cost, in its unit.
    """

    worst: tuple[float | None, ...] = ()
    deadline: float | None = None

    def reference(self, costs: Array) -> Array:
        """Return the reference point: from these costs on, an architecture counts as worthless.

        Args:
            costs: (N, J) costs of the trials.

        Returns:
            (J,) `worst`; where it is None, the largest cost of the first `INITIAL` trials.
        """
        given = (*self.worst, None, None)[: costs.shape[1]]
        return np.array([seen if worst is None else worst for worst, seen in zip(given, costs[:INITIAL].max(0))])


class Proposer(Protocol):
    """Proposes architectures from the trials so far, deterministically for the same trials and seed."""

    def propose(self, rows: Rows, costs: Array) -> Rows:
        """Propose the next trials.

        Args:
            rows: (N, S) trials as indices of candidates.
            costs: (N, J) their costs.

        Returns:
            (M, S) at least one row; they are evaluated in this order.
        """
        ...


def scalar(costs: Array, goal: Goal, weighting: Array) -> Array:
    """Combine several costs into one, each divided by the range that it spans.

    Args:
        costs: (N, J) costs.
        goal: Under its deadline only the first cost counts, and a late trial costs as much as the worst.
        weighting: (J,) weights that sum to 1.

    Returns:
        (N,) costs.
    """
    reference = goal.reference(costs)
    spans = np.maximum(reference - costs.min(0), 1e-12)
    scaled = np.minimum(costs, reference) / spans
    if goal.deadline is None:
        return scaled @ weighting
    return np.where(costs[:, 1] <= goal.deadline, scaled[:, 0], reference[0] / spans[0])


def parents(rows: Rows, costs: Array, goal: Goal, most: int) -> Rows:
    """Return the trials to mutate: the front, or under a deadline the best in time.

    Args:
        rows: (N, S) trials.
        costs: (N, J) their costs.
        goal: The goal of the search.
        most: How many under a deadline; where none is in time, those that exceed it least.

    Returns:
        (M, S) rows.
    """
    if goal.deadline is None:
        return rows[frontier_rows(costs)]
    late = np.maximum(costs[:, 1] - goal.deadline, 0)
    return rows[np.lexsort((costs[:, 0], late))[:most]]


def balanced(mask: NDArray[np.bool_], n: int, rng: np.random.Generator) -> Rows:
    """Draw different rows in which the candidates of a slot occur equally often, up to one.

    Args:
        mask: (S, K) which candidates exist.
        n: Rows; all rows of the space where it has no more.
        rng: Source of randomness.

    Returns:
        (n, S) rows.
    """
    for _ in range(100):
        columns = [rng.permutation(np.resize(rng.permutation(width), n)) for width in mask.sum(1)]
        rows = np.stack(columns, 1)
        if len(np.unique(rows, axis=0)) == n:
            return rows
    every = np.stack(np.unravel_index(rng.permutation(int(mask.sum(1).prod())), tuple(mask.sum(1))), 1)
    return every[:n]


def uniform(mask: NDArray[np.bool_], n: int, rng: np.random.Generator) -> Rows:
    """Draw rows uniformly, with repetition.

    Args:
        mask: (S, K) which candidates exist.
        n: Rows.
        rng: Source of randomness.

    Returns:
        (n, S) rows.
    """
    return np.stack([rng.integers(width, size=n) for width in mask.sum(1)], 1)


def mutations(parents: Rows, mask: NDArray[np.bool_], n: int, rng: np.random.Generator, most: int = 2) -> Rows:
    """Mutate random parents: every row in one slot, every other row in a second slot as well.

    Args:
        parents: (P, S) rows.
        mask: (S, K) which candidates exist.
        n: Rows to return.
        rng: Source of randomness.
        most: Slots to change at most, 1 or 2.

    Returns:
        (n, S) rows.
    """
    rows, widths = parents[rng.integers(len(parents), size=n)], mask.sum(1)
    free = np.flatnonzero(widths > 1)
    places = free[rng.random((n, len(free))).argsort(1)[:, :most]]  # slots of each, in random order
    for turn, slots in enumerate(places.T):
        at = np.arange(turn, n, turn + 1)  # all rows in the first slot, every other one in the second as well
        widest = widths[slots[at]]
        rows[at, slots[at]] = (rows[at, slots[at]] + rng.integers(1, widest)) % widest
    return rows


def neighbours(row: NDArray[np.int64], mask: NDArray[np.bool_]) -> Rows:
    """Return every row that differs from one row in exactly one slot.

    Args:
        row: (S,) the row.
        mask: (S, K) which candidates exist.

    Returns:
        (N, S) rows.
    """
    found = np.repeat(row[None], int((mask.sum(1) - 1).sum()), 0)
    places = [(s, k) for s, width in enumerate(mask.sum(1)) for k in range(width) if k != row[s]]
    for i, (s, k) in enumerate(places):
        found[i, s] = k
    return found


def fresh(rows: Rows, seen: set[bytes]) -> Rows:
    """Remove rows that were seen, and repetitions; the order is kept.

    Args:
        rows: (N, S) rows.
        seen: Rows as bytes.

    Returns:
        (M, S) rows, M at most N.
    """
    kept = {row.tobytes(): row for row in rows if row.tobytes() not in seen}
    return np.array(list(kept.values()), dtype=np.int64).reshape(-1, rows.shape[1])


def unseen(draw: Callable[..., Rows], rows: Rows, mask: NDArray[np.bool_], rng: np.random.Generator) -> Rows:
    """Draw one row that is not among the trials.

    Args:
        draw: (mask, n, rng) -> (n, S) rows; it is asked first, then `uniform`.
        rows: (N, S) trials.
        mask: (S, K) which candidates exist.
        rng: Source of randomness.

    Returns:
        (1, S) row; (0, S) where the trials are the whole space.
    """
    seen = set(map(bytes, rows))
    for source in (draw, draw, uniform, uniform, uniform):
        if len(found := fresh(source(mask, 32, rng), seen)):
            return found[:1]
    # Three times 32 were all seen: nearly the whole space is, so it can be listed.
    every = np.stack(np.unravel_index(np.arange(int(mask.sum(1).prod())), tuple(mask.sum(1))), 1)
    return fresh(rng.permutation(every), seen)[:1]
