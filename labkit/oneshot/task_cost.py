"""The gradients of one search step: of the task cost on two batches, and of the latency."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.estimators.costs import LatencyCost, generalisation_loss
from labkit.estimators.distributions import ArchDistribution
from labkit.estimators.gradient_estimators import Cost, Estimator
from labkit.latency.table import LatencyTable
from labkit.networks.supernet import Supernet, frozen_parameters, frozen_statistics
from labkit.oneshot.config import SearchConfig
from labkit.runtimes.cuda_graphs import eager


class TaskCost:
    """L_gen of one pair of batches, as a function of op weights (N, S, K) -> (N,), whose rows share the images equally.

    One-hot weights are only evaluated. Relaxed ones are differentiated at once: `weight_gradients` keeps what that
    pass says to the shared weights (of L_train alone), and the value returned carries the gradient in the op weights.
    So a single mixed pass over the training batch serves the architecture and the weights.

    Where the config says that the task costs error, one-hot weights give the share of images misclassified in L_gen's
    form, and relaxed ones L_gen over `nats_per_error`: a differentiable control for a cost that is not.
    With several rows, batch norm mixes the images of all of them, as published: what an image costs then depends a
    little on what others drew, which the estimator does not know.
    """

    def __init__(
        self,
        supernet: Supernet,
        parameters: Sequence[Tensor],
        train: tuple[Tensor, Tensor],
        valid: tuple[Tensor, Tensor] | None,
        config: SearchConfig,
        launch: Callable = eager,
    ):
        """Take the batches of one step.

        Args:
            supernet: the shared weights; put into training mode.
            parameters: the shared weights that learn.
            train: images and labels of the training batch.
            valid: those of the validation batch; None without a generalisation gap.
            config: recipe.
            launch: `cuda_graphs.eager`, or a `Recorder` that serves all steps of a search.
        """
        self.supernet, self.parameters, self.launch = supernet, parameters, launch
        self.train, self.valid, self.gap_weight = train, valid, config.gap_weight
        self.paired = config.gap == "paired"
        self.relaxed_teach = config.learns_on == "relaxed"
        self.drawn = cross_entropies if config.task_cost == "cross-entropy" else misclassified
        self.units = config.task_units / config.nats_per_error  # of the relaxed cost, in the cost's own
        self.weight_gradients: Sequence[Tensor | None] = ()
        self.loss = math.nan
        self.sampled: list[list[int]] = []  # candidate of each slot, of each row of the last one-hot pass
        self.costs: list[float] = []  # of those rows
        # Means over the training images and, with a gap, the validation images: of each row of the last one-hot pass,
        # in the cost's unit; and of the last relaxed pass, in nats.
        self.drawn_losses: list[list[float]] = []
        self.relaxed_losses: list[float] = []
        self.passes = 0.0
        if not supernet.training:
            supernet.train()

    def __call__(self, weights: Tensor) -> Tensor:
        return self._relaxed(weights) if weights.requires_grad else self._evaluated(weights)

    def _evaluated(self, weights: Tensor) -> Tensor:
        # Operations are recorded as leaving the statistics alone; else each pass has to see to it.
        plain = self.launch is eager
        with torch.no_grad(), frozen_statistics(self.supernet) if plain else nullcontext():
            how = {} if plain else {"run": self._run}
            losses = [self._each_image(batch, weights, self.drawn, **how) for batch in self._batches()]
            read = torch.stack([self._gen(losses), *(loss.mean(-1) for loss in losses)]).to(weights.device)  # at once
        self.sampled, (self.costs, *means) = weights.argmax(-1).tolist(), read.tolist()
        self.drawn_losses = [list(row) for row in zip(*means)]
        self.passes += self.supernet.weighted_passes(weights) * self._images()
        return read[0]

    def _run(self, module: nn.Module, x: Tensor) -> Tensor:
        return x if isinstance(module, nn.Identity) else self.launch(module, partial(_leaving_statistics, module), x)

    def _relaxed(self, weights: Tensor) -> Tensor:
        tensors = [tensor for batch in self._batches() for tensor in batch]
        at, statistics = weights.detach().to(tensors[0].device), self.supernet.buffers
        means, value, gradient, *gradients = self.launch("relaxed", self._gradients, at, *tensors, changes=statistics)
        self.weight_gradients, self.relaxed_losses = gradients, means.tolist()
        self.loss = self.relaxed_losses[0]
        images = len(self.train[1])
        self.passes += self.supernet.mixed_passes * (3 * self._images() + (0 if self._alike(at) else 2) * images)
        value, gradient = value.to(weights.device), gradient.to(weights.device)
        return self.units * (value + ((weights - weights.detach()) * gradient).sum((-1, -2)))

    def _gradients(self, at: Tensor, *tensors: Tensor) -> list[Tensor]:
        """Mean losses, L_gen (N,), its gradient (N, S, K) in op weights `at`, that of L_train in the shared weights.

        L_gen by its value and its first derivative: all that a gradient estimator reads.
        """
        at, alike = at.detach().requires_grad_(), self._alike(at)
        taught = self.parameters if self.relaxed_teach else []
        with nullcontext() if taught else frozen_parameters(self.parameters):
            train = self._each_image(tensors[:2], at, cross_entropies)
        gradient, *gradients = torch.autograd.grad(train.mean(), [at, *taught], retain_graph=not alike)
        losses = [train.detach()]
        if self.gap_weight:
            with frozen_statistics(self.supernet), frozen_parameters(self.parameters):
                valid = self._each_image(tensors[2:], at, cross_entropies)
            losses.append(valid.detach())
        leaves = [loss.requires_grad_() for loss in losses]
        value = self._gen(leaves)
        factors = torch.autograd.grad(value.sum(), leaves)
        gradient = factors[0].sum() * gradient if alike else torch.autograd.grad(train, at, factors[0])[0]
        if self.gap_weight:
            gradient = gradient + torch.autograd.grad(valid, at, factors[1])[0]
        means = torch.stack([loss.detach().mean() for loss in losses])
        return [means, value.detach(), gradient, *gradients]

    def _alike(self, weights: Tensor) -> bool:
        """Whether every training image weighs the same in L_gen, so that one backward pass gives both gradients."""
        return not self.gap_weight or (len(weights) == 1 and not self.paired)

    def gradients_on(self, weights: Tensor, teacher: Tensor | None = None) -> list[Tensor | None]:
        """Gradients of L_train for the shared weights, where no relaxed pass gives them.

        Args:
            weights: op weights (N, S, K).
            teacher: op weights (1, S, K); with them, half of the loss is the cross-entropy to their predictions.

        Returns:
            One gradient for each of `parameters`; None where a parameter was not used.
        """
        mixtures = [weights] if teacher is None else [weights, teacher]
        everything = all(bool(((w != 0) | ~self.supernet.space.mask.to(w.device)).all()) for w in mixtures)
        # One-hot passes differ in what they run, so each would be a recording of its own.
        launch = self.launch if everything else eager
        tensors = [*self.train, *(w.to(self.train[0].device) for w in mixtures)]
        learn = partial(self._learn, everything)
        loss, *gradients = launch(("learn", teacher is None), learn, *tensors, changes=self.supernet.buffers)
        self.loss = loss.item()
        images = len(self.train[1])
        self.passes += 3 * self.supernet.weighted_passes(weights) * images
        if teacher is not None:
            self.passes += self.supernet.weighted_passes(teacher) * images
        return gradients

    def _learn(self, everything: bool, images: Tensor, labels: Tensor, weights: Tensor, teacher: Tensor | None = None):
        """L_train under op weights, and its gradient in the shared weights that learn; None for those not run."""
        logits = self._logits(images, weights, everything=everything)
        loss = objective = F.cross_entropy(logits, labels)
        if teacher is not None:
            with torch.no_grad(), frozen_statistics(self.supernet):
                soft = self._logits(images, teacher, everything=everything).softmax(-1)
            objective = 0.5 * loss + 0.5 * F.cross_entropy(logits, soft)
        return [loss.detach(), *torch.autograd.grad(objective, self.parameters, allow_unused=True)]

    def gradients_on_each(self, several: Tensor) -> list[Tensor | None]:
        """The mean of `gradients_on` over several op weights, each in a separate pass over all images.

        Args:
            several: op weights (N, S, K).

        Returns:
            One gradient for each of `parameters`; None where no pass used a parameter.
        """
        total: list[Tensor | None] = [None] * len(self.parameters)
        losses = []
        for weights in several:
            found = [None if g is None else g / len(several) for g in self.gradients_on(weights[None])]
            total = [a if b is None else b if a is None else a + b for a, b in zip(total, found)]
            losses.append(self.loss)
        self.loss = sum(losses) / len(losses)
        return total

    def _batches(self):
        return (self.train, self.valid) if self.gap_weight else (self.train,)

    def _images(self) -> int:
        return sum(len(labels) for _, labels in self._batches())

    def _each_image(self, batch: Sequence[Tensor], weights: Tensor, cost: Callable, **how: Any) -> Tensor:
        """(N, images of a row) costs; the images are dealt to the rows in order."""
        images, labels = batch
        return cost(self._logits(images, weights, **how), labels).unflatten(0, (len(weights), -1))

    def _logits(self, images: Tensor, weights: Tensor, **how: Any) -> Tensor:
        rows = weights if len(weights) == 1 else weights.repeat_interleave(len(images) // len(weights), 0)
        return self.supernet(images, rows, **how)

    def _gen(self, losses: Sequence[Tensor]) -> Tensor:
        """(N,) of costs an image (N, images of a row): of their means, or the mean over pairs of images."""
        if not self.gap_weight:
            return losses[0].mean(-1)
        train, valid = losses
        if self.paired:
            return generalisation_loss(train, valid, self.gap_weight).mean(-1)
        return generalisation_loss(train.mean(-1), valid.mean(-1), self.gap_weight)


def _leaving_statistics(module: nn.Module, x: Tensor) -> Tensor:
    with frozen_statistics(module):
        return module(x)


def cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each image.

    Args:
        logits: (B, classes).
        labels: (B,).

    Returns:
        (B,) nats.
    """
    return F.cross_entropy(logits, labels, reduction="none")


def misclassified(logits: Tensor, labels: Tensor) -> Tensor:
    """Which images are misclassified.

    Args:
        logits: (B, classes).
        labels: (B,).

    Returns:
        (B,) 1.0 where the largest logit is not that of the label, else 0.0.
    """
    return (logits.argmax(-1) != labels).to(logits)


def latency_gradient(
    estimator: Estimator,
    dist: ArchDistribution,
    cost: LatencyCost,
    table: LatencyTable,
    measured_ms: Cost | None,
    generator: torch.Generator,
    draws: int = 1,
) -> Tensor:
    """Gradient of the expected latency cost.

    Args:
        estimator: used where there is no closed form.
        dist: the policy.
        cost: latency cost, in error fraction.
        table: latency of the operations.
        measured_ms: black-box latency (N,) of one-hot weights (N, S, K), if any.
        generator: random numbers of the samples.
        draws: calls of the black box.

    Returns:
        (S, K), in error fraction per unit of a logit.
    """
    if cost.weight == 0:
        return torch.zeros_like(dist.logits)
    if measured_ms is not None:
        black_box = lambda weights: cost(measured_ms(weights))
        return estimator(black_box, dist, draws, generator, control=lambda weights: cost(table(weights))).gradient
    if cost.linear:  # the table's expectation is in closed form
        return torch.autograd.grad(cost(table(dist.probs()[None])).sum(), dist.logits)[0]
    return estimator(lambda weights: cost(table(weights)), dist, 64, generator).gradient  # a table look-up is free
