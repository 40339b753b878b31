"""A hard limit on latency: the expected latency of the policy is held at the limit at every step.

A penalty for late samples would have to grow during the search, and it drives a policy that is still broad far below
the limit before the policy has learned anything: with 5 % late samples allowed, such a policy uses half of the time.
Therefore there is no penalty. After every step the policy moves to the nearest one that has the wanted expected latency
(`estimators.tilting`), and the state of the optimiser contains no latency.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from labkit.estimators.costs import Deadline
from labkit.estimators.distributions import ArchDistribution
from labkit.estimators.gradient_estimators import Cost
from labkit.estimators.tilting import most_undecided, ms_gradient, tilt
from labkit.latency.distribution import LatencyDistribution, LatencyModel
from labkit.latency.table import LatencyTable
from labkit.oneshot.additive import AdditiveControl
from labkit.system.errors import InputError

USED = 0.95  # share of a limit that the expected latency does not fall below, so that the time allowed is used
APPROACH = 0.25  # share of the steps over which the expected latency moves in a line to where it is held
SURE = 3.0  # standard errors by which the cost is to rise with time before less time may be taken


@dataclass
class Mean:
    """A running mean with its standard error (Welford 1962)."""

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0  # of the differences from the mean, summed

    def add(self, value: float) -> None:
        """Add one number.

        Args:
            value: the number.
        """
        self.n += 1
        off = value - self.mean
        self.mean += off / self.n
        self.squares += off * (value - self.mean)

    @property
    def errors(self) -> float:
        """The mean in units of its standard error; 0 with fewer than two numbers."""
        spread = math.sqrt(self.squares / (self.n - 1) / self.n) if self.n > 1 else 0.0
        return self.mean / spread if spread > 0 else 0.0


def expected_ms(limit_ms: float, spread: LatencyDistribution, allowed: float) -> float:
    """The expected latency that a policy is held at under a limit.

    A narrow policy is held where the share `allowed` of its samples is late. For a broad policy that would be far below
    the limit, so the expected latency is at least the share `USED` of the limit: the width of a new policy says nothing
    about where the best architectures are. Near the fastest architecture there is less room, and half of it is used.

    Args:
        limit_ms: the limit.
        spread: distribution of the latency of the policy.
        allowed: share of the samples that may be late.

    Returns:
        Milliseconds.
    """
    fastest, slowest = spread.model.range_ms()
    least = max(USED * limit_ms, 0.5 * (fastest + limit_ms))
    in_time = limit_ms - (spread.quantile(1 - allowed) - spread.mean)
    return max(min(max(in_time, least), limit_ms), fastest + 0.01 * (slowest - fastest))


def least_entropy(done: float) -> float:
    """The smallest entropy that a policy may have, as a share of the largest possible one.

    It falls late, because the first steps prefer what learns fastest on weights that know little.

    Args:
        done: share of the steps that are done.

    Returns:
        A share from 1 down to 0.
    """
    return 1.0 - min(1.0, done) ** 2


class Limit:
    """Holds one policy at a limit.

    The policy uses the time that the limit allows, because more time usually means fewer errors. Only where the
    gradients show, by `SURE` standard errors of their mean, that the cost rises with time, or where time has a price,
    may the policy be faster.
    """

    def __init__(self, dist: ArchDistribution, deadline: Deadline, *, may_be_faster: bool = False):
        """Start without knowledge of the cost.

        Args:
            dist: the policy; moved in place.
            deadline: the limit.
            may_be_faster: True where milliseconds have a price.
        """
        self.dist, self.deadline = dist, deadline
        self.may_be_faster = may_be_faster
        self.begun_ms: float | None = None  # expected when it began
        self.rise = Mean()  # of the cost with the latency, over what was drawn: their covariance under the policy
        self.beyond = AdditiveControl(dist.space, decay=0.99)  # what a stopwatch says beyond the table
        self.asked = 0  # times that it was

    def model(self, table: LatencyTable) -> LatencyModel:
        """The latency as known so far: the table, corrected by the measurements.

        Args:
            table: latency of the operations.

        Returns:
            A model that is linear in each slot.
        """
        if not self.asked:
            return LatencyModel(table)
        return LatencyModel(table, self.beyond.values().double(), self.beyond.mean)

    def ask(self, table: LatencyTable, measured_ms: Cost, generator: torch.Generator) -> None:
        """Measure one sample of the policy and learn from the difference to the table.

        Args:
            table: latency of the operations.
            measured_ms: black-box latency (N,) of one-hot weights (N, S, K).
            generator: random numbers of the sample.

        Raises:
            InputError: the measurement is not a finite number.
        """
        with torch.no_grad():
            drawn = self.dist.sample(1, 1.0, generator).hard
            ms, by_table = measured_ms(drawn).item(), table(drawn).item()
        if not math.isfinite(ms):
            raise InputError(f"measured_ms of {self.dist.space.decode(drawn[0])} is {ms}: it is to be a finite number")
        self.beyond.learn(drawn[0].argmax(-1).tolist(), ms - by_table)
        self.asked += 1

    def note(self, gradient: Tensor, table: LatencyTable) -> None:
        """Learn from a gradient of the cost, before the step: its product with the milliseconds is their covariance.

        Args:
            gradient: (S, K) gradient of the cost with respect to the logits.
            table: latency of the operations.
        """
        self.rise.add((gradient * ms_gradient(self.dist, self.model(table)).to(gradient)).sum().item())

    def hold(self, table: LatencyTable, done: float) -> float:
        """Move the policy, after a step, to the expected latency at which it is held.

        Args:
            table: latency of the operations.
            done: share of the steps that are done.

        Returns:
            The share of its samples that is late, by the latency as known so far.
        """
        model, limit_ms = self.model(table), self.deadline.deadline_ms
        spread = LatencyDistribution(model, self.dist.probs())
        self.begun_ms = spread.mean if self.begun_ms is None else self.begun_ms
        if limit_ms < model.range_ms()[1]:
            approach = min(1.0, done / APPROACH)
            wanted = expected_ms(limit_ms, spread, self.deadline.allowed)
            wanted = approach * wanted + (1 - approach) * self.begun_ms
            if approach == 1 and self.rise.errors > SURE:
                self.may_be_faster = True
            least = least_entropy(done) * most_undecided(self.dist, model, wanted)
            tilt(self.dist, model, wanted, at_most=self.may_be_faster, least_entropy=least)
            spread = LatencyDistribution(model, self.dist.probs())
        return spread.late(limit_ms)

    # --- what the next step depends on ------------------------------------------------------------------

    def memory(self) -> dict[str, Any]:
        """The state as JSON; the tensors of `beyond` are saved separately.

        Returns:
            What `recall` takes.
        """
        return {
            "may_be_faster": self.may_be_faster,
            "begun_ms": self.begun_ms,
            "rise": asdict(self.rise),
            "asked": self.asked,
        }

    def recall(self, memory: dict[str, Any]) -> None:
        """Restore the state of another limit.

        Args:
            memory: what `memory` returned.
        """
        self.may_be_faster, self.begun_ms, self.asked = (memory[k] for k in ("may_be_faster", "begun_ms", "asked"))
        self.rise = Mean(**memory["rise"])
