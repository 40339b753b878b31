"""Descent on a cost that needs no training: one that is looked up or measured.

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


class Remembered:
    """A black box of one-hot op weights that remembers the mean of what it said of each architecture."""

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
        """Every architecture that was asked for, from the cheapest up."""
        return iter(sorted(self.means, key=self.means.__getitem__))


@dataclass(frozen=True)
class InTime:
    """What a descent under a deadline found."""

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
    """Minimise E[cost] subject to P(latency <= deadline) >= 1 - allowed, by dual ascent; then keep the deadline.

    A distribution over slots that know nothing of one another may settle in a corner that is not the best. What it
    drew on the way was paid for, so the cheapest of that are compared, at the end, with the most probable.

    Args:
        cost, latency_ms: black boxes of one-hot weights (N, S, K) -> (N,).
        control: differentiable stand-in for the cost; the cost itself by default.
        latency_control: differentiable stand-in for the milliseconds, such as a LatencyTable; the black box itself by
            default. It may be wrong: that costs variance.
        width_ms: of the rise of the smooth deadline, a twentieth of it by default.
        entropy: how much a nat of doubt is worth at first, in units of the cost; it falls to nothing in a line.
        finalists: of the architectures in time, how many of the most probable, and of the cheapest drawn, have their
            costs compared at the end.

    Raises InputError when none of the most probable 1,000 is in time, and says how long the fastest takes.
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
    """The `n` most probable architectures that meet the deadline, with their milliseconds; fewer where there are fewer.

    Raises InputError when none of the most probable 1,000 does.
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
