"""Is a deadline kept, and at what price? Descent under a deadline, the hinge and a sweep of weights, compared.

All see the same black boxes and draw as many architectures a step. A descent under a deadline is shown twice: with what
it drew on the way, and by its distribution alone, as the hinge and the sweep are. Beside it stands the best of as many
architectures as it asked for, drawn at random.

An exact table has no noise, and its space is small. So searches on shared weights are measured as well: how much of
each deadline they use, during the search and in the end.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labkit import data as image_sets
from labkit import spaces
from labkit.benches import record
from labkit.benches.record import FAST, Saved, TabularBench, Verdicts, option
from labkit.benches.tabular.table import TabularBenchmark
from labkit.data import ImageSet
from labkit.estimators.costs import Deadline, LatencyCost, TabularCost
from labkit.estimators.descent import InTime, descend, descend_in_time
from labkit.estimators.distributions import ArchDistribution
from labkit.estimators.gradient_estimators import Unas
from labkit.latency.table import LatencyTable
from labkit.networks.supernet import Supernet
from labkit.oneshot.config import SearchConfig
from labkit.oneshot.searching import sweep
from labkit.pareto import Frontier, supported
from labkit.spaces import Architecture, SearchSpace
from labkit.system.errors import InputError

KIND, SCHEMA = "deadline bench", 1
METHODS = ("deadline", "policy alone", "random", "hinge", "weight sweep")
NEAR = 0.01  # error fraction: as good as the best that is in time
USES = 0.9  # of its deadline a search is to use so much, in expectation from the first quarter of its joint steps on
NEARLY_ALL = 0.95  # of the searches choose so: now and then what is faster is better, or nothing else is in time


@dataclass(frozen=True)
class Row:
    """What a method found for one deadline, over the seeds.

    Attributes:
        method: One of `METHODS`.
        quantile: Of all latencies, where the deadline lies.
        deadline_ms: The deadline.
        found: An architecture a seed; "" where none was in time.
        in_time: Share of the seeds.
        near_best: Share of the seeds in time and within `NEAR` of the best that is.
        worst_gap: Error fraction above that best, at most, of those in time.
        evaluated: Mean number of architectures whose cost a descent under the deadline asked for.
    """

    method: str
    quantile: float
    deadline_ms: float
    found: tuple[str, ...]
    in_time: float
    near_best: float
    worst_gap: float
    evaluated: float | None = None


@dataclass(frozen=True)
class Searched:
    """The result of a search on shared weights for one deadline; all deadlines of a seed are one sweep.

    Attributes:
        found: The chosen architecture.
        ms: Its latency by the table.
        expected: Least and greatest expected latency of the policy after a quarter of the joint steps, as a share of
            the deadline.
        error: Error fraction of the chosen architecture on the shared weights.
        passes: Image passes, its share of the sweep's.
    """

    space: str
    data: str
    seed: int
    deadline_ms: float
    found: str
    ms: float
    expected: tuple[float, float]
    error: float
    passes: float

    @property
    def used(self) -> float:
        """The share of the deadline that what was chosen takes."""
        return self.ms / self.deadline_ms

    @property
    def held(self) -> bool:
        """Whether the policy stayed within a tenth of the deadline."""
        return self.expected[0] >= USES and self.expected[1] <= 2 - USES


@dataclass(frozen=True)
class Summary:
    """What a method found over all deadlines.

    Attributes:
        in_time, near_best: Means of the rows.
        reached: Share of the exact front that it found at least once.
    """

    method: str
    in_time: float
    near_best: float
    reached: float


def quantiles(n: int = 10) -> tuple[float, ...]:
    """Return evenly spaced shares between 0 and 1, without the ends.

    Args:
        n: How many.

    Returns:
        n shares.
    """
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
    """Run every method at every deadline with every seed.

    Args:
        known: The tabular benchmark.
        at: Quantiles of the latencies where the deadlines lie.
        seeds: Searches of each method.
        steps, draws: Of each descent.
        latency: Name of the latencies; by default the course's.
        on_row: Called with each new row.

    Returns:
        A row for each deadline and method.

    Raises:
        InputError: No seed, or a quantile outside (0, 1).
    """
    if seeds < 1 or not all(0 < q < 1 for q in at):
        raise InputError(f"a deadline bench needs a seed, and quantiles between 0 and 1; got {seeds}, {list(at)}")
    boxes = _BlackBoxes(known, latency, steps, draws)
    swept = [list(boxes.sweep(seed)) for seed in range(seeds)]
    rows = []
    for quantile in at:
        deadline = Deadline(boxes.ms.values.quantile(quantile).item())
        under = [boxes.under(deadline, seed) for seed in range(seeds)]
        found: dict[str, Sequence[Architecture | None]] = {
            "deadline": [ended.architecture for ended in under],
            "policy alone": [ended.most_probable for ended in under],
            "random": [boxes.drawn_at_random(ended.evaluated, deadline, seed) for seed, ended in enumerate(under)],
            "hinge": [boxes.hinge(deadline, seed) for seed in range(seeds)],
            "weight sweep": [boxes.best_in_time(architectures, deadline) for architectures in swept],
        }
        for method in METHODS:
            evaluated = sum(ended.evaluated for ended in under) / seeds if method == "deadline" else None
            rows.append(boxes.row(method, quantile, deadline, found[method], evaluated))
            if on_row is not None:
                on_row(rows[-1])
    return tuple(rows)


def search_under(
    space: SearchSpace,
    images: ImageSet,
    table: LatencyTable,
    config: SearchConfig,
    *,
    at: Sequence[float],
) -> tuple[Searched, ...]:
    """Run one sweep over deadlines on shared weights.

    Args:
        space: The space.
        images: The images.
        table: Of the space.
        config: Of the sweep.
        at: Where the deadlines lie, as shares of the way from the fastest to the slowest architecture by the table.

    Returns:
        One row for each deadline.
    """
    fastest, slowest = table.range_ms()
    deadlines = [fastest + share * (slowest - fastest) for share in at]
    found = sweep(Supernet(space, seed=config.seed), images, table, (), config, deadlines_ms=deadlines)
    rows = []
    for deadline_ms, result in zip(deadlines, found):
        joint = [record["expected_ms"] / deadline_ms for record in result.history if record["phase"] == "joint"]
        later = joint[len(joint) // 4 :]
        expected = (round(min(later), 4), round(max(later), 4))
        point = result.point
        rows.append(
            Searched(
                space=space.name,
                data=images.name,
                seed=config.seed,
                deadline_ms=round(deadline_ms, 6),
                found=str(point.architecture),
                ms=round(point.latency_ms, 6),
                expected=expected,
                error=round(point.error, 4),
                passes=round(result.passes),
            )
        )
    return tuple(rows)


class _BlackBoxes:
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
    """Average each method over all deadlines, with the share of the exact front that it reached.

    Args:
        known: The tabular benchmark.
        rows: Rows of `measure`.
        latency: Name of the latencies; by default the course's.

    Returns:
        One summary for each method that has rows.
    """
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
    """Return whether the deadline is kept in 98 % of the searches and costs at most a point in 90 %.

    Args:
        over: The summaries.

    Returns:
        False without a summary of "deadline".
    """
    return any(s.method == "deadline" and s.in_time >= 0.98 and s.near_best >= 0.90 for s in over)


def uses_of(searched: Sequence[Searched]) -> Verdicts:
    """Return the claims about searches on shared weights, two for each space and image set.

    Args:
        searched: The searches.

    Returns:
        Pairs of a claim and whether it holds.
    """
    claims = []
    for space, data in dict.fromkeys((row.space, row.data) for row in searched):
        of = [row for row in searched if (row.space, row.data) == (space, data)]
        used, held = (sum(holds) / len(of) for holds in ([row.used >= USES for row in of], [row.held for row in of]))
        where = f"{space}, {data}: of {len(of)} searches on shared weights"
        claims.append(
            (f"{where} {100 * used:.0f} % choose at {100 * USES:.0f} to 100 % of the deadline", used >= NEARLY_ALL)
        )
        claims.append((f"{where} {100 * held:.0f} % stay within a tenth of it in expectation", held == 1))
    return tuple(claims)


def to_text(rows: Sequence[Row], over: Iterable[Summary]) -> str:
    """Describe each deadline, the means of each method, and the cost of a descent.

    Args:
        rows: Rows of `measure`.
        over: Their summaries.

    Returns:
        Lines of text.
    """
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
class _Saved(Saved[Row]):
    searched: tuple[Searched, ...] = ()


@dataclass(frozen=True)
class DeadlineBench(TabularBench[Row | Searched]):
    """A hard deadline, the hinge and a sweep of weights on the tabular benchmark; searches on shared weights too."""

    kind, schema, row, saved, resumes = KIND, SCHEMA, Row, _Saved, True
    deadlines: int = option(10, "how many, at even quantiles of the latencies")
    seeds: int = option(50, "searches of each method")
    latency: str | None = option(None, "such as torch-b32; the course's default otherwise")
    supernets: int = option(0, "sweeps on shared weights, of each space and image set, over as many deadlines")
    spaces: tuple[str, ...] = option(("five_layer",), "spaces of those")
    sets: tuple[str, ...] = option(("glyphs-hard",), "image sets of those, such as folder:PATH")
    limit: int | None = option(None, "of a folder, at most so many images a class and part")
    table: str = option("onnxruntime-b1", "which latency table of each space, by the end of its shipped name")
    fast: bool = option(False, f"those by {FAST}")

    def __post_init__(self) -> None:
        if self.deadlines < 1 or self.seeds < 0 or self.supernets < 0 or not (self.seeds or self.supernets):
            raise InputError(f"at least one deadline and one seed; got {self.deadlines} and {self.seeds}")

    def request(self) -> dict[str, Any]:
        asked = {"deadlines": self.deadlines, "seeds": self.seeds, "latency": self.latency, "tabular": self.tabular}
        return asked | {"table": self.table, "fast": self.fast, "limit": self.limit}

    def total(self) -> int:
        sweeps = self.supernets * len(self.spaces) * len(self.sets)
        return self.deadlines * (len(METHODS) * bool(self.seeds) + sweeps)

    def run(self, done: Sequence[Row | Searched], on_row: Callable[[Any], None]) -> Sequence[Row | Searched]:
        rows, searched = _apart(done)
        at = quantiles(self.deadlines)
        if self.seeds and len(rows) < self.deadlines * len(METHODS):
            kept = {(row.method, row.quantile) for row in rows}
            new = lambda row: None if (row.method, row.quantile) in kept else on_row(row)
            rows = measure(self.known, at=at, seeds=self.seeds, latency=self.latency, on_row=new)
        found = list(searched)
        for name, data, seed in itertools.product(self.spaces, self.sets, range(self.supernets)):
            images = self._images(data)
            if any((row.space, row.data, row.seed) == (name, images.name, seed) for row in searched):
                continue
            space, table = spaces.by_name(name, len(images.classes)), LatencyTable.load(f"{name}-{self.table}")
            config = SearchConfig.preset(name, fast=self.fast, seed=seed)
            for row in search_under(space, images, table, config, at=at):
                found.append(row)
                on_row(row)
        return (*rows, *found)

    def _images(self, name: str) -> ImageSet:
        limited: dict[str, Any] = {"limit": self.limit} if self.limit is not None and name.startswith("folder:") else {}
        return image_sets.by_name(name, **limited)

    def verdicts(self, rows: Sequence[Row | Searched]) -> Verdicts:
        exact, searched = _apart(rows)
        claim = "the deadline is kept in 98 % of the searches, and 90 % are within a point of the best"
        own = ((claim, passed(summaries(self.known, exact, self.latency))),) if exact else ()
        return (*own, *uses_of(searched))

    def derived(self, rows: Sequence[Row | Searched]) -> dict[str, Any]:
        exact, _ = _apart(rows)
        over = summaries(self.known, exact, self.latency) if exact else ()
        return {
            "latencies": str(self.known.latency(self.latency).card),
            "summary": [asdict(summary) for summary in over],
        }

    def to_json(self, rows: Sequence[Row | Searched]) -> dict[str, Any]:
        exact, searched = _apart(rows)
        more = {"searched": [asdict(row) for row in searched]} if searched else {}
        return more | {"rows": [asdict(row) for row in exact]}

    def line(self, row: Row | Searched) -> str:
        return searched_line(row) if isinstance(row, Searched) else to_text([row], ()).splitlines()[-1]

    def text(self, rows: Sequence[Row | Searched]) -> str:
        exact, searched = _apart(rows)
        lines = [to_text(exact, summaries(self.known, exact, self.latency))] if exact else []
        lines += map(searched_line, searched)
        return "\n".join([*lines, *(f"{'ok  ' if holds else 'FAIL'} {claim}" for claim, holds in uses_of(searched))])


def searched_line(row: Searched) -> str:
    """Describe one search on shared weights.

    Args:
        row: The search.

    Returns:
        One line.
    """
    return (
        f"{row.space}, {row.data}, seed {row.seed}: {row.deadline_ms:.3f} ms, expected "
        f"{100 * row.expected[0]:.0f} to {100 * row.expected[1]:.0f} % of it, chosen {100 * row.used:.0f} %, "
        f"{100 * row.error:.1f} % error on the shared weights"
    )


def _apart(rows: Iterable[Row | Searched]) -> tuple[tuple[Row, ...], tuple[Searched, ...]]:
    rows = tuple(rows)
    exact = tuple(row for row in rows if isinstance(row, Row))
    return exact, tuple(row for row in rows if isinstance(row, Searched))


def load(source: str | Path = "deadlines") -> tuple[Row, ...]:
    """Read the rows of a saved bench on the tabular benchmark.

    Args:
        source: A file, or the name of a shipped result.

    Returns:
        The rows, without the searches on shared weights.
    """
    return _apart(record.load(DeadlineBench, source).rows)[0]
