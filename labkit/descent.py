"""Descent on a cost that needs no training: one that is looked up or measured.

In shapes: N architectures, S slots, K candidates.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from labkit.distributions import ArchDistribution
from labkit.errors import InputError
from labkit.estimators import Cost, Estimator, Unas
from labkit.objectives import Deadline, DualWeight
from labkit.spaces import Architecture

LOOK = 1_000  # most probable architectures among which one in time is looked for


def descend(
    cost: Cost,
    dist: ArchDistribution,
    estimator: Estimator,
    *,
    steps: int,
    draws: int,
    generator: torch.Generator,
    control: Cost | None = None,
    lr: float = 0.05,
) -> Architecture:
    """Move `dist` in place against the estimated gradient of a cost; its mode at the end.

    Adam on the logits, `draws` architectures a step.
    """
    optimizer = torch.optim.Adam(dist.parameters(), lr)
    for _ in range(steps):
        dist.logits.grad = estimator(cost, dist, draws, generator, control).gradient
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return dist.mode()


class Penalty:
    """A deadline's penalty as a cost of op weights, which notes what share of each call's draws was late."""

    def __init__(self, latency_ms: Cost, deadline: Deadline):
        self.latency_ms, self.deadline = latency_ms, deadline
        self.shares: list[float] = []

    def __call__(self, weights: Tensor) -> Tensor:
        ms = self.latency_ms(weights)
        self.shares.append(self.deadline.late(ms).mean().item())
        return self.deadline.penalty(ms)


@dataclass(frozen=True)
class InTime:
    """What a descent under a deadline found."""

    architecture: Architecture
    latency_ms: float  # by the black box that the deadline was held against
    cost: float
    weight: float  # of being late, where the dual ascent ended, in units of the cost
    late: float  # share of late draws over the last tenth of the steps


def descend_in_time(
    cost: Cost,
    latency_ms: Cost,
    deadline: Deadline,
    dist: ArchDistribution,
    *,
    steps: int,
    draws: int,
    generator: torch.Generator,
    estimator: Callable[[], Estimator] = Unas,
    control: Cost | None = None,
    latency_control: Cost | None = None,
    width_ms: float | None = None,
    entropy: float = 0.02,
    lr: float = 0.1,
    dual: DualWeight | None = None,
    finalists: int = 8,
) -> InTime:
    """Minimise E[cost] subject to P(latency <= deadline) >= 1 - allowed, by dual ascent; then keep the deadline.

    Args:
        cost, latency_ms: black boxes of one-hot weights (N, S, K) -> (N,).
        control: differentiable stand-in for the cost; the cost itself by default.
        latency_control: differentiable stand-in for the milliseconds, such as a LatencyTable; the black box itself by
            default. It may be wrong: that costs variance.
        width_ms: of the slope of the smooth deadline, a twentieth of it by default.
        entropy: how much a nat of doubt is worth at first, in units of the cost; it falls to nothing in a line.
        finalists: most probable architectures in time whose cost is compared at the end.

    Raises InputError when none of the most probable 1,000 is in time, and says how long the fastest takes.
    """
    ms = latency_control or latency_ms
    width = deadline.deadline_ms / 20 if width_ms is None else width_ms
    smooth = lambda weights: deadline.smooth_penalty(ms(weights), width)
    penalty = Penalty(latency_ms, deadline)
    of_cost, of_late, dual = estimator(), estimator(), dual or DualWeight()
    optimizer = torch.optim.Adam(dist.parameters(), lr)
    for step in range(steps):
        task = of_cost(cost, dist, draws, generator, control)
        limit = of_late(penalty, dist, draws, generator, smooth)
        if not penalty.shares:
            raise InputError("this estimator never evaluates the black box, so it cannot keep a deadline: take Unas")
        (doubt,) = torch.autograd.grad(dist.entropy(), dist.logits)
        dist.logits.grad = task.gradient + dual.weight * limit.gradient - entropy * (1 - step / steps) * doubt
        optimizer.step()
        dual.update(penalty.shares[-1], deadline.allowed)
    optimizer.zero_grad(set_to_none=True)
    latest = penalty.shares[-max(1, steps // 10) :]
    chosen = most_probable_in_time(dist, latency_ms, deadline, finalists)
    costs = cost(_encoded(dist, [architecture for architecture, _ in chosen]))
    (architecture, found_ms), lowest = chosen[int(costs.argmin())], costs.min().item()
    return InTime(architecture, found_ms, lowest, dual.weight, sum(latest) / len(latest) if latest else 0.0)


@torch.no_grad()
def most_probable_in_time(
    dist: ArchDistribution, latency_ms: Cost, deadline: Deadline, n: int = 1
) -> list[tuple[Architecture, float]]:
    """The `n` most probable architectures that meet the deadline, with their milliseconds; fewer where there are fewer.

    Raises InputError when none of the most probable 1,000 does.
    """
    found, fastest = [], float("inf")
    for architecture in itertools.islice(dist.by_probability(), LOOK):
        ms = latency_ms(_encoded(dist, [architecture])).item()
        fastest = min(fastest, ms)
        if ms <= deadline.deadline_ms:
            found.append((architecture, ms))
            if len(found) == n:
                break
    if not found:
        raise InputError(
            f"no architecture is known that takes at most {deadline.deadline_ms:g} ms: the fastest of the most "
            f"probable {min(LOOK, dist.space.size):,} takes {fastest:.3g} ms; set a later deadline"
        )
    return found


def _encoded(dist: ArchDistribution, architectures: list[Architecture]) -> Tensor:
    return torch.stack([dist.space.encode(architecture) for architecture in architectures]).to(dist.logits)
