"""The search: shared weights and architecture logits, learned in turn (UNAS, Vahdat et al. 2020).

Every step takes a training batch and a validation batch. The architecture moves against the gradient of
E[L_gen] + latency; the weights learn on the same relaxed sample, from the very pass that gave that gradient.
"""

import copy
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from labkit import memory
from labkit.data import Images, ImageSet
from labkit.descent import Penalty, most_probable_in_time
from labkit.distributions import ArchDistribution
from labkit.errors import InputError
from labkit.estimators import ESTIMATORS, Cost, Estimator
from labkit.latency import LatencyTable
from labkit.networks import Supernet, frozen_statistics, seeded
from labkit.objectives import Deadline, DualWeight, LatencyCost, generalisation_loss
from labkit.pareto import Point
from labkit.spaces import Architecture, SearchSpace

ONE_HOT_WEIGHTS = (
    "reinforce",
    "reinforce-no-baseline",
)  # these make no relaxed pass for the weights to learn from


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """All that a search depends on besides the space, the data and the table."""

    estimator: str = "unas"  # a name in estimators.ESTIMATORS
    latency_weight: float = 0.0  # error fraction per millisecond
    target_ms: float | None = None  # with one, only milliseconds beyond it cost
    latency_warmup: int = 0  # joint steps over which the latency weight rises from 0 in a line, as published
    deadline_ms: float | None = None  # with one, what is chosen takes no longer
    finalists: int = 8  # most probable architectures in time that are judged at the end, under a deadline
    gap_weight: float = 0.5  # of |L_valid - L_train|, as published
    nats_per_error: float = 6.0  # cross-entropy of a supernet that one unit of error is worth; five_layer: 5 to 10
    mixture_steps: int = 200  # all candidates at equal weights: gets every operation off the plateau
    weight_steps: int = 100  # weights only, on samples
    joint_steps: int = 400  # weights and architecture
    batch_size: int = 128
    weight_lr: float = 4e-3  # at the end of the mixture phase, over which it rises
    weight_decay: float = 1e-2
    clip: float = 1.0  # norm of the weights' gradient
    logit_lr: float = 0.05
    judge_images: int = 1_000  # validation images that judge an architecture on the shared weights
    calibration_images: int = 512  # training images that re-estimate its batch norm first
    seed: int = 0

    def __post_init__(self) -> None:
        if self.estimator not in ESTIMATORS:
            raise InputError(f"estimators are {', '.join(ESTIMATORS)}; got {self.estimator!r}")
        if min(self.mixture_steps, self.weight_steps, self.joint_steps) < 0 or self.batch_size < 2:
            raise InputError("steps are at least 0 and a batch at least 2 images")
        if self.latency_warmup < 0 or self.finalists < 1:
            raise InputError("a latency warm-up is at least 0 steps, and at least one finalist is judged")
        self.latency_cost, self.deadline  # noqa: B018 (checks weight, target and deadline)

    @property
    def latency_cost(self) -> LatencyCost:
        return LatencyCost(self.latency_weight, self.target_ms)

    def latency_cost_at(self, joint_step: int) -> LatencyCost:
        """The latency cost on its way up, before joint step `joint_step` (from 0)."""
        share = min(1.0, joint_step / self.latency_warmup) if self.latency_warmup else 1.0
        return LatencyCost(share * self.latency_weight, self.target_ms)

    @property
    def deadline(self) -> Deadline | None:
        return None if self.deadline_ms is None else Deadline(self.deadline_ms)

    @classmethod
    def fast(cls, **changes: Any) -> "SearchConfig":
        """A shortened search for a live demonstration: seconds, and a worse answer."""
        short = {"mixture_steps": 140, "weight_steps": 30, "joint_steps": 80, "batch_size": 64, "logit_lr": 0.1}
        short |= {"judge_images": 500, "calibration_images": 256}
        return cls(**{**short, **changes})


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What a search found, and enough to judge it. The supernet passed in is left as it was."""

    config: SearchConfig
    point: Point
    logits: Tensor  # (S, K) on the CPU
    history: tuple[dict[str, Any], ...]  # a record a step
    supernet: Supernet  # the trained copy
    passes: float  # cost in image passes: one image forward through one architecture is 1, with backward 3
    seconds: float
    judged: tuple[Point, ...] = ()  # every architecture that was judged on the way, the chosen one among them

    @property
    def architecture(self) -> Architecture:
        return self.point.architecture


def search(
    supernet: Supernet,
    data: ImageSet,
    table: LatencyTable,
    config: SearchConfig = SearchConfig(),
    *,
    measured_ms: Cost | None = None,
    on_step: Callable[[dict[str, Any]], None] | None = None,
    progress: bool = False,
) -> SearchResult:
    """Minimise E[L_gen + latency] over a distribution of architectures, from a copy of `supernet`.

    Args:
        table: latency of op weights. Linear, so without a target its expectation's gradient is exact.
        measured_ms: a black-box latency (N,) of one-hot weights (N, S, K). When given it is what is minimised,
            by an unbiased estimator, with `table` as the control.
        on_step: called with each step's record, for a live plot.
    """
    table.check(supernet.space)
    _check(supernet, data, config)
    run = _Run(supernet, data, config, progress, on_step)
    run.warm_up()
    return run.search(config, table, measured_ms)


def sweep(
    supernet: Supernet,
    data: ImageSet,
    table: LatencyTable,
    latency_weights: Sequence[float],
    config: SearchConfig = SearchConfig(),
    *,
    progress: bool = False,
) -> tuple[SearchResult, ...]:
    """One search a latency weight, all from the same warmed-up weights: the warm-up is paid once."""
    table.check(supernet.space)
    _check(supernet, data, config)
    warm = _Run(supernet, data, config, progress, None)
    warm.warm_up()
    return tuple(warm.fork().search(replace(config, latency_weight=w), table, None) for w in latency_weights)


def random_search(
    supernet: Supernet,
    data: ImageSet,
    table: LatencyTable,
    config: SearchConfig = SearchConfig(),
    *,
    budget: float | None = None,
    progress: bool = False,
) -> SearchResult:
    """The baseline: train the shared weights on uniform one-hot samples, judge random architectures, keep the best.

    It has as many weight steps as a search, and spends what the architecture steps would have cost on judging.
    A space that the budget can scan whole is scanned whole.

    Args:
        budget: image passes; by default those of a UNAS search of the same config.
    """
    table.check(supernet.space)
    _check(supernet, data, config)
    budget = planned_passes(supernet, config) if budget is None else budget
    run = _Run(supernet, data, replace(config, estimator="reinforce"), progress, None)
    run.warm_up()
    for _ in range(config.joint_steps):
        run.weight_step("uniform")
    each = config.calibration_images + config.judge_images
    n = max(1, min(int((budget - run.passes) / each), supernet.space.size))
    candidates = _distinct(supernet.space, n, table, config)
    points = judge(run.supernet, candidates, data, table, config)
    run.passes += len(candidates) * each
    best = _cheapest(points, config)
    logits = ArchDistribution(supernet.space).logits.detach().cpu()
    return run.result(config, best, logits, points)


def train_shared(
    supernet: Supernet,
    data: ImageSet,
    config: SearchConfig = SearchConfig(),
    *,
    sample: str = "one-hot",
    progress: bool = False,
) -> Supernet:
    """A trained copy: the mixture steps, then as many steps as a search has on samples of the uniform distribution.

    Args:
        sample: "one-hot" trains one architecture a step, "relaxed" a mixture near it (temperature 0.4) at the cost of
            all candidates.
    """
    if sample not in ("one-hot", "relaxed"):
        raise InputError(f"weights train on 'one-hot' or on 'relaxed' samples; got {sample!r}")
    _check(supernet, data, config)
    estimator = "reinforce" if sample == "one-hot" else "unas"
    run = _Run(supernet, data, replace(config, estimator=estimator), progress, None)
    run.warm_up()
    for _ in range(config.joint_steps):
        run.weight_step("uniform")
    run.bar.close()
    return run.supernet.to(memory_format=torch.contiguous_format)


def judge(
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
    errors = _errors(supernet, wanted, calibration, images, fresh=statistics == "re-estimated")
    return tuple(errors[a] for a in wanted)


def planned_passes(supernet: Supernet, config: SearchConfig) -> float:
    """Image passes of a UNAS search under `config`: what an equal-cost rival may spend."""
    mixed = _mixed_passes(supernet)
    steps = config.mixture_steps + config.weight_steps
    return config.batch_size * (3 * mixed * steps + (2 + 6 * mixed) * config.joint_steps)


# --- one run --------------------------------------------------------------------------------------------


class _Run:
    """A search in progress: the copies that change, in the order in which they change."""

    def __init__(self, supernet, data, config, progress, on_step):
        self.config, self.data, self.on_step = config, data, on_step
        memory.keep_freed()
        self.supernet = copy.deepcopy(supernet).to(memory_format=torch.channels_last)  # sooner, above all in pooling
        self.dist = ArchDistribution(supernet.space).to(next(supernet.parameters()).device)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.train_batches = _endless(data.train, config.batch_size, self.generator, data.augment)
        self.valid_batches = _endless(data.valid, config.batch_size, self.generator, None)
        self.parameters = list(self.supernet.parameters())
        self.optimizer = torch.optim.AdamW(
            self.parameters, config.weight_lr, weight_decay=config.weight_decay, fused=True
        )
        self.total = max(1, config.mixture_steps + config.weight_steps + config.joint_steps)
        self.history: list[dict[str, Any]] = []
        self.passes = 0.0
        self.progress = progress
        self.bar = tqdm(total=self.total, disable=not progress, desc="search")
        self.started = time.perf_counter()

    def warm_up(self) -> None:
        for _ in range(self.config.mixture_steps):
            self.weight_step("mixture")
        for _ in range(self.config.weight_steps):
            self.weight_step("uniform")

    def fork(self) -> "_Run":
        """A run of its own from here on; the warm-up's cost stays with each."""
        twin = _Run(self.supernet, self.data, self.config, self.progress, self.on_step)
        twin.optimizer.load_state_dict(self.optimizer.state_dict())
        twin.history, twin.passes = list(self.history), self.passes
        twin.bar.update(len(self.history))
        twin.generator.set_state(self.generator.get_state())
        return twin

    def weight_step(self, phase: str) -> None:
        """Weights alone: on the equal mixture of all candidates, or on a sample of the uniform distribution."""
        with seeded(self.config.seed + len(self.history)):
            images, labels = next(self.train_batches)
        sample = self.dist.sample(1, 0.4, self.generator)
        one_hot = self.config.estimator in ONE_HOT_WEIGHTS
        weights = self.dist.probs()[None] if phase == "mixture" else sample.hard if one_hot else sample.soft
        self.supernet.train()
        loss = F.cross_entropy(self.supernet(images, weights.detach()), labels)
        self._apply(torch.autograd.grad(loss, self.parameters, allow_unused=True))
        ran = 1.0 if phase == "uniform" and one_hot else _mixed_passes(self.supernet)
        self.passes += 3 * ran * len(labels)
        self._record(phase, loss.item(), None)

    def search(self, config: SearchConfig, table: LatencyTable, measured_ms: Cost | None) -> SearchResult:
        make = ESTIMATORS[config.estimator]
        estimator, of_latency, of_late = make(), make(), make()  # a baseline, or a scale, for each
        dual = DualWeight(rate=8 / max(1, config.joint_steps))
        logit_optimizer = torch.optim.Adam(self.dist.parameters(), config.logit_lr)
        for joint_step in range(config.joint_steps):
            with seeded(config.seed + len(self.history)):
                train, valid = next(self.train_batches), next(self.valid_batches)
            task = _TaskCost(self.supernet, self.parameters, train, valid, config.gap_weight)
            estimate = estimator(task, self.dist, 1, self.generator)
            cost = config.latency_cost_at(joint_step)
            latency = _latency_gradient(of_latency, self.dist, cost, table, measured_ms, self.generator)
            late = None
            if config.deadline is not None:
                being_late, late = _lateness(of_late, self.dist, config.deadline, table, measured_ms, self.generator)
                latency = latency + dual.weight * being_late
                dual.update(late, config.deadline.allowed)
            self.dist.logits.grad = estimate.gradient + config.nats_per_error * latency
            logit_optimizer.step()
            self._apply(task.weight_gradients or task.one_hot_gradients(self.dist, self.generator))
            self.passes += task.passes
            self._record("joint", task.loss, table(self.dist.probs()[None]).item(), late)
        chosen = [self.dist.mode()]
        if config.deadline is not None:
            in_time = most_probable_in_time(self.dist, measured_ms or table, config.deadline, config.finalists)
            chosen = [architecture for architecture, _ in in_time]
        points = judge(self.supernet, chosen, self.data, table, config)
        if config.deadline is not None:
            self.passes += len(chosen) * (config.calibration_images + config.judge_images)
        return self.result(config, _cheapest(points, config), self.dist.logits.detach().cpu(), points)

    def result(self, config: SearchConfig, point: Point, logits: Tensor, judged: tuple[Point, ...]) -> SearchResult:
        self.bar.close()
        seconds = time.perf_counter() - self.started
        supernet = self.supernet.to(memory_format=torch.contiguous_format)
        return SearchResult(config, point, logits, tuple(self.history), supernet, self.passes, seconds, judged)

    def _apply(self, gradients: Sequence[Tensor | None]) -> None:
        for parameter, gradient in zip(self.parameters, gradients):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.weight_lr * self._share_of_lr()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _share_of_lr(self) -> float:
        """Up in a line over the mixture phase, then a cosine down to a tenth. Begun at the top, it stays at chance."""
        step, rise = len(self.history), self.config.mixture_steps
        if step < rise:
            return (step + 1) / rise
        return 0.55 + 0.45 * math.cos(math.pi * (step - rise) / max(1, self.total - rise))

    def _record(self, phase: str, loss: float, expected_ms: float | None, late: float | None = None) -> None:
        if not math.isfinite(loss):
            raise FloatingPointError(f"the search diverged at step {len(self.history)}: lower weight_lr")
        record = {
            "step": len(self.history),
            "phase": phase,
            "loss": loss,
            "entropy": self.dist.entropy().item(),
            "expected_ms": expected_ms,
            "late": late,
            "probs": self.dist.probs().detach().cpu().flatten().tolist(),
        }
        self.history.append(record)
        self.bar.update()
        self.bar.set_postfix(loss=f"{loss:.2f}", phase=phase, refresh=False)
        if self.on_step is not None:
            self.on_step(record)


class _TaskCost:
    """L_gen of one pair of batches, as a function of op weights (1, S, K).

    One-hot weights are only evaluated. Relaxed ones are differentiated at once: `weight_gradients` keeps what that
    pass says to the shared weights (of L_train alone), and the value returned carries the slope in the op weights.
    So a single mixed pass over the training batch serves the architecture and the weights.
    """

    def __init__(self, supernet: Supernet, parameters: list[Tensor], train, valid, gap_weight: float):
        self.supernet, self.parameters = supernet, parameters
        self.train, self.valid, self.gap_weight = train, valid, gap_weight
        self.weight_gradients: Sequence[Tensor | None] = ()
        self.loss = math.nan
        self.passes = 0.0
        supernet.train()

    def __call__(self, weights: Tensor) -> Tensor:
        return self._relaxed(weights) if weights.requires_grad else self._evaluated(weights)

    def _evaluated(self, weights: Tensor) -> Tensor:
        with torch.no_grad(), frozen_statistics(self.supernet):
            losses = [self._loss(batch, weights) for batch in self._batches()]
        self.passes += sum(len(labels) for _, labels in self._batches())
        return self._gen(losses)[None]

    def _relaxed(self, weights: Tensor) -> Tensor:
        at = weights.detach().requires_grad_()
        train = self._loss(self.train, at)
        slope, *self.weight_gradients = torch.autograd.grad(train, [at, *self.parameters])
        losses, slopes = [train.detach()], [slope]
        if self.gap_weight:
            with frozen_statistics(self.supernet):
                valid = self._loss(self.valid, at)
            losses.append(valid.detach())
            slopes += torch.autograd.grad(valid, [at])
        self.passes += 3 * _mixed_passes(self.supernet) * sum(len(labels) for _, labels in self._batches())
        self.loss = train.item()
        # L_gen by its value and its first derivative at `weights`: all that a gradient estimator reads.
        leaves = [loss.requires_grad_() for loss in losses]
        value = self._gen(leaves)
        factors = torch.autograd.grad(value, leaves)
        slope = sum(factor * part for factor, part in zip(factors, slopes))
        return value.detach() + ((weights - weights.detach()) * slope).sum((-1, -2))

    def one_hot_gradients(self, dist: ArchDistribution, generator: torch.Generator) -> Sequence[Tensor | None]:
        """For the weights, when the estimator made no relaxed pass: one pass on a fresh one-hot sample."""
        loss = self._loss(self.train, dist.sample(1, 1.0, generator).hard)
        self.passes += 3 * len(self.train[1])
        self.loss = loss.item()
        return torch.autograd.grad(loss, self.parameters, allow_unused=True)

    def _batches(self):
        return (self.train, self.valid) if self.gap_weight else (self.train,)

    def _loss(self, batch: tuple[Tensor, Tensor], weights: Tensor) -> Tensor:
        images, labels = batch
        return F.cross_entropy(self.supernet(images, weights), labels)

    def _gen(self, losses: Sequence[Tensor]) -> Tensor:
        return generalisation_loss(*losses, self.gap_weight) if self.gap_weight else losses[0]


def _latency_gradient(
    estimator: Estimator,
    dist: ArchDistribution,
    cost: LatencyCost,
    table: LatencyTable,
    measured_ms: Cost | None,
    generator: torch.Generator,
) -> Tensor:
    """(S, K) gradient of E[cost of the latency], in error fraction."""
    if cost.weight == 0:
        return torch.zeros_like(dist.logits)
    if measured_ms is not None:  # one real measurement a step, as published
        black_box = lambda weights: cost(measured_ms(weights))
        return estimator(black_box, dist, 1, generator, control=lambda weights: cost(table(weights))).gradient
    if cost.linear:  # the table's expectation is in closed form
        return torch.autograd.grad(cost(table(dist.probs()[None])).sum(), dist.logits)[0]
    return estimator(lambda weights: cost(table(weights)), dist, 64, generator).gradient  # a table look-up is free


def _lateness(
    estimator: Estimator,
    dist: ArchDistribution,
    deadline: Deadline,
    table: LatencyTable,
    measured_ms: Cost | None,
    generator: torch.Generator,
) -> tuple[Tensor, float]:
    """Gradient (S, K) of the expected penalty, with the table's smooth one as its control; share of the draws late."""
    low, high = table.range_ms()
    ms, draws = (table, 64) if measured_ms is None else (measured_ms, 1)  # a table look-up is free
    penalty = Penalty(ms, deadline)
    smooth = lambda weights: deadline.smooth_penalty(table(weights), (high - low) / 20)
    gradient = estimator(penalty, dist, draws, generator, smooth).gradient
    return gradient, penalty.shares[-1] if penalty.shares else deadline.late(table(dist.probs()[None])).item()


def _cheapest(points: Iterable[Point], config: SearchConfig) -> Point:
    return min(points, key=lambda p: p.error + float(config.latency_cost(torch.tensor(p.latency_ms))))


@torch.no_grad()
def _errors(
    supernet: Supernet, architectures: list[Architecture], calibration: Images, images: Images, *, fresh: bool
) -> dict[Architecture, float]:
    """Walk the tree of shared beginnings, depth first, carrying calibration and judged features side by side."""
    net = copy.deepcopy(supernet).to(memory_format=torch.channels_last)
    for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.momentum = 1.0  # running statistics become those of the calibration batch
    errors: dict[Architecture, float] = {}

    def through(module: nn.Module, calibrating: Tensor, judged: Tensor) -> tuple[Tensor, Tensor]:
        return module.train()(calibrating) if fresh else calibrating, module.eval()(judged)

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
                visit(depth + 1, *through(module.ops[k], calibrating, judged), chosen)

    (first, _), (second, _) = (next(part.batches(len(part))) for part in (calibration, images))
    visit(0, first, second, list(dict.fromkeys(architectures)))
    return errors


def _distinct(space: SearchSpace, n: int, table: LatencyTable, config: SearchConfig) -> list[Architecture]:
    """`n` different architectures, uniform among those in time; all of them when `n` is the size of the space.

    The table tells at no cost who is late, so a fair rival judges none of those.
    """
    in_time = lambda a: config.deadline is None or table.table_ms(a) <= config.deadline.deadline_ms
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
            f"no architecture of {space.name} was found that takes at most {config.deadline_ms:g} ms: the fastest "
            f"takes {fastest:.3g} ms by the table; set a later deadline"
        )
    return list(found)


def _mixed_passes(supernet: Supernet) -> float:
    """How many architectures' work a mixed pass does: the mean number of candidates."""
    return supernet.space.mask.sum().item() / len(supernet.space.slots)


def _endless(images: Images, size: int, generator: torch.Generator, augment) -> Iterator[tuple[Tensor, Tensor]]:
    return itertools.chain.from_iterable(images.batches(size, generator, augment) for _ in itertools.count())


def _check(supernet: Supernet, data: ImageSet, config: SearchConfig) -> None:
    if len(data.classes) != supernet.space.classes:
        raise InputError(
            f"{data.name} has {len(data.classes)} classes, the space {supernet.space.classes}: "
            f"make the space with classes={len(data.classes)}"
        )
    small = min(len(data.train), len(data.valid))
    if small < config.batch_size:
        raise InputError(f"a batch of {config.batch_size} needs as many images in each part; {data.name} has {small}")
