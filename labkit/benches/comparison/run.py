"""Runs a comparison: a sweep a seed, its second stage, and baselines that are charged for what they use."""

import os
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from labkit.benches.comparison.rows import OURS, SCAN, SCRATCH, SELECTED, SHARED, SWEEP, Comparison, Row, load, save
from labkit.benches.record import in_sittings
from labkit.benches.tabular.table import TabularBenchmark, TrainedNetwork
from labkit.benches.tabular.timing import LARGEST
from labkit.blackbox.loop import METHODS
from labkit.data import ImageSet
from labkit.latency.table import LatencyTable
from labkit.networks.parallel import Job, train_all
from labkit.networks.supernet import Supernet
from labkit.networks.training import TrainConfig
from labkit.oneshot.baselines import reuse_search
from labkit.oneshot.config import SearchConfig, SelectionConfig
from labkit.oneshot.run import SearchRun
from labkit.oneshot.searching import SearchResult, sweep
from labkit.oneshot.selection import select
from labkit.pareto import Point
from labkit.spaces import SearchSpace
from labkit.system.checkpoints import Checkpoints
from labkit.system.errors import InputError, unknown


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
    baselines: Sequence[str] = ("random-selected", *SHARED),
    estimators: Sequence[str] = (),
    tabular: TabularBenchmark | None = None,
    made: dict[str, Any] | None = None,
    workers: int | None = None,
    on_row: Callable[[Row], None] = lambda row: None,
) -> Comparison:
    """Run every method with every seed. `out` is written after each; a later call with the same arguments resumes
    there.

    Args:
        space: The space.
        data: The images.
        table: Of the space.
        latency_weights: Error fraction per millisecond; all of a sweep.
        out: The file of the comparison.
        config: Of the sweeps.
        selection: Of the second stage.
        training: Of chosen networks, and of the search from scratch.
        seeds: Runs of each method, at least 2.
        baselines: Methods of `blackbox.METHODS` that search on the sweep's shared weights, and "random-selected".
        estimators: Names in `estimators.ESTIMATORS`: sweeps of the same first weights that follow these, with as many
            joint steps as cost the same image passes.
        tabular: Of the same images; without one every chosen network is trained.
        made: Provenance.
        workers: Networks trained at once; by default one a core.
        on_row: Called with each new row.

    Returns:
        The comparison.

    Raises:
        InputError: An argument is not what is described here, or `out` is of another comparison.
    """
    if seeds < 2 or not latency_weights:
        raise InputError(f"a comparison needs two seeds and a latency weight; got {seeds} and {len(latency_weights)}")
    for baseline in baselines:
        if baseline not in (known := ("random-selected", *METHODS)):
            raise unknown("baselines are", baseline, known)
    baselines = [SELECTED if name == "random-selected" else name for name in baselines]
    for estimator in estimators:
        _following(config, estimator)  # refuses an unknown one
    if tabular is not None and tabular.recipe["data"]["digest"] != data.digest:
        raise InputError(
            f"the tabular benchmark was made on {tabular.recipe['data']['name']}: hand over the same images"
        )
    config = replace(config, latency_weight=config.latency_weight or 0.0)  # each search has one of those given
    asked = {
        "data": data.card(),
        "search": asdict(config),
        "selection": asdict(selection),
        "training": asdict(training),
    }
    out = Path(out)
    found = _resumed(out, Comparison(space, table, tuple(latency_weights), asked, made or {}))
    notes = _Notes(found, out, workers or os.cpu_count() or 1, on_row)
    trainer = partial(train_all, space=space, images=data, config=training, workers=notes.cores)
    for seed in range(seeds):
        _one_seed(seed, notes, data, replace(config, seed=seed), selection, baselines, estimators, tabular, trainer)
        if tabular is None and (jobs := notes.found.missing()):
            for trained in trainer(jobs, test=True):
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

    def train(self, trained: dict[str, Any]) -> TrainedNetwork:
        new = TrainedNetwork(**trained)
        others = [row for row in self.found.trained if row.job != new.job]
        self.found = replace(self.found, trained=(*others, new))
        save(self.found, self.out)
        return new


def _one_seed(seed, notes, data, config, selection, baselines, estimators, tabular, trainer) -> None:
    """The rows of one seed that are not noted yet. Its sweep is made, or resumed, only if one of them needs it."""
    found = notes.found
    done = {row.method: row for row in found.rows if row.seed == seed}
    wanted = [SWEEP, OURS, *baselines, SCRATCH, *[SCAN] * (found.space.size <= LARGEST)]
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

    def follow(estimator: str) -> Sequence[SearchResult]:
        steps = _joint_steps_at_equal_cost(supernet, data, found.table, config, estimator)
        other = replace(_following(config, estimator), joint_steps=steps)
        return sweep(supernet, data, found.table, weights, other)

    run: dict[str, Callable[[], Sequence[SearchResult]]] = {
        SWEEP: swept,
        OURS: lambda: second(swept()),
        SELECTED: lambda: second(again()),  # at the sweep's cost, and the second stage's own
        SCRATCH: lambda: _from_scratch(notes, supernet, config, tabular, trainer, done[OURS].seconds),
        SCAN: lambda: again(budget=float("inf")),
        **{method: partial(follow, estimator) for method, estimator in followed.items()},
    }
    for method in wanted:
        if method in done:
            continue
        at_equal_cost = lambda method=method: again(method=method, budget=done[OURS].passes)
        done[method] = _row(method, seed, run.get(method, at_equal_cost)())
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
    looked_at = {point.architecture for result in results for point in result.evaluated}
    passes, seconds = round(sum(r.passes for r in results)), round(sum(r.seconds for r in results), 1)
    return Row(method, seed, tuple(str(r.architecture) for r in results), len(looked_at), passes, seconds)


def _from_scratch(notes, supernet, config, tabular, trainer, seconds) -> tuple[SearchResult, ...]:
    """Random architectures trained from scratch for `seconds`, in as many processes as there are cores.

    One sample serves all weights, evaluated on validation images. Where the same training is on record it is looked up.
    The chosen are trained once more to be tested: the same networks, by the same seed, whose weights nobody kept.
    """
    space, table = notes.found.space, notes.found.table
    order = space.sample(1_000, torch.Generator().manual_seed(config.seed))
    jobs = [Job(architecture, config.seed) for architecture in dict.fromkeys(order)]
    if tabular is None:
        rows = _in_time(jobs, notes, trainer, seconds)
        some = [space.architecture(row.ops) for row in rows]
        points = [Point(a, 1 - row.valid_accuracy, table.table_ms(a), "trained") for a, row in zip(some, rows)]
        spent = sum(row.seconds for row in rows) / notes.cores
    else:
        some = [job.architecture for job in jobs[: affordable(tabular, seconds, notes.cores)]]
        error = tabular.valid_error[:, config.seed % tabular.seeds].tolist()
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


def _in_time(jobs, notes, trainer, seconds) -> list[TrainedNetwork]:
    """Rows of what can be trained in `seconds` of all cores, with what was trained before a stop; at least one."""
    waiting = {(str(job.architecture), job.seed): job for job in jobs}
    rows = [row for row in notes.found.trained if waiting.pop(row.job, None)]
    left = seconds * notes.cores - sum(row.seconds for row in rows)
    if left > 0 or not rows:
        with closing(trainer(list(waiting.values()))) as training:
            for row in training:
                rows.append(notes.train(row))
                left -= rows[-1].seconds
                if left <= 0:
                    break
    return rows


def affordable(tabular: TabularBenchmark, seconds: float, cores: int) -> int:
    """Return how many networks can be trained from scratch in a time, one a core.

    Args:
        tabular: Its median training time counts.
        seconds: The time.
        cores: Networks trained at once.

    Returns:
        At least 1, at most the size of the space.
    """
    return min(tabular.space.size, max(1, int(cores * seconds / tabular.seconds.median().item())))


# --- resuming ----------------------------------------------------------------------------------------------


def _resumed(out: Path, fresh: Comparison) -> Comparison:
    if not out.exists():
        return fresh
    old = load(out)
    same = {
        "space": old.space.digest == fresh.space.digest,
        "latency table": old.table.to_json() == LatencyTable.from_json(fresh.table.to_json()).to_json(),
        "latency weights": old.latency_weights == fresh.latency_weights,
        **{name: _plain(old.asked.get(name)) == _plain(value) for name, value in fresh.asked.items()},
    }
    if different := [name for name, kept in same.items() if not kept]:
        raise InputError(f"{out} is of another comparison ({', '.join(different)} differ): name another file")
    return replace(old, made=in_sittings(old.made, len(old.rows), fresh.made))


def _plain(value: Any) -> Any:
    """Convert to what comes back from JSON."""
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
