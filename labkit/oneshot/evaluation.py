"""Evaluate architectures with shared weights."""

import copy
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from labkit.data import Images, ImageSet
from labkit.latency.table import LatencyTable
from labkit.networks.supernet import MixedOp, Supernet, derive, in_memory_format
from labkit.oneshot.config import SearchConfig
from labkit.pareto import Point
from labkit.spaces import Architecture, SearchSpace
from labkit.system.errors import InputError

# Images. On a CPU what a block of layers makes of so few stays in the cache, twice as fast; a GPU wants them all.
EVALUATED_AT_ONCE = {"cpu": 64, "cuda": 8_192}


def evaluate(
    supernet: Supernet,
    architectures: Iterable[Architecture],
    data: ImageSet,
    table: LatencyTable,
    config: SearchConfig = SearchConfig(),
    *,
    statistics: str = "re-estimated",
) -> tuple[Point, ...]:
    """Evaluate architectures: the validation error with shared weights, and the milliseconds of the table.

    Args:
        supernet: the shared weights; left unchanged.
        architectures: of the space of the supernet.
        data: images.
        table: latency of the operations.
        config: gives the numbers of images.
        statistics: as in `shared_errors`.

    Returns:
        One point for each architecture, in order.

    Raises:
        InputError: an architecture is not of this space.
    """
    wanted = list(architectures)
    errors = shared_errors(supernet, wanted, data, config, statistics=statistics)
    return tuple(Point(a, error, table.table_ms(a)) for a, error in zip(wanted, errors))


def shared_errors(
    supernet: Supernet,
    architectures: Iterable[Architecture],
    data: ImageSet,
    config: SearchConfig = SearchConfig(),
    *,
    statistics: str = "re-estimated",
) -> tuple[float, ...]:
    """Validation errors of architectures with shared weights.

    The batch-norm statistics are first re-estimated for each architecture on training images, because running averages
    mix all architectures. Architectures with a common beginning share that work: all 243 of the five-layer space cost
    as much as a third of 243 separate networks.

    Args:
        supernet: the shared weights; left unchanged.
        architectures: of the space of the supernet.
        data: images.
        config: gives the numbers of images.
        statistics: "re-estimated", or "running" for the averages of the supernet, to demonstrate their effect.

    Returns:
        Error fractions, in the order of `architectures`.

    Raises:
        InputError: an architecture is not of this space, or `statistics` is unknown.
    """
    if statistics not in ("re-estimated", "running"):
        raise InputError(f"batch-norm statistics are 're-estimated' or 'running'; got {statistics!r}")
    wanted = list(architectures)
    for architecture in wanted:
        supernet.space.check(architecture)
    calibration, images = data.train[: config.calibration_images], data.valid[: config.evaluation_images]
    evaluated = _errors if supernet.space.is_chain else _errors_one_by_one
    errors = evaluated(supernet, wanted, calibration, images, fresh=statistics == "re-estimated")
    return tuple(errors[a] for a in wanted)


def cheapest(points: Iterable[Point], config: SearchConfig) -> Point:
    """The point with the smallest error plus latency cost.

    Args:
        points: at least one.
        config: gives the latency cost.

    Returns:
        The first of equal points.
    """
    return min(points, key=lambda p: p.error + float(config.latency_cost(torch.tensor(p.latency_ms))))


def distinct(space: SearchSpace, n: int, table: LatencyTable, config: SearchConfig) -> list[Architecture]:
    """Sample different architectures that meet the limit of the config by the table.

    The table is free, so a fair baseline evaluates no architecture that is too slow.

    Args:
        space: the search space.
        n: how many; all of the space when `n` is at least its size.
        table: latency of the operations.
        config: gives the limit and the seed.

    Returns:
        At most `n` architectures: fewer where 1,000 rounds of samples found fewer.

    Raises:
        InputError: no architecture meets the limit.
    """
    in_time = lambda a: config.limit_ms is None or table.table_ms(a) <= config.limit_ms
    generator = torch.Generator().manual_seed(config.seed)
    found: dict[Architecture, None] = {}
    if n >= space.size:
        found = dict.fromkeys(filter(in_time, space))
    for _ in range(1_000):  # rounds, should hardly any be in time
        if n >= space.size or len(found) == n:
            break
        found.update(dict.fromkeys(filter(in_time, space.sample(n - len(found), generator))))
    if not found:
        fastest, _ = table.range_ms()
        raise InputError(
            f"no architecture of {space.name} was found that takes at most {config.limit_ms:g} ms: the fastest "
            f"takes {fastest:.3g} ms by the table; set a later deadline"
        )
    return list(found)


@torch.no_grad()
def _errors_one_by_one(
    supernet: Supernet, architectures: list[Architecture], calibration: Images, images: Images, *, fresh: bool
) -> dict[Architecture, float]:
    """Cells have no beginnings to share: every state is read by whoever chose it."""
    (first, _), (second, _) = (next(part.batches(len(part))) for part in (calibration, images))
    at_once, errors = EVALUATED_AT_ONCE[images.labels.device.type], {}
    for architecture in dict.fromkeys(architectures):
        network = in_memory_format(derive(supernet, architecture), torch.channels_last)
        for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.momentum = 1.0
        if fresh:
            network.train()(first)
        network.eval()
        logits = torch.cat([network(some) for some in second.split(at_once)])
        errors[architecture] = (logits.argmax(-1) != images.labels).float().mean().item()
    return errors


@torch.no_grad()
def _errors(
    supernet: Supernet, architectures: list[Architecture], calibration: Images, images: Images, *, fresh: bool
) -> dict[Architecture, float]:
    """Walk the tree of shared beginnings, depth first, carrying calibration and evaluated features side by side."""
    net = in_memory_format(copy.deepcopy(supernet), torch.channels_last)
    at_once = EVALUATED_AT_ONCE[images.labels.device.type]
    for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.momentum = 1.0  # running statistics become those of the calibration batch
    errors: dict[Architecture, float] = {}

    def through(module: nn.Module, calibrating: Tensor, evaluated: Tensor) -> tuple[Tensor, Tensor]:
        if fresh:
            calibrating = module.train()(calibrating)
        return calibrating, torch.cat([module.eval()(some) for some in evaluated.split(at_once)])

    def visit(depth: int, calibrating: Tensor, evaluated: Tensor, group: list[Architecture]) -> None:
        if depth == len(net.body):
            _, logits = through(net.head, calibrating, evaluated)
            errors.update(dict.fromkeys(group, (logits.argmax(-1) != images.labels).float().mean().item()))
            return
        edge, module = net.space.edges[depth], net.body[depth]
        if edge.slot is None:
            visit(depth + 1, *through(module, calibrating, evaluated), group)
            return
        for k, name in enumerate(net.space.slots[edge.slot]):
            chosen = [a for a in group if a.ops[edge.slot] == name]
            if chosen:
                visit(depth + 1, *through(cast(MixedOp, module).ops[k], calibrating, evaluated), chosen)

    (first, _), (second, _) = (next(part.batches(len(part))) for part in (calibration, images))
    visit(0, first, second, list(dict.fromkeys(architectures)))
    return errors
