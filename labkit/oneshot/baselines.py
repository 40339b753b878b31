"""Baseline searches: with the images, weights and latency table of a search, and with their whole cost counted."""

import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from labkit.blackbox.loop import METHODS, optimize
from labkit.data import ImageSet
from labkit.latency.table import LatencyTable
from labkit.networks.supernet import Supernet
from labkit.oneshot.config import SearchConfig
from labkit.oneshot.evaluation import cheapest, distinct, evaluate
from labkit.oneshot.run import SearchRun
from labkit.oneshot.searching import SearchResult, learning_passes, planned_passes, result_of, resumed
from labkit.pareto import Point
from labkit.spaces import Architecture
from labkit.system.checkpoints import Checkpoints
from labkit.system.errors import InputError, unknown


def random_search(
    supernet: Supernet,
    data: ImageSet,
    table: LatencyTable,
    config: SearchConfig = SearchConfig(),
    *,
    budget: float | None = None,
    checkpoints: Checkpoints | None = None,
    progress: bool = False,
) -> SearchResult:
    """Random search with weight sharing: train on uniform samples, evaluate random architectures, keep the best.

    It has as many weight steps as a search, and spends on evaluation what the architecture steps would have cost.
    A space that fits in the budget is evaluated whole.

    Args:
        supernet: first weights; left unchanged.
        data: images with as many classes as the space.
        table: latency of the operations of the space.
        config: objective and recipe; the estimator is not used.
        budget: cost in image passes; by default that of a UNAS search with the same config.
        checkpoints: where to save, as in `search`.
        progress: show a progress bar.

    Returns:
        The result; `evaluated` holds every architecture that was evaluated.

    Raises:
        InputError: the table is of another space, or no architecture meets the deadline.
    """
    table.check(supernet.space)
    config = config.priced(table.range_ms())
    if config.limit_ms is not None:
        table.check_deadline(config.limit_ms)
    extra_inputs = () if budget is None else ("a budget of its own",)
    budget = planned_passes(supernet, config) if budget is None else budget
    run = resumed(
        SearchRun(supernet, data, replace(config, estimator="reinforce", control_scale=1.0), progress=progress),
        checkpoints,
    )
    points = evaluate(run.learnt, _random(supernet, table, config, budget - run.passes), data, table, config)
    passes = run.passes + len(points) * _each(config)
    found = result_of(run, config, cheapest(points, config), points, passes, "random search")
    return replace(found, extra_inputs=extra_inputs)


def reuse_search(
    found: Sequence[SearchResult],
    data: ImageSet,
    table: LatencyTable,
    *,
    method: str = "random",
    budget: float | None = None,
    seed: int = 0,
) -> tuple[SearchResult, ...]:
    """Black-box search on shared weights that a search or a sweep has trained; the cost of that training is included.

    Each result has the objective of one of `found` and its share of the cost; `evaluated` is the same for all.
    With one objective the search minimises that; with several it approximates the whole front of error and
    milliseconds.

    Args:
        found: what `search` or `sweep` returned.
        data: images with as many classes as the space.
        table: latency of the operations of the space.
        method: one of `blackbox.METHODS`; "random" evaluates the whole space where the budget allows it.
        budget: cost in image passes of everything, by default that of `found`.
        seed: of the black-box search.

    Returns:
        One result for each of `found`, in the same order.

    Raises:
        InputError: the method is unknown, `found` is empty, or no evaluated architecture meets a deadline.
    """
    if method not in METHODS:
        raise unknown("methods are", method, METHODS)
    if not found:
        raise InputError("there are no shared weights to use again: hand over at least one search result")
    started, supernet, configs = time.perf_counter(), found[0].supernet, [result.config for result in found]
    spent = weight_passes(found)
    budget = sum(result.passes for result in found) if budget is None else budget
    alone = configs[0]
    if len(configs) > 1:
        alone = replace(alone, latency_weight=0.0, target_ms=None, deadline_ms=None)
    points = _proposed(supernet, data, table, replace(alone, seed=seed), method, budget - spent, front=len(configs) > 1)
    training = spent / sum(result.passes for result in found) * sum(result.seconds for result in found)
    return tuple(
        replace(
            result,
            point=_in_time(points, result.config),
            logits=torch.zeros_like(result.logits),
            history=(),
            passes=(spent + len(points) * _each(alone)) / len(found),
            seconds=(training + time.perf_counter() - started) / len(found),
            evaluated=points,
            method=f"{method}, shared weights",
            selection=None,
        )
        for result in found
    )


def weight_passes(found: Sequence[SearchResult]) -> float:
    """Cost of training the shared weights of a search or a sweep.

    Args:
        found: results that share one set of weights.

    Returns:
        Image passes, each step counted once.
    """
    config, supernet = found[0].config, found[0].supernet
    phases = {record["step"]: record["phase"] for result in found for record in result.history}
    mixture = sum(phase == "mixture" for phase in phases.values())
    learning = learning_passes(supernet, config) * (len(phases) - mixture)
    return config.batch_size * (3 * supernet.mixed_passes * mixture + learning)


def _each(config: SearchConfig) -> int:
    """Image passes of evaluating an architecture."""
    return config.calibration_images + config.evaluation_images


def _random(supernet: Supernet, table: LatencyTable, config: SearchConfig, passes: float) -> list[Architecture]:
    n = max(1, int(min(passes / _each(config), supernet.space.size)))
    return distinct(supernet.space, n, table, config)


def _proposed(
    supernet: Supernet,
    data: ImageSet,
    table: LatencyTable,
    config: SearchConfig,
    method: str,
    passes: float,
    front: bool,
) -> tuple[Point, ...]:
    if method == "random":
        return evaluate(supernet, _random(supernet, table, config, passes), data, table, config)
    points: dict[Architecture, Point] = {}

    def cost(architecture: Architecture) -> float | tuple[float, float]:
        if architecture not in points:
            (points[architecture],) = evaluate(supernet, [architecture], data, table, config)
        point = points[architecture]
        if front or config.limit_ms is not None:
            return point.error, point.latency_ms
        return point.error + float(config.latency_cost(torch.tensor(point.latency_ms)))

    chance, slowest = 1 - 1 / supernet.space.classes, table.range_ms()[1]
    worst = (chance, slowest) if front or config.limit_ms is not None else None
    calls = max(1, int(passes / _each(config)))
    optimize(
        supernet.space, cost, calls=calls, worst=worst, deadline_ms=config.limit_ms, method=method, seed=config.seed
    )
    return tuple(points.values())


def _in_time(points: Sequence[Point], config: SearchConfig) -> Point:
    deadline = config.limit_ms
    fit = [p for p in points if deadline is None or p.latency_ms <= deadline]
    if not fit:
        raise InputError(f"none of the {len(points)} architectures that were evaluated is within {deadline:g} ms")
    return cheapest(fit, config)
