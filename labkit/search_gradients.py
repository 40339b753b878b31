"""What a step of a search follows: the task's cost of two batches, and the gradients of latency and lateness."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.descent import Penalty
from labkit.distributions import ArchDistribution
from labkit.estimators import Cost, Estimator
from labkit.latency import LatencyTable
from labkit.networks import Supernet, frozen_statistics, held
from labkit.objectives import Deadline, LatencyCost, generalisation_loss
from labkit.search_config import SearchConfig


class TaskCost:
    """L_gen of one pair of batches, as a function of op weights (1, S, K).

    One-hot weights are only evaluated. Relaxed ones are differentiated at once: `weight_gradients` keeps what that
    pass says to the shared weights (of L_train alone), and the value returned carries the slope in the op weights.
    So a single mixed pass over the training batch serves the architecture and the weights.

    Where the config says that the task costs error, one-hot weights give the share of images misclassified in L_gen's
    form, and relaxed ones L_gen over `nats_per_error`: a control with a slope for a cost without one.
    """

    def __init__(self, supernet: Supernet, parameters: list[Tensor], train, valid, config: SearchConfig):
        self.supernet, self.parameters = supernet, parameters
        self.train, self.valid, self.gap_weight = train, valid, config.gap_weight
        self.drawn = F.cross_entropy if config.task_cost == "cross-entropy" else misclassified
        self.units = config.task_units / config.nats_per_error  # of the relaxed cost, in the cost's own
        self.weight_gradients: Sequence[Tensor | None] = ()
        self.loss = math.nan
        self.sampled: list[int] | None = None  # candidate of each slot in the last one-hot pass
        self.passes = 0.0
        supernet.train()

    def __call__(self, weights: Tensor) -> Tensor:
        return self._relaxed(weights) if weights.requires_grad else self._evaluated(weights)

    def _evaluated(self, weights: Tensor) -> Tensor:
        self.sampled = weights[0].argmax(-1).tolist()
        with torch.no_grad(), frozen_statistics(self.supernet):
            losses = [self.drawn(self.supernet(images, weights), labels) for images, labels in self._batches()]
        self.passes += sum(len(labels) for _, labels in self._batches())
        return self._gen(losses)[None]

    def _relaxed(self, weights: Tensor) -> Tensor:
        at = weights.detach().requires_grad_()
        train = self._loss(self.train, at)
        slope, *self.weight_gradients = torch.autograd.grad(train, [at, *self.parameters])
        losses, slopes = [train.detach()], [slope]
        if self.gap_weight:
            with frozen_statistics(self.supernet), held(self.parameters):
                valid = self._loss(self.valid, at)
            losses.append(valid.detach())
            slopes += torch.autograd.grad(valid, [at])
        self.passes += 3 * self.supernet.mixed_passes * sum(len(labels) for _, labels in self._batches())
        self.loss = train.item()
        # L_gen by its value and its first derivative at `weights`: all that a gradient estimator reads.
        leaves = [loss.requires_grad_() for loss in losses]
        value = self._gen(leaves)
        factors = torch.autograd.grad(value, leaves)
        slope = sum(factor * part for factor, part in zip(factors, slopes))
        return self.units * (value.detach() + ((weights - weights.detach()) * slope).sum((-1, -2)))

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


def misclassified(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of the images whose largest logit is not their label's."""
    return (logits.argmax(-1) != labels).to(logits).mean()


def latency_gradient(
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


def lateness(
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
