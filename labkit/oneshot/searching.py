"""The search: shared weights and architecture logits, learned together (UNAS, Vahdat et al. 2020).

Every step takes a training batch and a validation batch. The logits move against the gradient of
E[L_gen] + latency; the shared weights learn on the same relaxed sample, from the same pass.
Under a deadline, or a target without a latency weight, the policy is held at that limit (`limits`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from labkit.data import ImageSet
from labkit.estimators.descent import most_probable_in_time
from labkit.estimators.gradient_estimators import Cost
from labkit.latency.table import LatencyTable
from labkit.networks.supernet import Supernet, in_memory_format
from labkit.oneshot.config import WEIGHTS_ON, SearchConfig, SelectionConfig
from labkit.oneshot.evaluation import cheapest, evaluate
from labkit.oneshot.limits import Limit
from labkit.oneshot.proposals import just_inside
from labkit.oneshot.run import SearchRun
from labkit.pareto import Point
from labkit.spaces import Architecture
from labkit.system.checkpoints import Checkpoint, Checkpoints
from labkit.system.errors import InputError
from labkit.system.interrupts import Stopped

MAY_CHANGE = (  # on the way: what a search that is taken up from another's checkpoint may have of its own
    "latency table", "measured latency", "estimator", "latency_weight", "target_ms", "latency_warmup", "deadline_ms",
    "finalists", "gap_weight", "gap", "task_cost", "nats_per_error", "control_scale", "softening", "architectures",
    "weights_on", "weight_average", "logit_lr", "logit_lr_end", "evaluation_images", "calibration_images",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The result of a search, with all that an evaluation of it needs."""

    config: SearchConfig
    point: Point
    logits: Tensor  # (S, K) on the CPU
    history: tuple[dict[str, Any], ...]  # a record a step
    supernet: Supernet  # the trained copy
    passes: float  # cost in image passes: one image forward through one architecture is 1, with backward 3
    seconds: float
    evaluated: tuple[Point, ...] = ()  # every architecture that was evaluated on the way, the chosen one among them
    method: str = "search"  # or "sweep"; of a baseline "random search" and such, or "evolution, shared weights"
    first_weights: str = ""  # `networks.weights_hash` of the supernet passed in
    selection: SelectionConfig | None = None  # of the second stage, where there was one
    extra_inputs: tuple[str, ...] = ()  # what it followed that no saved run holds, such as "a black-box latency"

    @property
    def architecture(self) -> Architecture:
        """What the search chose."""
        return self.point.architecture


def search(
    supernet: Supernet,
    data: ImageSet,
    table: LatencyTable,
    config: SearchConfig = SearchConfig(),
    *,
    measured_ms: Cost | None = None,
    checkpoints: Checkpoints | None = None,
    start: Checkpoint | None = None,
    on_step: Callable[[dict[str, Any]], None] | None = None,
    progress: bool = False,
) -> SearchResult:
    """Minimise E[L_gen + latency] over a distribution of architectures.

    Args:
        supernet: first weights; left unchanged.
        data: images with as many classes as the space.
        table: latency of op weights. It is linear, so without a target the gradient of its expectation is exact.
        config: objective and recipe.
        measured_ms: black-box latency (N,), in milliseconds, of one-hot weights (N, S, K). When given, the search
            minimises it with an unbiased estimator, and `table` is the control variate. Under a limit it is called once
            per step, and the limit is held by its values.
        checkpoints: where to save. A stopped search resumes from there and ends with the same bits, on one machine,
            with one number of threads and a black box that repeats its values.
        start: checkpoint of another search with the same weights, images and steps so far; this search continues from
            it with its own estimator, latency weight, target or deadline.
        on_step: called with the record of each step, for a live plot.
        progress: show a progress bar.

    Returns:
        The result: the chosen architecture, the trained supernet and the history.

    Raises:
        InputError: table, images or estimator do not fit the space or the objective, or the search diverged.
        Stopped: after an interrupt.
    """
    run = SearchRun(supernet, data, config, table, measured_ms, on_step=on_step, progress=progress)
    if start is not None:
        run.restore(start, changed=MAY_CHANGE)
    given = {"a black-box latency": measured_ms, "a checkpoint of another search": start}
    extra_inputs = tuple(name for name, value in given.items() if value is not None)
    return replace(_found(resumed(run, checkpoints)), extra_inputs=extra_inputs)


def sweep(
    supernet: Supernet,
    data: ImageSet,
    table: LatencyTable,
    latency_weights: Sequence[float] = (),
    config: SearchConfig = SearchConfig(),
    *,
    targets_ms: Sequence[float] = (),
    deadlines_ms: Sequence[float] = (),
    checkpoints: Checkpoints | None = None,
    on_step: Callable[[dict[str, Any]], None] | None = None,
    progress: bool = False,
) -> tuple[SearchResult, ...]:
    """One search for several objectives: shared weights are trained once, and each objective has a distribution.

    There is a controller for each latency weight, then for each target (with the latency weight of the config; a hard
    limit without one), then for each deadline. They sample in turn, over twice as many joint steps as one search has,
    so a sweep costs less than two searches. A sample of one controller also teaches the others, through an additive
    control variate (`controllers.shared`): each moves at every step, without bias.

    Args:
        supernet: first weights; left unchanged.
        data: images with as many classes as the space.
        table: latency of op weights.
        latency_weights: in error fraction per millisecond.
        config: recipe of all.
        targets_ms: latency targets.
        deadlines_ms: hard limits.
        checkpoints: where to save, as in `search`.
        on_step: as in `search`; a record names the controller that sampled.
        progress: show a progress bar.

    Returns:
        One result for each objective, in the order above.

    Raises:
        InputError: there is no objective, or as in `search`.
        Stopped: after an interrupt.
    """
    aims = [replace(config, latency_weight=weight, target_ms=None, deadline_ms=None) for weight in latency_weights]
    aims += [replace(config, target_ms=target, deadline_ms=None) for target in targets_ms]
    aims += [replace(config, target_ms=None, deadline_ms=deadline) for deadline in deadlines_ms]
    if not aims:
        raise InputError("a sweep needs latency weights, targets or deadlines: at least one of any")
    longer = replace(config, joint_steps=min(len(aims), 2) * config.joint_steps)
    run = SearchRun(supernet, data, longer, table, aims=aims, on_step=on_step, progress=progress)
    resumed(run, checkpoints)
    return tuple(_found(run, which) for which in range(len(aims)))


def train_shared(
    supernet: Supernet,
    data: ImageSet,
    config: SearchConfig = SearchConfig(),
    *,
    sample: str = "one-hot",
    progress: bool = False,
) -> Supernet:
    """Train shared weights without a search: the mixture steps, then as many steps as a search has on uniform samples.

    Args:
        supernet: first weights; left unchanged.
        data: images with as many classes as the space.
        config: recipe.
        sample: as `SearchConfig.learns_on`: "one-hot" trains one architecture per step, "relaxed" a mixture near it
            (temperature 0.4) at the cost of all candidates, "fair", "distilled".
        progress: show a progress bar.

    Returns:
        A trained copy.

    Raises:
        InputError: `sample` is unknown.
    """
    if sample not in WEIGHTS_ON[1:]:
        raise InputError(f"weights train on samples that are {', '.join(WEIGHTS_ON[1:])}; got {sample!r}")
    run = SearchRun(supernet, data, replace(config, weights_on=sample), progress=progress).advance()
    run.bar.close()
    return in_memory_format(run.learnt, torch.contiguous_format)


def planned_passes(supernet: Supernet, config: SearchConfig) -> float:
    """The cost of a UNAS search: what a baseline of equal cost may spend.

    With several architectures per step it is the cost of uniform samples.

    Args:
        supernet: gives the cost of a pass.
        config: recipe.

    Returns:
        Image passes; one image forward through one architecture is 1.
    """
    mixed, drawn = supernet.mixed_passes, supernet.drawn_passes(config.architectures)
    learning = learning_passes(supernet, config)
    joint = 2 * drawn + 6 * mixed + (0 if config.learns_on == "relaxed" else learning)
    if config.gap_weight and (config.gap == "paired" or config.architectures > 1):
        joint += 2 * mixed  # images differ in what they weigh, so the training pass goes back twice
    steps = 3 * mixed * config.mixture_steps + learning * config.weight_steps + joint * config.joint_steps
    return config.batch_size * steps


def learning_passes(supernet: Supernet, config: SearchConfig) -> float:
    """The cost of one step of the shared weights alone, after the mixture phase.

    Args:
        supernet: gives the cost of a pass.
        config: recipe.

    Returns:
        Passes per image.
    """
    mixed, drawn = supernet.mixed_passes, supernet.drawn_passes(config.architectures)
    each = {"relaxed": 3 * mixed, "one-hot": 3 * drawn, "fair": 3 * supernet.space.mask.shape[1]}
    return each.get(config.learns_on, 3 * drawn + mixed)


def resumed(run: SearchRun, checkpoints: Checkpoints | None) -> SearchRun:
    """Run a search to its last step, from the newest checkpoint if there is one.

    Args:
        run: a new run.
        checkpoints: where to save, if anywhere.

    Returns:
        The same run, after its last step.

    Raises:
        Stopped: after an interrupt.
    """
    if checkpoints is not None:
        if (newest := checkpoints.newest()) is not None:
            run.restore(newest)
        return run.advance(checkpoints=checkpoints)
    try:
        return run.advance()
    except KeyboardInterrupt:
        came = f"stopped after step {run.step} of {run.config.steps}"
        raise Stopped(came, "nothing is kept: with checkpoints= the same call would resume") from None


def _found(run: SearchRun, which: int = 0) -> SearchResult:
    """The most probable architecture; under a limit the best of those that the policy proposes just inside it."""
    controller = run.controllers[which]
    config, dist = controller.config, controller.dist
    if (table := run.table) is None:
        raise InputError("a search needs the latency table of its space: without one only weights are trained")
    chosen, evaluating = [dist.mode()], 0
    if controller.limit is not None:
        chosen = _in_time(run, controller.limit, table, config)
        evaluating = len(chosen) * (config.calibration_images + config.evaluation_images)
    points = evaluate(run.learnt, chosen, run.data, table, config)
    passes = run.passes / len(run.controllers) + evaluating  # each answers for its share
    method = "search" if len(run.controllers) == 1 else "sweep"
    return result_of(run, config, cheapest(points, config), points, passes, method, which)


def _in_time(run: SearchRun, limit: Limit, table: LatencyTable, config: SearchConfig) -> list[Architecture]:
    """The finalists: in time by the stopwatch, where there is one, and else by the table."""
    dist, deadline, black_box = limit.dist, limit.deadline, run.measured_ms or table
    generator = torch.Generator().manual_seed(config.seed)
    proposed = just_inside(dist, limit.model(table), deadline.deadline_ms, config.finalists, generator)
    takes = lambda a: black_box(dist.space.encode(a).to(dist.logits)[None]).item()
    in_time = [a for a in proposed if takes(a) <= deadline.deadline_ms]
    if len(in_time) < config.finalists:  # of the others the most probable
        try:
            likely = most_probable_in_time(dist, black_box, deadline, config.finalists)
        except InputError:
            if not in_time:
                raise
            likely = []
        in_time = list(dict.fromkeys([*in_time, *(a for a, _ in likely)]))[: config.finalists]
    return in_time


def result_of(
    run: SearchRun,
    config: SearchConfig,
    point: Point,
    evaluated: tuple[Point, ...],
    passes: float,
    method: str,
    which: int = 0,
) -> SearchResult:
    """The result of a run that is over.

    Args:
        run: after its last step.
        config: objective of the result.
        point: the chosen architecture.
        evaluated: all points that were evaluated.
        passes: cost in image passes.
        method: name of the method.
        which: index of the controller.

    Returns:
        The result.
    """
    run.bar.close()
    supernet = in_memory_format(run.learnt, torch.contiguous_format)
    logits = run.controllers[which].dist.logits.detach().cpu()
    history = tuple(record for record in run.history if record.get("controller", which) in (which, None))
    first, share = run.ingredients["first weights"], 1 / len(run.controllers)
    return SearchResult(config, point, logits, history, supernet, passes, share * run.seconds, evaluated, method, first)
