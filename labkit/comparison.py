"""Is the search worth it? A sweep and its rivals at equal cost, over seeds, by what the chosen networks really are.

One sweep of latency weights a seed, with its second stage. The rivals search on that sweep's shared weights and pay for
them, or train from scratch for as long. Every chosen network is then judged by training it in full: by the truth table
where one of the same space and images is known, else here.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from math import comb
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from labkit import spaces, storage
from labkit.baselines import reuse_search
from labkit.blackbox import METHODS
from labkit.checkpoints import Checkpoints
from labkit.data import ImageSet
from labkit.errors import InputError
from labkit.latency import LatencyTable
from labkit.networks import Supernet
from labkit.pareto import Point
from labkit.search_config import SearchConfig, SelectionConfig
from labkit.search_run import SearchRun
from labkit.searching import SearchResult, sweep
from labkit.selection import select
from labkit.spaces import SearchSpace
from labkit.training import TrainConfig
from labkit.training_pool import Job, train_all
from labkit.truth import LARGEST, Truth

KIND, SCHEMA = "comparison", 1
SWEEP, OURS = "sweep", "sweep, selected"
SELECTED = "random, selected"  # our second stage after a random search: the rival "random-selected"
SHARED = ("random", "evolution", "local-search")  # rivals on the sweep's weights; "nsga2" too where Optuna is
SCRATCH, SCAN = "random from scratch", "exhaustive scan"


@dataclass(frozen=True)
class Row:
    """What a method chose with one seed, an architecture a latency weight, and what all of that cost."""

    method: str
    seed: int
    ops: tuple[str, ...]
    judged: int  # architectures that it looked at
    passes: float  # image passes
    seconds: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """The rows of all methods and seeds, and what training made of what they chose."""

    space: SearchSpace
    table: LatencyTable
    latency_weights: tuple[float, ...]
    asked: dict[str, Any]  # data and configs: what a later run must repeat to go on
    made: dict[str, Any]
    rows: tuple[Row, ...] = ()
    trained: tuple[dict[str, Any], ...] = ()  # rows as of a truth table, without one; the seed is the search's

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.method for row in self.rows))

    @property
    def estimators(self) -> dict[str, str]:
        """The method of each estimator of which there are sweeps: ours, then the others."""
        others = [m.removeprefix(f"{SWEEP}, ") for m in self.methods if m.startswith(f"{SWEEP}, ") and m != OURS]
        own = {self.asked["search"]["estimator"]: SWEEP} if SWEEP in self.methods else {}
        return own | {name: f"{SWEEP}, {name}" for name in others}

    def costs(self, method: str, truth: Truth | None = None, latency: str | None = None) -> np.ndarray:
        """(seeds, weights) test error + weight * ms of what `method` chose, as fractions, in the order of the seeds.

        Milliseconds are measured ones where the truth is known, else the table's.
        """
        rows = sorted((row for row in self.rows if row.method == method), key=lambda row: row.seed)
        if truth is not None:
            error, ms = truth.error.tolist(), truth.ms(latency).tolist()
            place = {str(architecture): i for i, architecture in enumerate(truth.space)}
            point = lambda ops, seed: (error[place[ops]], ms[place[ops]])
        else:
            wrong = {(row["ops"], row["seed"]): 1 - row["test_accuracy"] for row in self.trained}
            point = lambda ops, seed: (wrong[ops, seed], self.table.table_ms(self.space.architecture(ops)))
        pairs = [[point(ops, row.seed) for ops in row.ops] for row in rows]
        return np.array([[e + w * t for (e, t), w in zip(line, self.latency_weights)] for line in pairs])

    def missing(self) -> list[Job]:
        """Chosen networks that were not trained yet: once for each seed that chose them."""
        done = {(row["ops"], row["seed"]) for row in self.trained}
        wanted = dict.fromkeys((ops, row.seed) for row in self.rows for ops in row.ops)
        return [Job(self.space.architecture(ops), seed) for ops, seed in wanted if (ops, seed) not in done]


def compare(
    space: SearchSpace,
    data: ImageSet,
    table: LatencyTable,
    latency_weights: Sequence[float],
    out: str | Path,
    *,
    config: SearchConfig = SearchConfig(),
    selection: SelectionConfig = SelectionConfig(),
    training: TrainConfig,
    seeds: int = 10,
    rivals: Sequence[str] = ("random-selected", *SHARED),
    estimators: Sequence[str] = (),
    truth: Truth | None = None,
    made: dict[str, Any] | None = None,
    workers: int | None = None,
    on_row: Callable[[Row], None] = lambda row: None,
) -> Comparison:
    """Every method with every seed. `out` is written after each; a later call goes on from there.

    Args:
        training: how chosen networks, and those of the search from scratch, are trained.
        rivals: methods of `blackbox.METHODS` that search on the sweep's shared weights, and "random-selected".
        estimators: names in `estimators.ESTIMATORS`: sweeps of the same first weights that follow these, with as many
            joint steps as come to the same image passes.
        truth: of the same images; without one every chosen network is trained, `workers` at once.
    """
    if seeds < 2 or not latency_weights:
        raise InputError(f"a comparison needs two seeds and a latency weight; got {seeds} and {len(latency_weights)}")
    if unknown := sorted(set(rivals) - {"random-selected", *METHODS}):
        raise InputError(f"rivals are random-selected, {', '.join(METHODS)}; got {unknown[0]!r}")
    rivals = [SELECTED if name == "random-selected" else name for name in rivals]
    for estimator in estimators:
        _following(config, estimator)  # refuses an unknown one
    if truth is not None and truth.recipe["data"]["digest"] != data.digest:
        raise InputError(f"the truth was made on {truth.recipe['data']['name']}: hand over the same images")
    asked = {
        "data": data.card(),
        "search": asdict(config),
        "selection": asdict(selection),
        "training": asdict(training),
    }
    out = Path(out)
    found = _resumed(out, Comparison(space, table, tuple(latency_weights), asked, made or {}))
    notes = _Notes(found, out, workers or os.cpu_count() or 1, on_row)
    trainer = lambda jobs: train_all(jobs, space, data, training, notes.cores)
    for seed in range(seeds):
        _one_seed(seed, notes, data, replace(config, seed=seed), selection, rivals, estimators, truth, trainer)
        if truth is None and (jobs := notes.found.missing()):
            for trained in trainer(jobs):
                notes.train(trained)
    with suppress(OSError):  # not empty: of another comparison
        _checkpoints(out).rmdir()
    return notes.found


def _checkpoints(out: Path) -> Path:
    """Folder of the sweeps that are under way."""
    return out.with_suffix(".checkpoints")


class _Notes:
    """The comparison so far, on the disk after every line."""

    def __init__(self, found: Comparison, out: Path, cores: int, on_row: Callable[[Row], None]):
        self.found, self.out, self.cores, self.on_row = found, out, cores, on_row

    def row(self, row: Row) -> None:
        self.found = replace(self.found, rows=(*self.found.rows, row))
        save(self.found, self.out)
        self.on_row(row)

    def train(self, trained: dict[str, Any]) -> None:
        self.found = replace(self.found, trained=(*self.found.trained, trained))
        save(self.found, self.out)


def _one_seed(seed, notes, data, config, selection, rivals, estimators, truth, trainer) -> None:
    """The rows of one seed that are not noted yet. Its sweep is made, or goes on, only if one of them needs it."""
    found = notes.found
    done = {row.method: row for row in found.rows if row.seed == seed}
    wanted = [SWEEP, OURS, *rivals, SCRATCH, *[SCAN] * (found.space.size <= LARGEST)]
    followed = {f"{SWEEP}, {estimator}": estimator for estimator in estimators}
    wanted += followed
    if not set(wanted) - set(done):
        return
    checkpoints = Checkpoints(_checkpoints(notes.out) / f"seed-{seed}", every=50)
    supernet = Supernet(found.space, seed=seed)
    weights = found.latency_weights
    swept = cache(lambda: sweep(supernet, data, found.table, weights, config, checkpoints=checkpoints))
    again = lambda **how: reuse_search(swept(), data, found.table, seed=seed, **how)
    second = partial(select, data=data, table=found.table, config=selection, trained={}, workers=notes.cores)
    for method in wanted:
        if method in done:
            continue
        if method == SWEEP:
            results = swept()
        elif method == OURS:
            results = second(swept())
        elif method == SELECTED:
            results = second(again())  # at the sweep's cost, and the second stage's own
        elif method == SCRATCH:
            results = _from_scratch(notes, supernet, config, truth, trainer, done[OURS].seconds)
        elif method in followed:
            steps = _joint_steps_at_equal_cost(supernet, data, found.table, config, followed[method])
            other = replace(_following(config, followed[method]), joint_steps=steps)
            results = sweep(supernet, data, found.table, weights, other)
        elif method == SCAN:
            results = again(budget=float("inf"))
        else:
            results = again(method=method, budget=done[OURS].passes)
        done[method] = _row(method, seed, results)
        notes.row(done[method])
    checkpoints.clear()


def _following(config: SearchConfig, estimator: str) -> SearchConfig:
    """The same search by another estimator; the scale of a control is ours alone."""
    return replace(config, estimator=estimator, control_scale=1.0)


def _joint_steps_at_equal_cost(supernet, data, table, config, estimator) -> int:
    """As many joint steps of another estimator as cost what the config's own do, by one step of each."""

    def passes(name: str) -> float:
        small = {"mixture_steps": 0, "weight_steps": 0, "joint_steps": 1, "batch_size": 2 * config.architectures}
        one = replace(_following(config, name), **small)
        return SearchRun(supernet, data, one, table).advance().passes

    return max(1, round(config.joint_steps * passes(config.estimator) / passes(estimator)))


def _row(method: str, seed: int, results: Sequence[SearchResult]) -> Row:
    looked_at = {point.architecture for result in results for point in result.judged}
    passes, seconds = round(sum(r.passes for r in results)), round(sum(r.seconds for r in results), 1)
    return Row(method, seed, tuple(str(r.architecture) for r in results), len(looked_at), passes, seconds)


def _from_scratch(notes, supernet, config, truth, trainer, seconds) -> tuple[SearchResult, ...]:
    """Random architectures trained from scratch for `seconds`, in as many processes as there are cores.

    One sample serves all weights, judged on validation images. Where the same training is on record it is looked up.
    """
    space, table = notes.found.space, notes.found.table
    order = space.sample(1_000, torch.Generator().manual_seed(config.seed))
    jobs = [Job(architecture, config.seed) for architecture in dict.fromkeys(order)]
    if truth is None:
        rows = _in_time(jobs, notes, trainer, seconds)
        some = [space.architecture(row["ops"]) for row in rows]
        points = [Point(a, 1 - row["valid_accuracy"], table.table_ms(a), "trained") for a, row in zip(some, rows)]
        spent = sum(row["seconds"] for row in rows) / notes.cores
    else:
        some = [job.architecture for job in jobs[: affordable(truth, seconds, notes.cores)]]
        error = truth.valid_error[:, config.seed % truth.seeds].tolist()
        points, spent = [Point(a, error[space.index(a)], table.table_ms(a), "trained") for a in some], seconds
    images, training = notes.found.asked["data"], notes.found.asked["training"]
    passes = len(points) * (3 * images["train"] * training["epochs"] + images["valid"])
    weights = notes.found.latency_weights
    share, logits = 1 / len(weights), torch.zeros(space.mask.shape)
    cheapest = lambda w: min(points, key=lambda p: p.error + w * p.latency_ms)
    return tuple(
        SearchResult(config, cheapest(w), logits, (), supernet, share * passes, share * spent, tuple(points), SCRATCH)
        for w in weights
    )


def _in_time(jobs, notes, trainer, seconds) -> list[dict[str, Any]]:
    """Rows of what can be trained in `seconds` of all cores, with what was trained before a stop; at least one."""
    waiting = {(str(job.architecture), job.seed): job for job in jobs}
    rows = [row for row in notes.found.trained if waiting.pop((row["ops"], row["seed"]), None)]
    left = seconds * notes.cores - sum(row["seconds"] for row in rows)
    if left > 0 or not rows:
        with closing(trainer(list(waiting.values()))) as training:
            for row in training:
                notes.train(row)
                rows.append(row)
                left -= row["seconds"]
                if left <= 0:
                    break
    return rows


def affordable(truth: Truth, seconds: float, cores: int) -> int:
    """Networks of the truth's recipe that can be trained in `seconds`, one a core, by the median of its records."""
    return min(truth.space.size, max(1, int(cores * seconds / truth.seconds.median().item())))


# --- what it shows ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """Whether `ours` is better than `rival` at one latency weight, in pairs of the same seed."""

    latency_weight: float
    rival: str
    ours: str
    gain: float  # mean of (rival's cost - ours), as a fraction
    low: float  # of the 95 % bootstrap interval of that mean
    high: float
    p: float  # two-sided, sign flips
    n: int

    @property
    def better(self) -> bool:
        return self.gain > 0 and self.p < 0.05

    @property
    def answer(self) -> str:
        return "yes" if self.better else "no, it is worse" if self.gain < 0 and self.p < 0.05 else "not shown"

    def __str__(self) -> str:
        return (
            f"weight {self.latency_weight:g}: {self.ours} beats {self.rival}: {self.answer}, by {100 * self.gain:+.2f} "
            f"points ({100 * self.low:+.2f} to {100 * self.high:+.2f}), p = {self.p:.3f}, n = {self.n}"
        )


def verdicts(
    found: Comparison, truth: Truth | None = None, latency: str | None = None, ours: str = OURS
) -> tuple[Verdict, ...]:
    """`ours` against every other method at every weight."""
    own = found.costs(ours, truth, latency)
    told = []
    for rival in found.methods:
        if rival == ours:
            continue
        other = found.costs(rival, truth, latency)
        if other.shape != own.shape:
            continue
        for w, gains in zip(found.latency_weights, (other - own).T):
            low, high = band(gains)
            told.append(Verdict(w, rival, ours, float(gains.mean()), low, high, sign_flips(gains), len(gains)))
    return tuple(told)


def sign_flips(differences: np.ndarray) -> float:
    """Two-sided p-value of a paired permutation test: how often random signs make a mean as far from zero."""
    from scipy.stats import permutation_test

    if not differences.any():
        return 1.0
    mean = lambda x, axis: x.mean(axis)
    return float(permutation_test((differences,), mean, permutation_type="samples", n_resamples=9_999, rng=0).pvalue)


def band(values: np.ndarray, resamples: int = 2_000) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of `values` over seeds."""
    from scipy.stats import bootstrap

    found = bootstrap((values,), np.mean, n_resamples=resamples, method="percentile", rng=0).confidence_interval
    return float(found.low), float(found.high)


def regrets(found: Comparison, method: str, truth: Truth, latency: str | None = None) -> np.ndarray:
    """(seeds, weights) how much more what `method` chose costs than the best architecture there is, as fractions."""
    best = [truth.as_cost(latency_weight=w, latency=latency).values.min().item() for w in found.latency_weights]
    return found.costs(method, truth, latency) - np.array(best)


@dataclass(frozen=True)
class Steering:
    """How the weight that a choice is worth in truth follows the one that was asked for."""

    slope: float  # of the logarithms: 1 follows it one to one, 0 not at all
    low: float  # of the 95 % bootstrap interval over seeds
    high: float
    n: int  # seeds

    def __str__(self) -> str:
        return (
            f"choices follow the latency weight with a slope of {self.slope:.2f} ({self.low:.2f} to {self.high:.2f}; "
            f"1 is one to one, 0 not at all), n = {self.n}"
        )


def steering(
    truth: Truth,
    chosen: Sequence[tuple[Sequence[float], Sequence[str]]],
    latency: str | None = None,
    resamples: int = 500,
) -> Steering | None:
    """Of latency weights and what was chosen for them, a pair a seed; None where no choice tells its weight.

    Weights of 0, and choices at the ends of the front, say nothing and are left out.
    """
    worth: dict[str, float | None] = {}
    for ops in {ops for _, several in chosen for ops in several}:
        worth[ops] = truth.realised_weight(truth.space.architecture(ops), latency)
    logs = [
        np.log([(w, worth[ops]) for w, ops in zip(*pair) if w > 0 and worth[ops] is not None]).reshape(-1, 2)
        for pair in chosen
    ]

    def slope(seeds: Sequence[int]) -> float:
        asked, realised = np.concatenate([logs[i] for i in seeds]).T
        return np.polyfit(asked, realised, 1)[0] if len(set(asked)) > 1 else np.nan

    whole = slope(range(len(logs)))
    if np.isnan(whole):
        return None
    draws = np.random.default_rng(0).integers(0, len(logs), (resamples, len(logs)))
    low, high = np.nanquantile([slope(draw) for draw in draws], (0.025, 0.975))
    return Steering(float(whole), float(low), float(high), len(logs))


def expected_best(costs: np.ndarray, n: int) -> float:
    """Mean of the least of `n` of the `costs` (A,), drawn without repeats: what luck alone finds if it is told which.

    The k-th best of A wins when it is drawn and no better one is: in C(A-k, n-1) of C(A, n) draws.
    """
    total = comb(len(costs), n)
    wins = [comb(len(costs) - k, n - 1) / total for k in range(1, len(costs) + 1)]
    return float(np.sort(costs) @ wins)


def drawn(
    found: Comparison, truth: Truth | None = None, latency: str | None = None, *, estimators: bool = False
) -> tuple[dict[str, np.ndarray], tuple[float, ...], str, str, tuple[str, ...]]:
    """What `plots.comparison` takes: regrets where the truth is known, else costs, in points; a verdict a weight.

    Of the ways to search; with `estimators`, of sweeps that differ in the estimator alone.
    """
    of = found.costs if truth is None else partial(regrets, found, truth=truth, latency=latency)
    what = "test error + weight x ms (points)" if truth is None else "true regret (points)"
    if estimators:
        costs = {name: 100 * of(method) for name, method in found.estimators.items()}
        return costs, found.latency_weights, found.asked["search"]["estimator"], what, ()
    told = [v for v in verdicts(found, truth, latency) if v.rival == "random"]
    says = tuple(f"beats random at equal cost: {v.answer},\np = {v.p:.3f}, n = {v.n}" for v in told)
    other = set(found.estimators.values()) - {SWEEP}
    return {m: 100 * of(m) for m in found.methods if m not in other}, found.latency_weights, OURS, what, says


def to_text(found: Comparison, truth: Truth | None = None, latency: str | None = None) -> str:
    """Cost of every method at every weight, what it was charged, and the verdicts."""
    what = "test error + weight x ms" if truth is None else "regret: above the least error + weight x ms"
    lines = [f"{what}, in points: median (90th percentile) of the seeds"]
    lines.append(
        f"{'method':24}" + "".join(f"{f'weight {w:g}':>18}" for w in found.latency_weights) + "   seconds  judged"
    )
    for method in found.methods:
        values = 100 * (found.costs(method) if truth is None else regrets(found, method, truth, latency))
        cells = "".join(f"{np.median(v):9.2f} ({np.quantile(v, 0.9):5.2f})" + " " for v in values.T)
        rows = [row for row in found.rows if row.method == method]
        spent, judged = fmean(row.seconds for row in rows), fmean(row.judged for row in rows)
        lines.append(f"{method:24} {cells}{spent:9.0f} {judged:7.0f}")
    if truth is not None and (rows := [row for row in found.rows if row.method == SCRATCH]):
        n = round(fmean(row.judged for row in rows))
        every = [truth.as_cost(latency_weight=w, latency=latency).values.numpy() for w in found.latency_weights]
        means = [100 * (expected_best(costs, n) - costs.min()) for costs in every]
        lines.append(f"{f'in truth the best of {n}':24} {''.join(f'{mean:9.2f} (mean) ' for mean in means)}")
    for method in found.methods if truth is not None else ():
        chosen = [(found.latency_weights, row.ops) for row in found.rows if row.method == method]
        if (followed := steering(truth, chosen, latency)) is not None:
            lines.append(f"{method}: {followed}")
    return "\n".join([*lines, *map(str, verdicts(found, truth, latency))])


# --- on disk ------------------------------------------------------------------------------------------------


def save(found: Comparison, path: str | Path) -> Path:
    """One readable JSON file."""
    value = {
        "kind": KIND,
        "schema": SCHEMA,
        "space": {"name": found.space.name, "classes": found.space.classes, "digest": found.space.digest},
        "latency_weights": list(found.latency_weights),
        "asked": found.asked,
        "made": found.made,
        "trained": list(found.trained),
        "table": found.table.to_json(),
    }
    return storage.write_json(path, value, [asdict(row) for row in found.rows])


def load(path: str | Path) -> Comparison:
    """A comparison that `save` wrote. A bare name is looked up in `data/results`."""
    path = storage.result_file(path)
    value = storage.read_json(path, KIND, SCHEMA)
    try:
        space = spaces.by_name(value["space"]["name"], value["space"]["classes"])
        if space.digest != value["space"]["digest"]:
            raise InputError(f"{path} is of another {space.name} ({value['space']['digest']})")
        rows = tuple(Row(**{**row, "ops": tuple(row["ops"])}) for row in value["rows"])
        table = LatencyTable.from_json(value["table"])
        weights = tuple(value["latency_weights"])
        return Comparison(space, table, weights, value["asked"], value["made"], rows, tuple(value["trained"]))
    except (KeyError, TypeError) as problem:
        raise InputError(f"{path} is a damaged comparison: {type(problem).__name__} {problem}") from None


def _resumed(out: Path, fresh: Comparison) -> Comparison:
    if not out.exists():
        return fresh
    old = load(out)
    same = {
        "space": old.space.digest == fresh.space.digest,
        "latency table": old.table.to_json() == LatencyTable.from_json(fresh.table.to_json()).to_json(),
        "latency weights": old.latency_weights == fresh.latency_weights,
        **{
            name: _plain(_ADDED.get(name, {}) | old.asked.get(name, {})) == _plain(value)
            for name, value in fresh.asked.items()
        },
    }
    if different := [name for name, kept in same.items() if not kept]:
        raise InputError(f"{out} is of another comparison ({', '.join(different)} differ): name another file")
    return replace(old, made=_in_sittings(old, fresh.made))


def _in_sittings(old: Comparison, made: dict[str, Any]) -> dict[str, Any]:
    """What goes on, and under "earlier" each other command, machine or version that made rows before, and how many."""
    if not made:
        return old.made
    alike = lambda one: {key: value for key, value in one.items() if key not in ("date", "earlier")}
    earlier = [*old.made.get("earlier", ())]
    if alike(old.made) != alike(made):
        earlier.append({key: value for key, value in old.made.items() if key != "earlier"} | {"rows": len(old.rows)})
    return made | ({"earlier": earlier} if earlier else {})


# What a file of an earlier version lacks: settings whose default is what it did.
_ADDED = {"search": asdict(SearchConfig()), "selection": asdict(SelectionConfig())}


def _plain(value: Any) -> Any:
    """As it comes back from JSON."""
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
