"""Is a tabular benchmark good enough to evaluate by? Agreement of seeds, ties, and what a latency weight can reach."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labkit.benches.tabular.table import TabularBenchmark, Timed
from labkit.pareto import Frontier, supported
from labkit.stats import Agreement, agreement


@dataclass(frozen=True)
class Threshold:
    """One requirement of a tabular benchmark.

    Attributes:
        name: What is measured.
        value: Its value; NaN fails.
        threshold: The limit.
        at_least: Whether the value must be at least the threshold, else at most.
        unit: Such as " points".
    """

    name: str
    value: float
    threshold: float
    at_least: bool
    unit: str = ""

    @property
    def passed(self) -> bool:
        """Whether the value is on the right side of the threshold."""
        return bool(self.value >= self.threshold if self.at_least else self.value <= self.threshold)

    def __str__(self) -> str:
        sign = "at least" if self.at_least else "at most"
        mark = "ok  " if self.passed else "FAIL"
        return f"{mark} {self.name}: {self.value:.3g}{self.unit} ({sign} {self.threshold:g}{self.unit})"


@dataclass(frozen=True)
class Ranked:
    """An architecture with the uncertainty of its rank.

    Attributes:
        architecture: As it prints.
        error: Mean test error over the seeds.
        half_width: Of the 95 % interval of that mean.
        tied_with_best: Whether the lead of the best one is within the 95 % interval of their difference.
    """

    architecture: str
    error: float
    half_width: float
    tied_with_best: bool


@dataclass(frozen=True)
class FrontReport:
    """The exact Pareto front for one set of latencies, and how much of it each kind of request can reach.

    Attributes:
        latency: Name of the latencies.
        card: Their card as text.
        size: Points of the front.
        by_weight: Points that some latency weight reaches: the corners of the lower convex hull.
        by_hinge: By some latency target, at the steepest weight that any corner of the hull needs.
        by_deadline: By some deadline.
        pooling_first: Whether pooling < 3x3 < 5x5 holds in every slot, in the mean over all architectures.
    """

    latency: str
    card: str
    size: int
    by_weight: int
    by_hinge: int
    by_deadline: int
    pooling_first: bool


def top_quarter(tabular: TabularBenchmark) -> Tensor:
    """Return the best quarter by mean test error.

    Args:
        tabular: The benchmark.

    Returns:
        Indices, best first.
    """
    return tabular.error.argsort()[: math.ceil(tabular.space.size / 4)]


def quartiles(tabular: TabularBenchmark) -> list[float]:
    """Return the accuracy of the worst, the three quartiles and the best architecture.

    Args:
        tabular: The benchmark.

    Returns:
        Five fractions.
    """
    return (1 - tabular.error).quantile(torch.linspace(0, 1, 5, dtype=torch.float64)).tolist()


def thresholds(tabular: TabularBenchmark) -> tuple[Threshold, ...]:
    """Return what a benchmark must reach before anything is evaluated by it.

    Args:
        tabular: The benchmark.

    Returns:
        Five requirements; accuracies in points, hundredths of the images.
    """
    top, error = top_quarter(tabular), tabular.error
    pairs = list(itertools.combinations(range(tabular.seeds), 2))
    between = lambda rows: [_tau(tabular.test_error[rows, a], tabular.test_error[rows, b]).tau for a, b in pairs]
    everywhere, at_the_top = between(slice(None)), between(top)
    spread = 100 * tabular.test_error.std(1).median().item() if tabular.seeds > 1 else math.nan
    return (
        Threshold(
            "rank agreement of two seeds (Kendall tau, lowest pair)", min(everywhere, default=math.nan), 0.85, True
        ),
        Threshold("the same inside the top quarter", min(at_the_top, default=math.nan), 0.5, True),
        Threshold("standard deviation over seeds, median architecture", spread, 0.7, False, " points"),
        Threshold("range of accuracy", 100 * (error.max() - error.min()).item(), 50, True, " points"),
        Threshold("range inside the top quarter", 100 * (error[top[-1]] - error[top[0]]).item(), 4, True, " points"),
    )


def repeat_threshold(tabular: TabularBenchmark, rows: Sequence[dict[str, Any]]) -> Threshold:
    """Compare networks that were trained again with the record; the threshold is twice the noise of a seed.

    On the machine and versions that made the benchmark they agree to the bit; elsewhere rounding leads to another
    result that a seed could have had.

    Args:
        tabular: The benchmark.
        rows: Rows of `build.retrain`.

    Returns:
        The root mean square difference, in points.
    """
    apart = [100 * (row["test_accuracy"] - row["recorded_test_accuracy"]) for row in rows]
    places = [tabular.space.index(tabular.space.architecture(row["ops"])) for row in rows]
    noise = 100 * tabular.test_error[places].var(1).mean().sqrt().item()
    difference = float(np.sqrt(np.mean(np.square(apart))))
    return Threshold("trained again, root mean square difference", difference, max(2 * noise, 0.5), False, " points")


def ranked(tabular: TabularBenchmark) -> tuple[Ranked, ...]:
    """Rank all architectures with their ties. The noise of a seed is pooled over the top quarter.

    Args:
        tabular: The benchmark.

    Returns:
        Best first.
    """
    noise = tabular.test_error[top_quarter(tabular)].var(1).mean().sqrt().item() if tabular.seeds > 1 else math.nan
    of_mean = noise / tabular.seeds**0.5
    best = tabular.error.min().item()
    names = list(map(str, tabular.space))
    return tuple(
        Ranked(names[i], error, 1.96 * of_mean, error - best < 1.96 * 2**0.5 * of_mean)
        for i in tabular.error.argsort().tolist()
        for error in (tabular.error[i].item(),)
    )


def fronts(tabular: TabularBenchmark) -> tuple[FrontReport, ...]:
    """Describe the exact front for each set of latencies.

    Args:
        tabular: The benchmark.

    Returns:
        One report for each.
    """
    return tuple(_front(tabular, timed) for timed in tabular.latencies)


def _front(tabular: TabularBenchmark, timed: Timed) -> FrontReport:
    front = list(tabular.frontier(timed.name))
    corners = supported(Frontier.of(front))
    steepest = max(
        ((a.error - b.error) / (b.latency_ms - a.latency_ms) for a, b in itertools.pairwise(corners)), default=0.0
    )
    error, ms = tabular.error.numpy(), timed.measured_ms.numpy()
    places = {(p.error, p.latency_ms) for p in front}
    reached = lambda cost: _reached(places, error, ms, cost)
    targets = [p.latency_ms for p in front]
    return FrontReport(
        latency=timed.name,
        card=str(timed.card),
        size=len(front),
        by_weight=len(corners),
        by_hinge=len(set().union(*(reached(error + steepest * np.maximum(ms - t, 0)) for t in targets))),
        by_deadline=len(set().union(*(reached(np.where(ms <= t, error, 1.0)) for t in targets))),
        pooling_first=bool(_in_order(tabular, timed)),
    )


def _reached(places: set[tuple[float, float]], error, ms, cost) -> set[tuple[float, float]]:
    """The frontier points among the cheapest under `cost`; of equals the fastest."""
    cheapest = min(range(len(cost)), key=lambda i: (cost[i], ms[i]))
    return places & {(float(error[cheapest]), float(ms[cheapest]))}


def _in_order(tabular: TabularBenchmark, timed: Timed) -> bool:
    """Whether the mean latency rises from each slot's last candidate to its first, as five_layer lists them."""
    ms = timed.measured_ms.reshape([len(slot) for slot in tabular.space.slots])
    for s in range(ms.ndim):
        means = ms.movedim(s, 0).flatten(1).mean(1)
        if not (means[1:] < means[:-1]).all():
            return False
    return True


def to_json(tabular: TabularBenchmark) -> dict[str, Any]:
    """Return the whole report as JSON has it.

    Args:
        tabular: The benchmark.

    Returns:
        Thresholds, ranking, fronts, and "passed".
    """
    every, order, cards = thresholds(tabular), ranked(tabular), fronts(tabular)
    return {
        "schema": 1,
        "passed": all(one.passed for one in every),
        "space": tabular.space.name,
        "architectures": tabular.space.size,
        "seeds": tabular.seeds,
        "data": tabular.recipe["data"],
        "accuracy_quartiles": [round(q, 4) for q in quartiles(tabular)],
        "thresholds": [{**asdict(one), "passed": one.passed} for one in every],
        "ranking": [asdict(row) for row in order],
        "fronts": [asdict(front) for front in cards],
        "core_hours": round(tabular.seconds.sum().item() / 3600, 2),
    }


def to_text(tabular: TabularBenchmark) -> str:
    """Describe the quality of the benchmark, its best architectures and its fronts.

    Args:
        tabular: The benchmark.

    Returns:
        Lines of text.
    """
    order, cards = ranked(tabular), fronts(tabular)
    tied = [row for row in order if row.tied_with_best]
    lines = [
        f"{tabular.space.name}: {tabular.space.size} architectures x {tabular.seeds} seeds, "
        f"{tabular.seconds.sum().item() / 3600:.1f} core hours, made {tabular.made['date']}",
        "accuracy, quartiles (%): " + " / ".join(f"{100 * q:.1f}" for q in quartiles(tabular)),
        *map(str, thresholds(tabular)),
        f"best: {order[0].architecture}, error {100 * order[0].error:.2f} +- {100 * order[0].half_width:.2f} %; "
        f"{len(tied) - 1} others are tied with it: {', '.join(row.architecture for row in tied[1:4])}"
        + (" ..." if len(tied) > 4 else ""),
    ]
    for front in cards:
        lines.append(
            f"{front.latency}: front of {front.size}; reached by a weight {front.by_weight}, by a hinge at the "
            f"steepest of those weights {front.by_hinge}, by a deadline {front.by_deadline}; pooling < 3x3 < 5x5 "
            f"{'in every layer' if front.pooling_first else 'NOT in every layer'} ({front.card})"
        )
    return "\n".join(lines)


def _tau(a: Tensor, b: Tensor) -> Agreement:
    return agreement(a.tolist(), b.tolist())
