"""What a search minimises: the generalisation loss, latency as a cost or as a hard limit, and tabulated costs."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from labkit.spaces import Architecture, SearchSpace
from labkit.system.errors import InputError


def generalisation_loss(train: Tensor, valid: Tensor, gap_weight: float) -> Tensor:
    """L_gen = L_train + gap_weight |L_valid - L_train| (UNAS, section 3.2).

    Args:
        train: mean loss on the training batch, in nats.
        valid: mean loss on the validation batch, in nats; same shape.
        gap_weight: weight of the gap.

    Returns:
        The loss in nats, in the same shape.
    """
    return train + gap_weight * (valid - train).abs()


def duplicates(space: SearchSpace, weights: Tensor) -> Tensor:
    """Count the nodes of a cell whose two inputs and operations are the same; such a node runs one operation twice.

    The count is linear in every slot, so on probabilities it is the expected count, and UNAS's penalty has no variance.

    Args:
        space: the search space.
        weights: op weights (N, S, K).

    Returns:
        (N,) numbers of nodes; 0 for a chain.
    """
    total = torch.zeros(len(weights), device=weights.device, dtype=weights.dtype)
    for one, other in space.pairs:
        same_input = (weights[:, one.gate] * weights[:, other.gate]).sum(-1)
        total = total + same_input * (weights[:, one.ops] * weights[:, other.ops]).sum(-1)
    return total


@dataclass(frozen=True)
class LatencyCost:
    """Milliseconds as a cost in error fraction: `weight` a millisecond, all of them or those beyond the target.

    Without a target the cost is linear; with one it is the paper's hinge, which gives nothing for being faster.
    """

    weight: float  # error fraction per millisecond
    target_ms: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise InputError(f"a latency weight is at least 0 (error fraction per millisecond); got {self.weight}")
        if self.target_ms is not None and not (math.isfinite(self.target_ms) and self.target_ms > 0):
            raise InputError(f"a latency target is a positive number of milliseconds; got {self.target_ms}")

    @property
    def linear(self) -> bool:
        """Whether the mean cost is the cost of the mean latency: without a target."""
        return self.target_ms is None

    def __call__(self, ms: Tensor) -> Tensor:
        """Cost (N,) of latencies (N,) in milliseconds."""
        return self.weight * (ms if self.target_ms is None else (ms - self.target_ms).clamp_min(0))


@dataclass(frozen=True)
class Deadline:
    """A hard limit on latency: an architecture is late or it is not, and by how much does not count.

    Being late has no gradient with respect to a latency; the *probability* of being late has one, which the score
    function estimates. `nearly_late` is a control variate for it: it lowers the variance and keeps the mean. Where
    every sample is late, that probability does not show the way back; `penalty` adds the overtime, which does, and
    which is 0 in time.
    """

    deadline_ms: float
    allowed: float = 0.05  # share of the draws that may be late before being late costs more

    def __post_init__(self) -> None:
        if not (math.isfinite(self.deadline_ms) and self.deadline_ms > 0):
            raise InputError(f"a deadline is a positive number of milliseconds; got {self.deadline_ms}")
        if not 0 <= self.allowed < 1:
            raise InputError(f"the share of draws that may be late is at least 0 and below 1; got {self.allowed}")

    def late(self, ms: Tensor) -> Tensor:
        """Which latencies exceed the deadline.

        Args:
            ms: (N,) milliseconds.

        Returns:
            (N,) 1 beyond the deadline, else 0; a latency equal to the deadline is in time.
        """
        return (ms > self.deadline_ms).to(ms)

    def nearly_late(self, ms: Tensor, width_ms: float) -> Tensor:
        """A smooth version of `late`.

        Args:
            ms: (N,) milliseconds.
            width_ms: width of the rise on either side of the deadline.

        Returns:
            (N,) values from 0 to 1.
        """
        return ((ms - self.deadline_ms) / width_ms).sigmoid()

    def overtime(self, ms: Tensor) -> Tensor:
        """The time beyond the deadline, as a fraction of the deadline.

        Args:
            ms: (N,) milliseconds.

        Returns:
            (N,) fractions; 0 in time.
        """
        return (ms / self.deadline_ms - 1).clamp_min(0)

    def penalty(self, ms: Tensor) -> Tensor:
        """The penalty of the deadline: 0 in time; 1 plus the overtime beyond it.

        Args:
            ms: (N,) milliseconds.

        Returns:
            (N,) penalties.
        """
        return self.late(ms) + self.overtime(ms)

    def smooth_penalty(self, ms: Tensor, width_ms: float) -> Tensor:
        """A smooth version of `penalty`: its control variate.

        Args:
            ms: (N,) milliseconds.
            width_ms: width of the rise on either side of the deadline.

        Returns:
            (N,) penalties.
        """
        return self.nearly_late(ms, width_ms) + self.overtime(ms)


@dataclass
class DualWeight:
    """The dual variable of P(late) <= allowed: it rises while too many samples are late, else it falls."""

    weight: float = 0.0
    rate: float = 0.02  # error fraction a step, when every draw is late

    def update(self, late: float, allowed: float) -> None:
        """Update after one step of dual ascent.

        Args:
            late: share of the samples that were late.
            allowed: share that may be late.
        """
        self.weight = max(0.0, self.weight + self.rate * (late - allowed))


@dataclass(frozen=True, eq=False)
class TabularCost:
    """A cost known for every architecture of a small space, as a function of op weights (N, S, K) -> (N,).

    On one-hot weights it is the table's entry. On relaxed weights it is the multilinear extension, the sum over
    architectures of entry times product of op weights: the table's mean if the slots were drawn with those weights.
    So on probabilities it is the exact expected cost.
    """

    space: SearchSpace
    values: Tensor  # (size of the space,) in the order in which the space is iterated

    def __post_init__(self) -> None:
        if self.values.shape != (self.space.size,) or not self.values.isfinite().all():
            raise InputError(
                f"a cost of each architecture of {self.space.name} is {self.space.size} finite numbers; "
                f"got {tuple(self.values.shape)}"
            )

    def __call__(self, weights: Tensor) -> Tensor:
        rest = self.values.to(weights)
        *others, (last, width) = enumerate(map(len, self.space.slots))
        rest = weights[:, last, :width] @ rest.reshape(-1, width).T  # (N, combinations of the slots before)
        for s, width in reversed(others):
            rest = (rest.unflatten(-1, (-1, width)) * weights[:, s, None, :width]).sum(-1)
        return rest[:, 0]

    def of(self, architecture: Architecture) -> float:
        """The cost of one architecture.

        Args:
            architecture: of the space.

        Returns:
            The entry of the table.
        """
        return self.values[self.space.index(architecture)].item()

    def best(self) -> Architecture:
        """The architecture with the smallest cost.

        Returns:
            The first of equals.
        """
        return self.space[int(self.values.argmin())]

    def regret(self, architecture: Architecture) -> float:
        """The cost of an architecture above that of the best.

        Args:
            architecture: of the space.

        Returns:
            The difference; 0 for the best.
        """
        return self.of(architecture) - self.values.min().item()
