"""Is a method of black-box search better than its baselines? Every method on tables whose exact front is known.

The measure is the share of the exact front's hypervolume after so many calls, over many seeds. Planted tables have a
known share of their variance in interactions, so that a model of parts alone cannot find the front.
"""

import functools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labkit.benches import record
from labkit.benches.record import Bench, Saved, Verdicts, option
from labkit.benches.tabular import table as tables
from labkit.benches.tabular.table import TabularBenchmark
from labkit.blackbox.gaussian_process import Array, Rows
from labkit.blackbox.loop import LIBRARY, METHODS, optimize
from labkit.pareto import hypervolume
from labkit.spaces import Architecture, Choices
from labkit.system.errors import InputError
from labkit.system.processes import as_finished, workers_for

OWN = tuple(method for method in METHODS if method not in LIBRARY)
CALLS = (50, 100, 200)
KIND, SCHEMA = "optimize bench", 1


@dataclass(frozen=True, eq=False)
class Table:
    """A black box that is known everywhere.

    Attributes:
        name: Of the table.
        space: A architectures.
        costs: (A, 2) error and milliseconds, in the order in which the space is iterated.
        worst: The reference point.
    """

    name: str
    space: Choices
    costs: Array
    worst: tuple[float, float]

    def __call__(self, architecture: Architecture) -> tuple[float, float]:
        """Return error and milliseconds of an architecture."""
        error, ms = self.costs[self.space.index(architecture)]
        return float(error), float(ms)

    def share(self, costs: Array) -> float:
        """Return the hypervolume of costs over that of the exact front.

        Args:
            costs: (N, 2) error and milliseconds.

        Returns:
            A number from 0 to 1.
        """
        return hypervolume(costs, self.worst) / self.hypervolume

    @functools.cached_property
    def hypervolume(self) -> float:
        """The hypervolume of the exact front."""
        return hypervolume(self.costs, self.worst)


@dataclass(frozen=True)
class Row:
    """The result of a method on a table.

    Attributes:
        calls: Of the black box.
        shares: Of the exact hypervolume, one for each seed.
    """

    table: str
    method: str
    calls: int
    shares: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median share over the seeds."""
        return statistics.median(self.shares)


@dataclass(frozen=True)
class DeadlineRow:
    """The result of a method on a table under the median latency as deadline.

    Attributes:
        calls: Of the black box.
        deadline_ms: The deadline.
        regrets: Error fraction above the best in time, one for each seed; None where nothing in time was found.
    """

    table: str
    method: str
    calls: int
    deadline_ms: float
    regrets: tuple[float | None, ...]

    @property
    def mean(self) -> float:
        """The mean of the regrets; infinite if a seed found nothing in time."""
        known = [regret for regret in self.regrets if regret is not None]
        return statistics.fmean(known) if len(known) == len(self.regrets) else math.inf


@dataclass(frozen=True)
class Threshold:
    """What the default method has to reach after so many calls, as medians over seeds.

    Attributes:
        each: Share of the exact hypervolume on every table.
        mean: And in the mean of the tables.
    """

    calls: int
    each: float
    mean: float


THRESHOLDS = (Threshold(50, 0.83, 0.90), Threshold(100, 0.89, 0.95), Threshold(200, 0.95, 0.975))
LARGE = 10_000  # architectures from which on a tie with the best baseline is not enough
MOST_REGRET = 0.002  # error fraction, in the mean of the seeds


def planted(slots: int = 7, candidates: int = 4, interactions: float = 0.3, seed: int = 0) -> Table:
    """Return a made-up table in which accurate architectures are mostly slow.

    Args:
        slots, candidates: There are candidates**slots architectures.
        interactions: Share of the variance, of both costs before they are bent, that no sum of parts explains.
        seed: Of the table.

    Returns:
        The table.

    Raises:
        InputError: `interactions` is not from 0 to 1.
    """
    if not 0 <= interactions <= 1:
        raise InputError(f"a share of the variance is between 0 and 1; got {interactions}")
    rng = np.random.default_rng(seed)
    shape = (candidates,) * slots
    rows = np.stack(np.unravel_index(np.arange(candidates**slots), shape), 1)
    good, other = (_surface(rows, shape, interactions, rng) for _ in range(2))
    error = 0.05 + 0.65 * (1 - good) ** 2  # most are poor, and a few stand out
    ms = 1 + 4 * (0.7 * good + 0.3 * other)
    space = Choices(f"planted-{slots}x{candidates}", tuple(tuple(f"o{k}" for k in range(candidates)) for _ in shape))
    worst = (0.7, float(ms.max()))
    return Table(
        f"planted {candidates}^{slots}, {interactions:.0%} interactions", space, np.stack([error, ms], 1), worst
    )


def _surface(rows: Rows, shape: tuple[int, ...], interactions: float, rng: np.random.Generator) -> Array:
    """(A,) values from 0 to 1: a sum of parts, and pairs and triples of slots without one."""
    slots = len(shape)
    parts = together = np.zeros(len(rows))
    for s in range(slots):
        parts = parts + rng.normal(size=shape[s])[rows[:, s]]
    pairs = [(s, s + 1) for s in range(slots - 1)]
    for some in [*pairs, *(tuple(rng.choice(slots, 3, replace=False).tolist()) for _ in range(slots))]:
        together = together + rng.normal(size=tuple(shape[s] for s in some))[tuple(rows[:, s] for s in some)]
    together = together.reshape(shape) - together.mean()
    for s in range(slots):  # what a sum of parts could explain is taken out
        others = tuple(axis for axis in range(slots) if axis != s)
        together = together - together.mean(others, keepdims=True)
    unit = lambda values: (values - values.mean()) / values.std()
    both = (1 - interactions) ** 0.5 * unit(parts) + interactions**0.5 * unit(together.reshape(-1))
    return (both - both.min()) / (both.max() - both.min())


def of_tabular(known: TabularBenchmark) -> tuple[Table, ...]:
    """Return a table for each of the latencies of a tabular benchmark.

    Args:
        known: The tabular benchmark.

    Returns:
        Tables whose reference point is the error of guessing and the slowest architecture.
    """
    guess = 1 - 1 / known.space.classes
    return tuple(
        Table(
            f"tabular, {timed.name}",
            known.space,
            np.stack([known.error.numpy(), timed.measured_ms.numpy()], 1),
            (guess, timed.measured_ms.max().item()),
        )
        for timed in known.latencies
    )


def made_up() -> tuple[Table, ...]:
    """Return tables of 16,384 architectures with a tenth, a third and most of their variance in interactions."""
    return tuple(planted(7, 4, share, seed) for seed, share in enumerate((0.1, 0.3, 0.6)))


def check(methods: Sequence[str], seeds: int = 1, calls: Sequence[int] = CALLS) -> None:
    """Refuse, before hours of work, what cannot be measured.

    Args:
        methods: Names in `blackbox.METHODS`.
        seeds: Runs of each method.
        calls: Of the black box.

    Raises:
        InputError: There is no method, an unknown one, or a number below 1.
    """
    if not methods or set(methods) - set(METHODS) or seeds < 1 or min(calls, default=0) < 1:
        raise InputError(
            f"methods are {', '.join(METHODS)}, and seeds and calls at least 1; got {list(methods)}, "
            f"{seeds} seeds, {list(calls)} calls"
        )


def bench(
    tables: Iterable[Table],
    methods: Sequence[str] = OWN,
    *,
    seeds: int = 50,
    calls: Sequence[int] = CALLS,
    done: Iterable[Row] = (),
    on_row: Callable[[Row], None] | None = None,
    workers: int | None = 1,
) -> tuple[Row, ...]:
    """Run every method on every table with every seed.

    Args:
        tables: The tables.
        methods: Names in `blackbox.METHODS`.
        seeds: Runs of each method on each table.
        calls: Of the black box: a row for each.
        done: Rows of an earlier run, which are kept.
        on_row: Called with each new row.
        workers: Processes for the seeds of a row; None for one a core.

    Returns:
        All rows.

    Raises:
        InputError: As `check`.
    """
    check(methods, seeds, calls)
    kept = {(row.table, row.method, row.calls): row for row in done}
    rows = []
    for table in tables:
        for method in methods:
            if all((table.name, method, n) in kept for n in calls):
                rows += [kept[table.name, method, n] for n in calls]
                continue
            found = _of_seeds(table, method, max(calls), seeds, workers)
            for n in calls:
                rows.append(Row(table.name, method, n, tuple(round(table.share(costs[:n]), 5) for costs in found)))
                if on_row is not None:
                    on_row(rows[-1])
    return tuple(rows)


def bench_deadlines(
    tables: Iterable[Table],
    methods: Sequence[str] = OWN,
    *,
    seeds: int = 50,
    calls: int = max(CALLS),
    done: Iterable[DeadlineRow] = (),
    on_row: Callable[[DeadlineRow], None] | None = None,
    workers: int | None = 1,
) -> tuple[DeadlineRow, ...]:
    """Run every method for the least error under the median latency of each table.

    Args:
        tables, methods, seeds, done, on_row, workers: As in `bench`.
        calls: Of the black box.

    Returns:
        All rows.

    Raises:
        InputError: As `check`.
    """
    check(methods, seeds, [calls])
    kept = {(row.table, row.method): row for row in done}
    rows = []
    for table in tables:
        deadline = float(np.median(table.costs[:, 1]))
        best = table.costs[table.costs[:, 1] <= deadline, 0].min()
        for method in methods:
            if (table.name, method) in kept:
                rows.append(kept[table.name, method])
                continue
            regrets = []
            for found in _of_seeds(table, method, calls, seeds, workers, deadline):
                in_time = found[found[:, 1] <= deadline, 0]
                regrets.append(round(float(in_time.min() - best), 6) if len(in_time) else None)
            rows.append(DeadlineRow(table.name, method, calls, deadline, tuple(regrets)))
            if on_row is not None:
                on_row(rows[-1])
    return tuple(rows)


def verdicts(
    tables: Sequence[Table], rows: Sequence[Row], within: Sequence[DeadlineRow], method: str = "model"
) -> tuple[tuple[str, bool], ...]:
    """Return the claims about a method: thresholds, and that it is ahead of its baselines.

    Args:
        tables: The tables that were measured.
        rows: Rows of `bench`.
        within: Rows of `bench_deadlines`.
        method: The method; the others are its baselines.

    Returns:
        Pairs of a claim and whether it holds.
    """
    size = {table.name: table.space.size for table in tables}
    at = {(row.table, row.method, row.calls): row.median for row in rows}
    baselines = list(dict.fromkeys(row.method for row in rows if row.method != method))
    claims = []
    for threshold in THRESHOLDS:
        own = {name: at[name, method, threshold.calls] for name in size if (name, method, threshold.calls) in at}
        if not own:
            continue
        least, mean = min(own.values()), statistics.fmean(own.values())
        claims.append(
            (
                f"{threshold.calls} calls: share on the worst table {least:.3f}, at least {threshold.each}",
                least >= threshold.each,
            )
        )
        claims.append(
            (
                f"{threshold.calls} calls: share in the mean {mean:.3f}, at least {threshold.mean}",
                mean >= threshold.mean,
            )
        )
        for name in own if baselines else ():
            best, baseline = max((at[name, baseline, threshold.calls], baseline) for baseline in baselines)
            ahead = own[name] > best or (own[name] == best and size[name] < LARGE)
            relation = "above" if size[name] >= LARGE else "not below"
            claims.append(
                (f"{threshold.calls} calls, {name}: {own[name]:.3f} {relation} {baseline}'s {best:.3f}", ahead)
            )
    for row in within:
        if row.method == method:
            sentence = f"{row.calls} calls, {row.table}: mean regret in time {100 * row.mean:.2f} points"
            claims.append((f"{sentence}, at most {100 * MOST_REGRET:.1f}", row.mean <= MOST_REGRET))
    return tuple(claims)


def _of_seeds(
    table: Table, method: str, calls: int, seeds: int, workers: int | None, deadline_ms: float | None = None
) -> list[Array]:
    """`_costs` of every seed, in their order."""
    workers = workers_for(seeds, workers)
    if workers == 1:
        return [_costs(table, method, calls, seed, deadline_ms) for seed in range(seeds)]
    of = functools.partial(_numbered, table, method, calls, deadline_ms)
    return [costs for _, costs in sorted(as_finished(of, range(seeds), workers), key=lambda pair: pair[0])]


def _numbered(table: Table, method: str, calls: int, deadline_ms: float | None, seed: int) -> tuple[int, Array]:
    return seed, _costs(table, method, calls, seed, deadline_ms)


def _costs(table: Table, method: str, calls: int, seed: int, deadline_ms: float | None = None) -> Array:
    """(N, 2) in the order of the calls."""
    found = optimize(
        table.space, table, calls=calls, worst=table.worst, method=method, seed=seed, deadline_ms=deadline_ms
    )
    return np.array([trial.costs for trial in found.trials])


def to_text(rows: Sequence[Row], within: Sequence[DeadlineRow], claims: Sequence[tuple[str, bool]]) -> str:
    """Describe median shares of the hypervolume by table, method and number of calls, their means, and the verdicts.

    Args:
        rows: Rows of `bench`.
        within: Rows of `bench_deadlines`.
        claims: The `verdicts`.

    Returns:
        Lines of text.
    """
    calls = list(dict.fromkeys(row.calls for row in rows))
    head = f"{'table':36} {'method':18}" + "".join(f"{n:>8}" for n in calls)
    at = {(row.table, row.method, row.calls): row.median for row in rows}
    pairs = list(dict.fromkeys((row.table, row.method) for row in rows))
    line = lambda name, method, values: f"{name:36} {method:18}" + "".join(f"{x:8.3f}" for x in values)
    lines = [line(name, method, [at[name, method, n] for n in calls]) for name, method in pairs]
    for method in dict.fromkeys(row.method for row in rows):
        of = [[at[name, method, n] for name, other in pairs if other == method] for n in calls]
        lines.append(line("mean of all tables", method, map(statistics.fmean, of)))
    for row in within:
        lines.append(
            f"{row.table:36} {row.method:18}{100 * row.mean:8.2f} points of regret within {row.deadline_ms:.3g} ms"
        )
    if not claims:
        lines.append("no verdict: model, which the thresholds are for, is not among the methods")
    lines += [f"{'ok  ' if holds else 'FAIL'} {sentence}" for sentence, holds in claims]
    return "\n".join([head, *lines])


@dataclass(frozen=True)
class _Saved(Saved[Row]):
    within: tuple[DeadlineRow, ...] = ()


@dataclass(frozen=True)
class OptimizeBench(Bench[Row | DeadlineRow]):
    """Black-box search and its baselines on tables whose front is known."""

    kind, schema, row, saved, resumes, growing = KIND, SCHEMA, Row, _Saved, True, "tables"
    seeds: int = option(50, "runs of each method on each table")
    methods: tuple[str, ...] = option(OWN, "also nsga2, tpe (Optuna)")
    deadline_methods: tuple[str, ...] = option((), "those that are asked for a deadline as well, all by default")
    tabular: str = option("five_layer", "a tabular benchmark, or none for the made-up ones alone")
    workers: int | None = option(None, "processes, one a core by default")

    def __post_init__(self) -> None:
        check([*self.methods, *self.hurried], self.seeds)

    @property
    def hurried(self) -> tuple[str, ...]:
        """The methods that are asked for a deadline as well."""
        return self.deadline_methods or self.methods

    @functools.cached_property
    def tables(self) -> tuple[Table, ...]:
        """The tables of the tabular benchmark, then the made-up ones."""
        known = () if self.tabular == "none" else of_tabular(tables.load(self.tabular))
        return (*known, *made_up())

    def request(self) -> dict[str, Any]:
        areas = {table.name: round(table.hypervolume, 6) for table in self.tables}  # tells tables of one name apart
        return {"seeds": self.seeds, "calls": CALLS, "tables": areas}

    def total(self) -> int:
        return len(self.tables) * (len(self.methods) * len(CALLS) + len(self.hurried))

    def run(self, done: Sequence[Row | DeadlineRow], on_row: Callable[[Any], None]) -> Sequence[Row | DeadlineRow]:
        rows, within = _apart(done)
        alike: dict[str, Any] = {"seeds": self.seeds, "on_row": on_row, "workers": self.workers}
        found = bench(self.tables, self.methods, calls=CALLS, done=rows, **alike)
        return (*found, *bench_deadlines(self.tables, self.hurried, calls=max(CALLS), done=within, **alike))

    def verdicts(self, rows: Sequence[Row | DeadlineRow]) -> Verdicts:
        return verdicts(self.tables, *_apart(rows))

    def to_json(self, rows: Sequence[Row | DeadlineRow]) -> dict[str, Any]:
        shares, within = _apart(rows)
        return {
            "within": [asdict(row) for row in within],
            "rows": [asdict(row) | {"median": row.median} for row in shares],
        }

    def text(self, rows: Sequence[Row | DeadlineRow]) -> str:
        return to_text(*_apart(rows), self.verdicts(rows))


def _apart(rows: Iterable[Row | DeadlineRow]) -> tuple[tuple[Row, ...], tuple[DeadlineRow, ...]]:
    rows = tuple(rows)
    within = tuple(row for row in rows if isinstance(row, DeadlineRow))
    return tuple(row for row in rows if isinstance(row, Row)), within


def load(source: str | Path = "optimize") -> tuple[tuple[Row, ...], tuple[DeadlineRow, ...]]:
    """Read the rows of a saved bench.

    Args:
        source: A file, or the name of a shipped result.

    Returns:
        Its rows, and those under a deadline.
    """
    return _apart(record.load(OptimizeBench, source).every)
