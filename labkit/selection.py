"""The second stage: a search's distribution proposes, short training of each by itself decides.

Shared weights tell good architectures from bad ones and hardly order the good ones among themselves. So the most
probable are judged on the shared weights, and the best of those go on from a copy of them for a short while, each by
itself; every rung trains half as many for twice as long (successive halving, Jamieson and Talwalkar 2016). All of it
is charged.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from labkit.data import ImageSet
from labkit.distributions import ArchDistribution
from labkit.errors import InputError
from labkit.judging import cheapest, judge
from labkit.latency import LatencyTable
from labkit.networks import derive
from labkit.pareto import Point
from labkit.search_config import SelectionConfig
from labkit.searching import SearchResult
from labkit.spaces import Architecture
from labkit.training import error, train

LOOK = 1_000  # most probable architectures among which those in time are looked for


def select(
    found: Sequence[SearchResult],
    data: ImageSet,
    table: LatencyTable,
    config: SelectionConfig = SelectionConfig(),
    *,
    on_rung: Callable[[int, tuple[Point, ...]], None] | None = None,
) -> tuple[SearchResult, ...]:
    """Each result again, with the architecture that the second stage chose, and its share of what that cost added.

    The results are one search's, or those of one sweep: a network that several of them want is trained once. The error
    of the chosen one is of validation images after the last rung, so "short training"; what was trained on the way to
    it is in `judged`.

    Args:
        on_rung: called with a rung's number, from 0, and its trained points.
    """
    if not found:
        raise InputError("a selection needs at least one search result")
    started, supernet = time.perf_counter(), found[0].supernet
    if any(result.supernet is not supernet for result in found):
        raise InputError("results of different shared weights cannot be selected together: select each by itself")
    proposed = [_proposed(result, table, config.scan) for result in found]
    everyone = list(dict.fromkeys(itertools.chain(*proposed)))
    # All results have one judging recipe: they come from one search or sweep.
    scanned = {p.architecture: p for result in found for p in _scanned(result)}
    unknown = [architecture for architecture in everyone if architecture not in scanned]
    scanned |= {p.architecture: p for p in judge(supernet, unknown, data, table, found[0].config)}
    cost = len(unknown) * (found[0].config.judge_images + found[0].config.calibration_images)
    running = [_best(result, [scanned[a] for a in own], config.entrants) for result, own in zip(found, proposed)]

    trained: list[dict[Architecture, Point]] = [{} for _ in found]
    for rung in range(config.rungs):
        images = min(config.images << rung, len(data.train))
        part = replace(data, train=data.train[:images])
        points = {}
        for architecture in dict.fromkeys(itertools.chain(*running)):
            source = supernet if config.first_weights == "shared" else supernet.space
            network = derive(source, architecture, seed=found[0].config.seed)
            train(network, part, config.training, validate="at the end")
            wrong = error(network, data.valid)
            points[architecture] = Point(architecture, wrong, table.table_ms(architecture), "short training")
            cost += 3 * images * config.training.epochs + len(data.valid)
        for own, architectures in zip(trained, running):
            own.update({a: points[a] for a in architectures})
        if on_rung is not None:
            on_rung(rung, tuple(points.values()))
        if rung < config.rungs - 1:
            running = [
                _best(result, [points[a] for a in own], (len(own) + 1) // 2) for result, own in zip(found, running)
            ]
    seconds = time.perf_counter() - started
    return tuple(
        replace(
            result,
            point=cheapest([own[a] for a in last], result.config),
            judged=tuple(own.values()),
            passes=result.passes + cost / len(found),
            seconds=result.seconds + seconds / len(found),
            selection=config,
        )
        for result, own, last in zip(found, trained, running)
    )


def _scanned(result: SearchResult) -> tuple[Point, ...]:
    """What was judged on the shared weights before."""
    return tuple(p for p in result.judged if p.error_from == "supernet")


def _proposed(result: SearchResult, table: LatencyTable, n: int) -> list[Architecture]:
    """The most probable architectures, under a deadline those in time by the table; the search's own choice first.

    Where so many were judged already, as by a random search, the cheapest of those.
    """
    if len(_scanned(result)) >= n:
        return _best(result, _scanned(result), n)
    dist = ArchDistribution(result.supernet.space)
    with torch.no_grad():
        dist.logits.copy_(result.logits)
    likely = itertools.islice(dist.by_probability(), LOOK)
    deadline = result.config.deadline_ms
    fit = (a for a in likely if deadline is None or table.table_ms(a) <= deadline)
    return list(itertools.islice(dict.fromkeys(itertools.chain([result.architecture], fit)), n))


def _best(result: SearchResult, points: Sequence[Point], n: int) -> list[Architecture]:
    """The `n` of least error plus latency cost, the best first."""
    left, chosen = list(points), []
    while left and len(chosen) < n:
        chosen.append(cheapest(left, result.config))
        left.remove(chosen[-1])
    return [point.architecture for point in chosen]
