"""Descent on a cost that needs no training: a table or a measurement.

In shapes: N architectures, S slots, K candidates.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from labkit.estimators.costs import Deadline, DualWeight
from labkit.estimators.distributions import ArchDistribution
from labkit.estimators.gradient_estimators import Cost, Estimator, Unas
from labkit.spaces import Architecture, SearchSpace
from labkit.system.errors import InputError

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
    """Minimise an expected cost with Adam on the logits.

    Args:
        cost: op weights (N, S, K) -> (N,) costs.
        dist: moved in place.
        estimator: of the gradient.
        steps: number of steps.
        draws: samples per step.
        generator: random numbers of the samples.
        control: differentiable stand-in for `cost`; the cost itself by default.
        lr: learning rate of Adam.

    Returns:
        The most probable architecture at the end.
    """
    optimizer = torch.optim.Adam(dist.parameters(), lr)
    for _ in range(steps):
        dist.logits.grad = estimator(cost, dist, draws, generator, control).gradient
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return dist.mode()


class Penalty:
    """The penalty of a deadline as a cost of op weights; it keeps the share of late samples of each call."""

    def __init__(self, latency_ms: Cost, deadline: Deadline):
        self.latency_ms, self.deadline = latency_ms, deadline
        self.shares: list[float] = []

    def __call__(self, weights: Tensor) -> Tensor:
        ms = self.latency_ms(weights)
        self.shares.append(self.deadline.late(ms).mean().item())
        return self.deadline.penalty(ms)


class Remembered:
    """A black box of one-hot op weights that keeps the mean of its values for each architecture."""

    def __init__(self, cost: Cost, space: SearchSpace):
        self.cost, self.space = cost, space
        self.means: dict[Architecture, float] = {}
        self.counts: Counter[Architecture] = Counter()

    def __call__(self, weights: Tensor) -> Tensor:
        costs = self.cost(weights)
        for one_hot, value in zip(weights, costs.tolist()):
            architecture = self.space.decode(one_hot)
            self.counts[architecture] += 1
            mean = self.means.get(architecture, 0.0)
            self.means[architecture] = mean + (value - mean) / self.counts[architecture]
        return costs

    def cheapest(self) -> Iterator[Architecture]:
        """All architectures that were evaluated, sorted by cost.

        Returns:
            An iterator from the cheapest up.
        """
        return iter(sorted(self.means, key=self.means.__getitem__))


@dataclass(frozen=True)
class InTime:
    """The result of a descent under a deadline."""

    architecture: Architecture
    latency_ms: float  # by the black box that the deadline was checked with
    cost: float
    weight: float  # of being late, where the dual ascent ended, in units of the cost
    late: float  # share of late draws over the last tenth of the steps
    evaluated: int  # architectures whose cost was asked for
    most_probable: Architecture  # the cheapest in time of the most probable alone: the distribution's own answer


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
    """Minimise E[cost] subject to P(latency <= deadline) >= 1 - allowed, by dual ascent; the result meets the deadline.

    A distribution with independent slots may converge to a local optimum. Its samples on the way are paid for, so at
    the end the cheapest of them are compared with the most probable architectures.

    Args:
        cost: black box of one-hot weights (N, S, K) -> (N,).
        latency_ms: black box of one-hot weights (N, S, K) -> (N,) milliseconds.
        deadline: the limit.
        dist: moved in place.
        steps: number of steps.
        draws: samples per step.
        generator: random numbers of the samples.
        estimator: makes an estimator; called once for the cost and once for the penalty.
        control: differentiable stand-in for the cost; the cost itself by default.
        latency_control: differentiable stand-in for the milliseconds, such as a LatencyTable; the black box itself by
            default. An error in it costs variance, not bias.
        width_ms: width of the rise of the smooth deadline; a twentieth of the deadline by default.
        entropy: weight of the entropy at first, in units of the cost per nat; it falls linearly to 0.
        lr: learning rate of Adam.
        dual: the dual variable to start with.
        finalists: how many of the most probable, and of the cheapest sampled, architectures in time are compared at the
            end.

    Returns:
        The best architecture in time, and how the descent went.

    Raises:
        InputError: none of the 1,000 most probable architectures is in time, or the estimator never evaluates the
            penalty.
    """
    ms = latency_control or latency_ms
    width = deadline.deadline_ms / 20 if width_ms is None else width_ms
    smooth = lambda weights: deadline.smooth_penalty(ms(weights), width)
    drawn, timed = Remembered(cost, dist.space), Remembered(latency_ms, dist.space)
    penalty = Penalty(timed, deadline)
    of_cost, of_late, dual = estimator(), estimator(), dual or DualWeight()
    optimizer = torch.optim.Adam(dist.parameters(), lr)
    for step in range(steps):
        task = of_cost(drawn, dist, draws, generator, control or cost)
        limit = of_late(penalty, dist, draws, generator, smooth)
        if not penalty.shares:
            raise InputError("this estimator never evaluates the black box, so it cannot keep a deadline: take Unas")
        (doubt,) = torch.autograd.grad(dist.entropy(), dist.logits)
        dist.logits.grad = task.gradient + dual.weight * limit.gradient - entropy * (1 - step / steps) * doubt
        optimizer.step()
        dual.update(penalty.shares[-1], deadline.allowed)
    optimizer.zero_grad(set_to_none=True)
    latest = penalty.shares[-max(1, steps // 10) :]
    probable = dict(most_probable_in_time(dist, latency_ms, deadline, finalists))
    hopeful = (a for a in drawn.cheapest() if timed.means.get(a, 0.0) <= deadline.deadline_ms)  # not seen late before
    in_time = probable | _in_time(hopeful, dist, latency_ms, deadline, finalists)[0]
    costs = dict(zip(in_time, drawn(_encoded(dist, list(in_time))).tolist()))
    found = min(in_time, key=costs.__getitem__)
    late = sum(latest) / len(latest) if latest else 0.0
    most_probable = min(probable, key=costs.__getitem__)
    return InTime(found, in_time[found], costs[found], dual.weight, late, len(drawn.means), most_probable)


@torch.no_grad()
def most_probable_in_time(
    dist: ArchDistribution, latency_ms: Cost, deadline: Deadline, n: int = 1
) -> list[tuple[Architecture, float]]:
    """The most probable architectures that meet a deadline.

    Args:
        dist: the policy.
        latency_ms: one-hot weights (N, S, K) -> (N,) milliseconds.
        deadline: the limit.
        n: how many.

    Returns:
        At most `n` architectures with their milliseconds, the most probable first.

    Raises:
        InputError: none of the 1,000 most probable meets the deadline.
    """
    found, fastest = _in_time(dist.by_probability(), dist, latency_ms, deadline, n)
    if not found:
        raise InputError(
            f"no architecture is known that takes at most {deadline.deadline_ms:g} ms: the fastest of the most "
            f"probable {min(LOOK, dist.space.size):,} takes {fastest:.3g} ms; set a later deadline"
        )
    return list(found.items())


@torch.no_grad()
def _in_time(
    architectures: Iterator[Architecture], dist: ArchDistribution, latency_ms: Cost, deadline: Deadline, n: int
) -> tuple[dict[Architecture, float], float]:
    """The first `n` of the first 1,000 that meet the deadline with their milliseconds, and the fastest seen."""
    found, fastest = {}, float("inf")
    for architecture in itertools.islice(architectures, LOOK):
        ms = latency_ms(_encoded(dist, [architecture])).item()
        fastest = min(fastest, ms)
        if ms <= deadline.deadline_ms:
            found[architecture] = ms
            if len(found) == n:
                break
    return found, fastest


def _encoded(dist: ArchDistribution, architectures: list[Architecture]) -> Tensor:
    return torch.stack([dist.space.encode(architecture) for architecture in architectures]).to(dist.logits)
