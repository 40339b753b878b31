"""Judge architectures on shared weights."""

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
JUDGED_AT_ONCE = {"cpu": 64, "cuda": 8_192}


def evaluate(
    supernet: Supernet,
    architectures: Iterable[Architecture],
    data: ImageSet,
    table: LatencyTable,
    config: SearchConfig = SearchConfig(),
    *,
    statistics: str = "re-estimated",
) -> tuple[Point, ...]:
    """Each architecture's validation error on the shared weights (`shared_errors`) and its table latency, in order."""
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
    """Each architecture's validation error on the shared weights, in the order given.

    Batch-norm statistics are first re-estimated for the architecture on training images, as running averages mix all
    of them. Architectures that begin alike share that work, so a whole space of 243 costs a third of 243 networks.

    Args:
        statistics: "running" keeps the supernet's averages, to show what that does.
    """
    if statistics not in ("re-estimated", "running"):
        raise InputError(f"batch-norm statistics are 're-estimated' or 'running'; got {statistics!r}")
    wanted = list(architectures)
    for architecture in wanted:
        supernet.space.check(architecture)
    calibration, images = data.train[: config.calibration_images], data.valid[: config.judge_images]
    judged = _errors if supernet.space.is_chain else _errors_one_by_one
    errors = judged(supernet, wanted, calibration, images, fresh=statistics == "re-estimated")
    return tuple(errors[a] for a in wanted)


def cheapest(points: Iterable[Point], config: SearchConfig) -> Point:
    """The one of least error plus latency cost; the first of equals."""
    return min(points, key=lambda p: p.error + float(config.latency_cost(torch.tensor(p.latency_ms))))


def distinct(space: SearchSpace, n: int, table: LatencyTable, config: SearchConfig) -> list[Architecture]:
    """`n` different architectures, uniform among those in time; all of them when `n` is the size of the space.

    The table tells at no cost who is late, so a fair baseline judges none of those.
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
    at_once, errors = JUDGED_AT_ONCE[images.labels.device.type], {}
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
    """Walk the tree of shared beginnings, depth first, carrying calibration and judged features side by side."""
    net = in_memory_format(copy.deepcopy(supernet), torch.channels_last)
    at_once = JUDGED_AT_ONCE[images.labels.device.type]
    for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.momentum = 1.0  # running statistics become those of the calibration batch
    errors: dict[Architecture, float] = {}

    def through(module: nn.Module, calibrating: Tensor, judged: Tensor) -> tuple[Tensor, Tensor]:
        if fresh:
            calibrating = module.train()(calibrating)
        return calibrating, torch.cat([module.eval()(some) for some in judged.split(at_once)])

    def visit(depth: int, calibrating: Tensor, judged: Tensor, group: list[Architecture]) -> None:
        if depth == len(net.body):
            _, logits = through(net.head, calibrating, judged)
            errors.update(dict.fromkeys(group, (logits.argmax(-1) != images.labels).float().mean().item()))
            return
        edge, module = net.space.edges[depth], net.body[depth]
        if edge.slot is None:
            visit(depth + 1, *through(module, calibrating, judged), group)
            return
        for k, name in enumerate(net.space.slots[edge.slot]):
            chosen = [a for a in group if a.ops[edge.slot] == name]
            if chosen:
                visit(depth + 1, *through(cast(MixedOp, module).ops[k], calibrating, judged), chosen)

    (first, _), (second, _) = (next(part.batches(len(part))) for part in (calibration, images))
    visit(0, first, second, list(dict.fromkeys(architectures)))
    return errors
