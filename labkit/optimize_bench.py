"""Is a method of black-box search better than its rivals? Every method on tables whose exact front is known.

The share of the exact front's hypervolume that was found after so many calls, over many seeds. What is planted has a
known share of its variance in interactions, so that a model of parts alone cannot pass for a search.
"""

import statistics
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from labkit.blackbox import METHODS, optimize
from labkit.errors import InputError
from labkit.gaussian_process import Array, Rows
from labkit.proposers import front
from labkit.spaces import Architecture, Choices
from labkit.truth import Truth

LIBRARY = ("nsga2", "tpe")  # Optuna's, where it is installed
CALLS = (50, 100, 200)
KIND, SCHEMA = "optimize bench", 1


@dataclass(frozen=True, eq=False)
class Table:
    """A black box that is known everywhere."""

    name: str
    space: Choices
    costs: Array  # (A, 2) error and milliseconds, in the order in which the space is iterated
    worst: tuple[float, float]

    def __call__(self, architecture: Architecture) -> tuple[float, float]:
        error, ms = self.costs[self.space.index(architecture)]
        return float(error), float(ms)

    def share(self, costs: Array) -> float:
        """Hypervolume of `costs` (N, 2) over that of the exact front."""
        return hypervolume(costs, np.array(self.worst)) / self.hypervolume

    @cached_property
    def hypervolume(self) -> float:
        """Of the exact front."""
        return hypervolume(self.costs, np.array(self.worst))


@dataclass(frozen=True)
class Row:
    """What a method found on a table, a number a seed."""

    table: str
    method: str
    calls: int
    shares: tuple[float, ...]  # of the exact hypervolume

    @property
    def median(self) -> float:
        return statistics.median(self.shares)


def hypervolume(costs: Array, worst: Array) -> float:
    """Area between the front of `costs` (N, 2) and `worst`."""
    inside = costs[(costs < worst).all(1)]
    if not len(inside):
        return 0.0
    inside = inside[front(inside)]
    return float(((np.append(inside[1:, 0], worst[0]) - inside[:, 0]) * (worst[1] - inside[:, 1])).sum())


def planted(slots: int = 7, candidates: int = 4, interactions: float = 0.3, seed: int = 0) -> Table:
    """A made-up table of candidates**slots architectures, of which accurate ones are mostly slow.

    Args:
        interactions: share of the variance, of both costs before they are bent, that no sum of parts explains.
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
    parts = sum(rng.normal(size=shape[s])[rows[:, s]] for s in range(slots))
    together = sum(
        rng.normal(size=tuple(shape[s] for s in some))[tuple(rows[:, s] for s in some)]
        for some in [
            *((s, s + 1) for s in range(slots - 1)),
            *(rng.choice(slots, 3, replace=False) for _ in range(slots)),
        ]
    )
    together = together.reshape(shape) - together.mean()
    for s in range(slots):  # what a sum of parts could explain is taken out
        others = tuple(axis for axis in range(slots) if axis != s)
        together = together - together.mean(others, keepdims=True)
    unit = lambda values: (values - values.mean()) / values.std()
    both = (1 - interactions) ** 0.5 * unit(parts) + interactions**0.5 * unit(together.reshape(-1))
    return (both - both.min()) / (both.max() - both.min())


def of_truth(known: Truth) -> tuple[Table, ...]:
    """The truth table under each of its devices."""
    guess = 1 - 1 / known.space.classes
    return tuple(
        Table(
            f"truth, {timed.name}",
            known.space,
            np.stack([known.error.numpy(), timed.measured_ms.numpy()], 1),
            (guess, timed.measured_ms.max().item()),
        )
        for timed in known.latencies
    )


def made_up() -> tuple[Table, ...]:
    """Tables of 16,384 architectures with a tenth, a third and most of their variance in interactions."""
    return tuple(planted(7, 4, share, seed) for seed, share in enumerate((0.1, 0.3, 0.6)))


def bench(
    tables: Iterable[Table],
    methods: Sequence[str] = tuple(METHODS),
    *,
    seeds: int = 50,
    calls: Sequence[int] = CALLS,
    on_row: Callable[[Row], None] | None = None,
) -> tuple[Row, ...]:
    """Every method on every table with every seed."""
    unknown = sorted(set(methods) - {*METHODS, *LIBRARY})
    if unknown or seeds < 1 or min(calls, default=0) < 1:
        raise InputError(
            f"methods are {', '.join((*METHODS, *LIBRARY))}, and seeds and calls at least 1; got {list(methods)}, "
            f"{seeds} seeds, {list(calls)} calls"
        )
    rows = []
    for table in tables:
        for method in methods:
            found = [_costs(table, method, max(calls), seed) for seed in range(seeds)]
            for n in calls:
                rows.append(Row(table.name, method, n, tuple(round(table.share(costs[:n]), 5) for costs in found)))
                if on_row is not None:
                    on_row(rows[-1])
    return tuple(rows)


def _costs(table: Table, method: str, calls: int, seed: int) -> Array:
    """(N, 2) in the order of the calls."""
    if method in LIBRARY:
        return _by_library(table, method, calls, seed)
    found = optimize(table.space, table, calls=calls, worst=table.worst, method=method, seed=seed)
    return np.array([trial.costs for trial in found.trials])


def _by_library(table: Table, method: str, calls: int, seed: int) -> Array:
    try:
        import optuna
    except ImportError:
        raise InputError(f"{method} is Optuna's: pip install labkit[rivals]") from None

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    ask = lambda trial: [trial.suggest_categorical(f"slot {s}", slot) for s, slot in enumerate(table.space.slots)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is experimental in Optuna
        samplers = optuna.samplers
        nsga2 = method == "nsga2"
        sampler = samplers.NSGAIISampler(seed=seed, population_size=20) if nsga2 else samplers.TPESampler(seed=seed)
        study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
        study.optimize(lambda trial: table(table.space.architecture(ask(trial))), n_trials=calls)
    return np.array([trial.values for trial in study.trials])


def to_text(rows: Sequence[Row]) -> str:
    """Median share of the hypervolume, a line a table and method, a column a number of calls; then the means."""
    calls = list(dict.fromkeys(row.calls for row in rows))
    head = f"{'table':36} {'method':18}" + "".join(f"{n:>8}" for n in calls)
    at = {(row.table, row.method, row.calls): row.median for row in rows}
    pairs = list(dict.fromkeys((row.table, row.method) for row in rows))
    line = lambda name, method, values: f"{name:36} {method:18}" + "".join(f"{x:8.3f}" for x in values)
    lines = [line(name, method, [at[name, method, n] for n in calls]) for name, method in pairs]
    for method in dict.fromkeys(row.method for row in rows):
        of = [[at[name, method, n] for name, other in pairs if other == method] for n in calls]
        lines.append(line("mean of all tables", method, map(statistics.fmean, of)))
    return "\n".join([head, *lines])


def to_json(rows: Iterable[Row]) -> list[dict[str, Any]]:
    return [asdict(row) | {"median": row.median} for row in rows]
