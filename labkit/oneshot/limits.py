"""A limit on latency, held by the policy itself: what it takes in expectation is the limit at every step.

A price for being late would have to be found on the way, and a policy that is still broad would be driven far below the
limit by it before it had learnt anything: with a twentieth of its draws late it takes half of the time it may. So there
is no price. After every step the policy is moved to the nearest one whose expected latency is what is wanted
(`estimators.tilting`), and the optimiser's memory knows nothing of latency.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from labkit.estimators.costs import Deadline
from labkit.estimators.distributions import ArchDistribution
from labkit.estimators.gradient_estimators import Cost
from labkit.estimators.tilting import most_undecided, slopes, tilt
from labkit.latency.distribution import LatencyDistribution, LatencyModel
from labkit.latency.table import LatencyTable
from labkit.oneshot.additive import AdditiveControl
from labkit.system.errors import InputError

USED = 0.95  # share of a limit that the expected latency does not fall below, so that the time allowed is used
APPROACH = 0.25  # share of the steps over which the expected latency moves in a line to where it is held
SURE = 3.0  # standard errors by which the cost is to rise with time before less time may be taken


@dataclass
class Mean:
    """A mean of numbers that come one by one, and how sure it is (Welford 1962)."""

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0  # of the differences from the mean, summed

    def add(self, value: float) -> None:
        self.n += 1
        off = value - self.mean
        self.mean += off / self.n
        self.squares += off * (value - self.mean)

    @property
    def errors(self) -> float:
        """How many of its standard errors it lies above 0; 0 of fewer than two numbers."""
        spread = math.sqrt(self.squares / (self.n - 1) / self.n) if self.n > 1 else 0.0
        return self.mean / spread if spread > 0 else 0.0


def expected_ms(limit_ms: float, spread: LatencyDistribution, allowed: float) -> float:
    """What a policy is to take in expectation under a limit: as much as leaves it in time.

    A narrow one is held where the share `allowed` of its draws is late. One that is still broad would have to be far
    below the limit for that, so no less is asked than `USED` of the limit: how broad a policy is when it starts says
    nothing about where the best networks in time are. Near the fastest there is less room, and half of it is kept.
    """
    fastest, slowest = spread.model.range_ms()
    least = max(USED * limit_ms, 0.5 * (fastest + limit_ms))
    in_time = limit_ms - (spread.quantile(1 - allowed) - spread.mean)
    return max(min(max(in_time, least), limit_ms), fastest + 0.01 * (slowest - fastest))


def least_entropy(done: float) -> float:
    """How undecided a policy stays when the share `done` of its steps is: a share of the most there can be.

    It falls late. What the first steps prefer is what learns fastest on weights that know little.
    """
    return 1.0 - min(1.0, done) ** 2


class Limit:
    """What holds one policy to a limit.

    The time that is allowed is used, as more of it is worth more; unless the gradients have said, by `SURE` standard
    errors of their mean, that the cost rises with time. From then on, or with a price on time, it may be faster.
    """

    def __init__(self, dist: ArchDistribution, deadline: Deadline, *, may_be_faster: bool = False):
        self.dist, self.deadline = dist, deadline
        self.may_be_faster = may_be_faster
        self.begun_ms: float | None = None  # expected when it began
        self.rise = Mean()  # of the cost with the latency, over what was drawn: their covariance under the policy
        self.beyond = AdditiveControl(dist.space, decay=0.99)  # what a stopwatch says beyond the table
        self.asked = 0  # times that it was

    def model(self, table: LatencyTable) -> LatencyModel:
        """Milliseconds as they are known so far: the table's, and what a stopwatch said beyond it."""
        if not self.asked:
            return LatencyModel(table)
        return LatencyModel(table, self.beyond.values().double(), self.beyond.mean)

    def ask(self, table: LatencyTable, measured_ms: Cost, generator: torch.Generator) -> None:
        """Draw an architecture, have it measured, and learn from that."""
        with torch.no_grad():
            drawn = self.dist.sample(1, 1.0, generator).hard
            ms, by_table = measured_ms(drawn).item(), table(drawn).item()
        if not math.isfinite(ms):
            raise InputError(f"measured_ms of {self.dist.space.decode(drawn[0])} is {ms}: it is to be a finite number")
        self.beyond.learn(drawn[0].argmax(-1).tolist(), ms - by_table)
        self.asked += 1

    def note(self, gradient: Tensor, table: LatencyTable) -> None:
        """Learn from a gradient (S, K) of the cost, before the step: along the milliseconds it is their covariance."""
        self.rise.add((gradient * slopes(self.dist, self.model(table)).to(gradient)).sum().item())

    def hold(self, table: LatencyTable, done: float) -> float:
        """Move the policy, after a step, to where it is held when the share `done` of the steps is.

        Returns:
            The share of its draws that is late, by what is known of the latency.
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
        """What `recall` needs, as JSON; the tensors of `beyond` are saved beside it."""
        return {
            "may_be_faster": self.may_be_faster,
            "begun_ms": self.begun_ms,
            "rise": asdict(self.rise),
            "asked": self.asked,
        }

    def recall(self, memory: dict[str, Any]) -> None:
        """Stand where another one stood."""
        self.may_be_faster, self.begun_ms, self.asked = (memory[k] for k in ("may_be_faster", "begun_ms", "asked"))
        self.rise = Mean(**memory["rise"])
