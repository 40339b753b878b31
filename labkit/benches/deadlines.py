"""Is a deadline kept, and at what price? Descent under a deadline, the hinge and a sweep of weights, compared.

All see the same black boxes and draw as many architectures a step. A descent under a deadline is shown twice: with what
it drew on the way, and by its distribution alone, as the hinge and the sweep are. Beside it stands the best of as many
architectures as it asked for, drawn at random.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labkit.benches import record
from labkit.benches.record import TABULAR, Bench, Verdicts, option
from labkit.benches.tabular import table as tables
from labkit.benches.tabular.table import TabularBenchmark
from labkit.estimators.costs import Deadline, LatencyCost, TabularCost
from labkit.estimators.descent import InTime, descend, descend_in_time
from labkit.estimators.distributions import ArchDistribution
from labkit.estimators.gradient_estimators import Unas
from labkit.pareto import Frontier, supported
from labkit.spaces import Architecture
from labkit.system.errors import InputError

KIND, SCHEMA = "deadline bench", 1
METHODS = ("deadline", "policy alone", "random", "hinge", "weight sweep")
NEAR = 0.01  # error fraction: as good as the best that is in time


@dataclass(frozen=True)
class Row:
    """What a method found for one deadline, over the seeds."""

    method: str
    quantile: float  # of all latencies, where the deadline lies
    deadline_ms: float
    found: tuple[str, ...]  # an architecture a seed; "" where none was in time
    in_time: float  # share of the seeds
    near_best: float  # share of the seeds in time and within NEAR of the best that is
    worst_gap: float  # error fraction, among those in time
    evaluated: float | None = None  # architectures whose cost a descent under the deadline asked for, on average


@dataclass(frozen=True)
class Summary:
    """What a method found over all deadlines."""

    method: str
    in_time: float
    near_best: float
    reached: float  # share of the exact front that it found at least once


def quantiles(n: int = 10) -> tuple[float, ...]:
    """`n` shares evenly spaced, none of them 0 or 1."""
    return tuple((2 * i + 1) / (2 * n) for i in range(n))


def measure(
    known: TabularBenchmark,
    *,
    at: Sequence[float] = quantiles(),
    seeds: int = 50,
    steps: int = 200,
    draws: int = 16,
    latency: str | None = None,
    on_row: Callable[[Row], None] | None = None,
) -> tuple[Row, ...]:
    """Every method at every deadline, with every seed."""
    if seeds < 1 or not all(0 < q < 1 for q in at):
        raise InputError(f"a deadline bench needs a seed, and quantiles between 0 and 1; got {seeds}, {list(at)}")
    box = _Box(known, latency, steps, draws)
    swept = [list(box.sweep(seed)) for seed in range(seeds)]
    rows = []
    for quantile in at:
        deadline = Deadline(box.ms.values.quantile(quantile).item())
        under = [box.under(deadline, seed) for seed in range(seeds)]
        found = {
            "deadline": [ended.architecture for ended in under],
            "policy alone": [ended.most_probable for ended in under],
            "random": [box.drawn_at_random(ended.evaluated, deadline, seed) for seed, ended in enumerate(under)],
            "hinge": [box.hinge(deadline, seed) for seed in range(seeds)],
            "weight sweep": [box.best_in_time(architectures, deadline) for architectures in swept],
        }
        for method in METHODS:
            evaluated = sum(ended.evaluated for ended in under) / seeds if method == "deadline" else None
            rows.append(box.row(method, quantile, deadline, found[method], evaluated))
            if on_row is not None:
                on_row(rows[-1])
    return tuple(rows)


class _Box:
    """The black boxes of a tabular benchmark, with the table of parts as the control of latency."""

    def __init__(self, known: TabularBenchmark, latency: str | None, steps: int, draws: int):
        self.known, self.steps, self.draws = known, steps, draws
        self.cost, space = known.as_cost(), known.space
        self.ms, self.parts = (TabularCost(space, known.ms(latency, by)) for by in ("measured", "table"))
        corners = supported(Frontier.of(known.points(latency)))
        slopes = [(a.error - b.error) / (b.latency_ms - a.latency_ms) for a, b in itertools.pairwise(corners)]
        between = [(a * b) ** 0.5 for a, b in itertools.pairwise(slopes)]  # a weight for each corner of the hull
        self.weights = [slopes[0] * 2, *between, 0.0] if slopes else [0.0]
        self.steepest = max(slopes, default=0.0)

    def under(self, deadline: Deadline, seed: int) -> InTime:
        return descend_in_time(
            self.cost,
            self.ms,
            deadline,
            self._dist(),
            steps=self.steps,
            draws=self.draws,
            generator=torch.Generator().manual_seed(seed),
            latency_control=self.parts,
        )

    def drawn_at_random(self, n: int, deadline: Deadline, seed: int) -> Architecture | None:
        """The best in time of `n` different architectures."""
        order = torch.randperm(self.known.space.size, generator=torch.Generator().manual_seed(seed))
        return self.best_in_time([self.known.space[i] for i in order[:n].tolist()], deadline)

    def hinge(self, deadline: Deadline, seed: int) -> Architecture | None:
        """The published objective at the steepest weight that the hull has, which no user would know."""
        found = self._weighted(LatencyCost(self.steepest, deadline.deadline_ms), seed)
        return found if self.ms.of(found) <= deadline.deadline_ms else None

    def sweep(self, seed: int) -> Iterator[Architecture]:
        """A search for each corner of the exact hull, at a weight that makes it the optimum."""
        for weight in self.weights:
            yield self._weighted(LatencyCost(weight), seed)

    def best_in_time(self, architectures: Iterable[Architecture], deadline: Deadline) -> Architecture | None:
        in_time = [a for a in architectures if self.ms.of(a) <= deadline.deadline_ms]
        return min(in_time, key=self.cost.of, default=None)

    def row(
        self,
        method: str,
        quantile: float,
        deadline: Deadline,
        found: Sequence[Architecture | None],
        evaluated: float | None,
    ) -> Row:
        best = self.cost.values[self.ms.values <= deadline.deadline_ms].min().item()
        gaps = [self.cost.of(a) - best for a in found if a is not None and self.ms.of(a) <= deadline.deadline_ms]
        return Row(
            method,
            quantile,
            deadline.deadline_ms,
            tuple("" if a is None else str(a) for a in found),
            len(gaps) / len(found),
            sum(gap <= NEAR for gap in gaps) / len(found),
            max(gaps, default=0.0),
            evaluated,
        )

    def _weighted(self, price: LatencyCost, seed: int) -> Architecture:
        cost: Callable[[Tensor], Tensor] = lambda weights: self.cost(weights) + price(self.ms(weights))
        control: Callable[[Tensor], Tensor] = lambda weights: self.cost(weights) + price(self.parts(weights))
        generator = torch.Generator().manual_seed(seed)
        return descend(
            cost, self._dist(), Unas(), steps=self.steps, draws=self.draws, generator=generator, control=control, lr=0.1
        )

    def _dist(self) -> ArchDistribution:
        return ArchDistribution(self.known.space).double()


def summaries(known: TabularBenchmark, rows: Sequence[Row], latency: str | None = None) -> tuple[Summary, ...]:
    """Each method over all deadlines, and the share of the exact front that it reached."""
    front = {str(point.architecture) for point in known.frontier(latency)}
    mean = lambda values: sum(values) / len(values)
    return tuple(
        Summary(
            method,
            mean([row.in_time for row in of]),
            mean([row.near_best for row in of]),
            len(front & {name for row in of for name in row.found}) / len(front),
        )
        for method in METHODS
        if (of := [row for row in rows if row.method == method])
    )


def passed(over: Iterable[Summary]) -> bool:
    """Whether the deadline is kept in 98 % of the searches and costs at most a point in 90 %."""
    return any(s.method == "deadline" and s.in_time >= 0.98 and s.near_best >= 0.90 for s in over)


def to_text(rows: Sequence[Row], over: Iterable[Summary]) -> str:
    lines = ["share of the seeds in time, and within a point of the best that is, in %"]
    lines.append(f"{'deadline (quantile)':23}" + "".join(f"{method:>14}" for method in METHODS))
    for deadline_ms in dict.fromkeys(row.deadline_ms for row in rows):
        of = {row.method: row for row in rows if row.deadline_ms == deadline_ms}
        cells = [f"{100 * of[m].in_time:.0f}, {100 * of[m].near_best:.0f}" if m in of else "" for m in METHODS]
        where = f"{deadline_ms:.3f} ms ({next(iter(of.values())).quantile:.2f})"
        lines.append(f"{where:23}" + "".join(f"{cell:>14}" for cell in cells))
    for s in over:
        lines.append(
            f"{s.method}: in time {100 * s.in_time:.1f} %, within a point of the best {100 * s.near_best:.1f} %, "
            f"{100 * s.reached:.0f} % of the exact front found"
        )
    evaluated = [row.evaluated for row in rows if row.evaluated is not None]
    if evaluated:
        lines.append(f"a descent under a deadline asked for the cost of {sum(evaluated) / len(evaluated):.0f} of them")
    return "\n".join(lines)


@dataclass(frozen=True)
class DeadlineBench(Bench[Row]):
    """A hard deadline, the hinge and a sweep of weights on the tabular benchmark."""

    kind, schema, row = KIND, SCHEMA, Row
    deadlines: int = option(10, "how many, at even quantiles of the latencies")
    seeds: int = option(50, "searches of each method")
    latency: str | None = option(None, "such as torch-b32; the course's default otherwise")
    tabular: str = option("five_layer", TABULAR)

    def __post_init__(self) -> None:
        if self.deadlines < 1 or self.seeds < 1:
            raise InputError(f"at least one deadline and one seed; got {self.deadlines} and {self.seeds}")

    @cached_property
    def known(self) -> TabularBenchmark:
        """The tabular benchmark."""
        return tables.load(self.tabular)

    def total(self) -> int:
        return self.deadlines * len(METHODS)

    def run(self, done: Sequence[Row], on_row: Callable[[Row], None]) -> Sequence[Row]:
        at = quantiles(self.deadlines)
        return measure(self.known, at=at, seeds=self.seeds, latency=self.latency, on_row=on_row)

    def verdicts(self, rows: Sequence[Row]) -> Verdicts:
        claim = "the deadline is kept in 98 % of the searches, and 90 % are within a point of the best"
        return ((claim, passed(summaries(self.known, rows, self.latency))),)

    def derived(self, rows: Sequence[Row]) -> dict[str, Any]:
        over = summaries(self.known, rows, self.latency)
        return {
            "latencies": str(self.known.latency(self.latency).card),
            "summary": [asdict(summary) for summary in over],
        }

    def text(self, rows: Sequence[Row]) -> str:
        return to_text(rows, summaries(self.known, rows, self.latency))


def load(source: str | Path = "deadlines") -> tuple[Row, ...]:
    """The rows of a bench that was saved: a file, or the name of a shipped one."""
    return record.load(DeadlineBench, source).rows
