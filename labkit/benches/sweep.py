"""What does sharing cost, and does a latency weight steer the choice?

One sweep of latency weights is compared with a search for each of them, and a sweep that minimises error with one that
minimises cross-entropy; all are evaluated by the tabular benchmark.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from statistics import mean
from typing import Any

from labkit import data
from labkit.benches import record
from labkit.benches.comparison import steering
from labkit.benches.record import FAST, TabularBench, option
from labkit.benches.tabular import timing
from labkit.benches.tabular.table import TabularBenchmark
from labkit.data import ImageSet
from labkit.latency.table import LatencyTable
from labkit.networks.supernet import Supernet
from labkit.oneshot.config import SearchConfig
from labkit.oneshot.searching import SearchResult, search, sweep
from labkit.pareto import Frontier
from labkit.system.errors import InputError

ONE, BY_ERROR, EACH = WAYS = ("one sweep", "one sweep, by error", "a search each")
KIND, SCHEMA = "sweep bench", 2
# Error fraction per ms: from one end of the front to the other.
LATENCY_WEIGHTS = (0.0, 0.3, 0.8, 1.5, 2.5, 7.0, 14.0, 50.0)


@dataclass(frozen=True)
class Row:
    """The choices of one way to search with one seed.

    Attributes:
        way: One of `WAYS`.
        seed: Of the search.
        latency_weights: Error fraction per millisecond.
        architectures: What was chosen, one for each weight.
        passes: Image passes of all of it.
        seconds: Of all of it.
    """

    way: str
    seed: int
    latency_weights: tuple[float, ...]
    architectures: tuple[str, ...]
    passes: float
    seconds: float

    def share(self, known: TabularBenchmark, latency: str | None = None) -> float:
        """Return the share of the exact front's hypervolume that the choices reach.

        Args:
            known: Errors and latencies.
            latency: Name of the latencies; by default the course's.

        Returns:
            A number from 0 to 1.
        """
        points = known.points(latency)
        worst = max(p.error for p in points), max(p.latency_ms for p in points)
        found = [points[known.space.index(known.space.architecture(ops))] for ops in self.architectures]
        return Frontier.of(found).hypervolume(worst) / Frontier.of(points).hypervolume(worst)


def measure(
    known: TabularBenchmark,
    data: ImageSet,
    table: LatencyTable,
    config: SearchConfig,
    *,
    latency_weights: Sequence[float] = LATENCY_WEIGHTS,
    seeds: int = 5,
    done: Iterable[Row] = (),
    on_row: Callable[[list[Row]], None] | None = None,
) -> list[Row]:
    """Search every way with every seed.

    Args:
        known: The tabular benchmark.
        data: The images that it was made of.
        table: Latency table of the searches.
        config: Of every search.
        latency_weights: Error fraction per millisecond.
        seeds: Runs of each way.
        done: Rows of an earlier run, which are kept.
        on_row: Called with all rows so far after each new one.

    Returns:
        All rows.

    Raises:
        InputError: No seed or no weight, or other images.
    """
    if seeds < 1 or not latency_weights:
        raise InputError(f"a sweep bench needs a seed and a latency weight; got {seeds} and {len(latency_weights)}")
    if data.digest != known.recipe["data"]["digest"]:
        raise InputError(f"the tabular benchmark was made on {known.recipe['data']['name']}: hand over the same images")
    rows = list(done)
    finished = {(row.way, row.seed) for row in rows}
    for seed, way in itertools.product(range(seeds), WAYS):
        if (way, seed) in finished:
            continue
        found = _found(way, Supernet(known.space, seed=seed), data, table, latency_weights, replace(config, seed=seed))
        passes, seconds = sum(result.passes for result in found), sum(result.seconds for result in found)
        ops = tuple(str(result.architecture) for result in found)
        rows.append(Row(way, seed, tuple(latency_weights), ops, passes, round(seconds, 1)))
        if on_row is not None:
            on_row(rows)
    return rows


def _found(way, supernet, data, table, latency_weights, config) -> Sequence[SearchResult]:
    if way in (ONE, BY_ERROR):
        task_cost = "error" if way == BY_ERROR else config.task_cost
        return sweep(supernet, data, table, latency_weights, replace(config, task_cost=task_cost))
    return [search(supernet, data, table, replace(config, latency_weight=weight)) for weight in latency_weights]


def to_text(known: TabularBenchmark, rows: Sequence[Row], latency: str | None = None) -> str:
    """Describe the rows, the ratio of one sweep to a search for each weight, and how choices follow the weight.

    Args:
        known: The tabular benchmark.
        rows: Rows of the bench.
        latency: Name of the latencies; by default the course's.

    Returns:
        Lines of text.
    """
    lines = [f"{'way':20} seed  {'of the front':>12}  {'image passes':>12}  seconds"]
    for row in rows:
        share = row.share(known, latency)
        lines.append(f"{row.way:20} {row.seed:4}  {share:12.1%}  {row.passes:12,.0f}  {row.seconds:7.0f}")
    one, each = ({row.seed: row for row in rows if row.way == way} for way in (ONE, EACH))
    both = sorted(set(one) & set(each))
    if both:
        ratios = [one[s].share(known, latency) / each[s].share(known, latency) for s in both]
        cost = mean(one[s].passes * len(each[s].architectures) / each[s].passes for s in both)
        lines.append(
            f"over {len(both)} seeds one sweep reaches {mean(ratios):.1%} of what a search each reaches "
            f"({min(ratios):.1%} to {max(ratios):.1%}), for the cost of {cost:.2f} searches"
        )
    for way in WAYS:
        chosen = [(row.latency_weights, row.architectures) for row in rows if row.way == way]
        if chosen and (followed := steering(known, chosen, latency)) is not None:
            lines.append(f"{way}: {followed}")
    return "\n".join(lines)


@dataclass(frozen=True)
class SweepBench(TabularBench[Row]):
    """One sweep of latency weights and a search for each, compared on the tabular benchmark."""

    kind, schema, row, resumes = KIND, SCHEMA, Row, True
    latency_weights: tuple[float, ...] = option(LATENCY_WEIGHTS, "error fraction per millisecond")
    seeds: int = option(5, "runs of each way")
    fast: bool = option(False, FAST)
    latency: str | None = option(None, "such as torch-b32; the course's default otherwise")

    @cached_property
    def images(self) -> ImageSet:
        """The images that the tabular benchmark was made of."""
        return data.by_name(self.known.recipe["data"]["name"])

    @property
    def config(self) -> SearchConfig:
        """The recipe of every search."""
        make = SearchConfig.fast if self.fast else SearchConfig
        return make(latency_weight=0.0)  # each search has one of those asked for

    @property
    def latencies(self) -> str:
        """The full name of the latencies."""
        return self.known.latency(self.latency).name

    def request(self) -> dict[str, Any]:
        asked = {"config": asdict(self.config), "latency_weights": self.latency_weights}
        return asked | {"latency": self.latencies, "data": self.images.digest}

    def run(self, done: Sequence[Row], on_row: Callable[[Row], None]) -> Sequence[Row]:
        table = timing.table_of(self.known.space, self.known.latency(self.latencies))
        return measure(
            self.known,
            self.images,
            table,
            self.config,
            latency_weights=self.latency_weights,
            seeds=self.seeds,
            done=done,
            on_row=lambda rows: on_row(rows[-1]),
        )

    def line(self, row: Row) -> str:
        return to_text(self.known, [row], self.latencies).splitlines()[1]

    def text(self, rows: Sequence[Row]) -> str:
        return to_text(self.known, rows, self.latencies)


load = record.loader(SweepBench, "sweep")
"""Read the rows of a saved bench: a file, or the name of a shipped result."""
