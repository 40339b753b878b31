"""What a search minimises: the generalisation loss, latency as a cost or under a deadline, and costs that are known
for a whole space.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from labkit.spaces import Architecture, SearchSpace
from labkit.system.errors import InputError


def generalisation_loss(train: Tensor, valid: Tensor, gap_weight: float) -> Tensor:
    """L_gen = L_train + gap_weight |L_valid - L_train| of two batches' mean losses, in nats (UNAS, section 3.2)."""
    return train + gap_weight * (valid - train).abs()


def duplicates(space: SearchSpace, weights: Tensor) -> Tensor:
    """(N,) nodes of a cell whose two inputs and operations are the same, of op weights (N, S, K); 0 in a chain.

    Such a node runs one operation twice over. Linear in every slot, so with probabilities in place of one-hot weights
    it is the mean number: the score function is not needed, and UNAS's penalty has no variance.
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
    """A hard limit on latency: an architecture is late or it is not, and how late does not matter.

    Whether one is late has no gradient, so nothing that differentiates a latency can use it; its *probability* has one,
    which the score function estimates. `nearly_late` is a control variate for that: it lowers the variance and leaves
    the mean alone. Where every draw is late that probability does not say which way leads back; `penalty` adds
    the overtime, which does, and which is 0 within the deadline.
    """

    deadline_ms: float
    allowed: float = 0.05  # share of the draws that may be late before being late costs more

    def __post_init__(self) -> None:
        if not (math.isfinite(self.deadline_ms) and self.deadline_ms > 0):
            raise InputError(f"a deadline is a positive number of milliseconds; got {self.deadline_ms}")
        if not 0 <= self.allowed < 1:
            raise InputError(f"the share of draws that may be late is at least 0 and below 1; got {self.allowed}")

    def late(self, ms: Tensor) -> Tensor:
        """(N,) 1 where a latency is beyond the deadline, else 0; a latency equal to it is in time."""
        return (ms > self.deadline_ms).to(ms)

    def nearly_late(self, ms: Tensor, width_ms: float) -> Tensor:
        """(N,) a smooth stand-in for `late`, with a gradient within about `width_ms` on either side of the deadline."""
        return ((ms - self.deadline_ms) / width_ms).sigmoid()

    def overtime(self, ms: Tensor) -> Tensor:
        """(N,) how much longer than the deadline, as a fraction of it; 0 in time."""
        return (ms / self.deadline_ms - 1).clamp_min(0)

    def penalty(self, ms: Tensor) -> Tensor:
        """(N,) 0 in time, and beyond the deadline 1 plus the overtime."""
        return self.late(ms) + self.overtime(ms)

    def smooth_penalty(self, ms: Tensor, width_ms: float) -> Tensor:
        """(N,) the stand-in for `penalty`: its control variate."""
        return self.nearly_late(ms, width_ms) + self.overtime(ms)


@dataclass
class DualWeight:
    """What being late costs, in error fraction: it rises while too many draws are late, and falls while few are.

    Dual ascent on the constraint P(late) <= allowed, so no weight has to be guessed.
    """

    weight: float = 0.0
    rate: float = 0.02  # error fraction a step, when every draw is late

    def update(self, late: float, allowed: float) -> None:
        """After a step of which the share `late` of the draws was late."""
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
        """The entry of one architecture."""
        return self.values[self.space.index(architecture)].item()

    def best(self) -> Architecture:
        """The architecture that costs least; the first of equals."""
        return self.space[int(self.values.argmin())]

    def regret(self, architecture: Architecture) -> float:
        """How much more `architecture` costs than the best one."""
        return self.of(architecture) - self.values.min().item()
