"""Distributions over architectures on their way: what moves one, and what several learn from each other's draws.

In shapes: S slots, K candidates.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from labkit.estimators.costs import DualWeight, duplicates
from labkit.estimators.distributions import ArchDistribution
from labkit.estimators.gradient_estimators import Cost
from labkit.latency.table import LatencyTable
from labkit.oneshot.config import SearchConfig
from labkit.oneshot.task_cost import latency_gradient, lateness
from labkit.spaces import SearchSpace


class Controller:
    """One distribution, the latency that it minimises together with the task, and the optimiser of its logits.

    It lives on the CPU: a few dozen numbers are moved sooner there than a GPU is told to.
    """

    def __init__(self, space: SearchSpace, config: SearchConfig, turns: int):
        """`turns`: how often it will move, which sets the pace of a deadline's dual weight and of the learning rate."""
        self.config = config
        self.dist = ArchDistribution(space, config.softening)
        self.optimizer = torch.optim.Adam(self.dist.parameters(), config.logit_lr)
        self.of_task, self.of_latency, self.of_late = (config.make_estimator() for _ in range(3))  # a state for each
        self.dual = DualWeight(rate=8 / max(1, turns))
        self.turns, self.turn = turns, 0  # moves to make, and made

    def move(
        self, task_gradient: Tensor, table: LatencyTable, measured_ms: Cost | None, generator: torch.Generator
    ) -> float | None:
        """One step down the gradients (S, K) of task and latency; the share of late draws, under a deadline."""
        config, dist = self.config, self.dist
        cost = config.latency_cost_at(self.turn)
        draws = self.of_latency.least_draws
        latency = latency_gradient(self.of_latency, dist, cost, table, measured_ms, generator, draws)
        late = None
        if config.deadline is not None:
            being_late, late = lateness(self.of_late, dist, config.deadline, table, measured_ms, generator, draws)
            latency = latency + self.dual.weight * being_late
            self.dual.update(late, config.deadline.allowed)
        dist.logits.grad = task_gradient + config.task_units * latency
        if config.duplicate_weight and dist.space.pairs:
            twice = duplicates(dist.space, dist.probs()[None]).sum()
            share = config.duplicate_weight * config.task_units / config.nats_per_error
            dist.logits.grad += share * torch.autograd.grad(twice, dist.logits)[0]
        self.optimizer.param_groups[0]["lr"] = config.logit_lr * cosine(
            self.turn / max(1, self.turns), config.logit_lr_end
        )
        self.optimizer.step()
        self.turn += 1
        return late

    # --- what the next move depends on ------------------------------------------------------------------

    def memory(self) -> dict[str, Any]:
        """What `recall` needs, as JSON; the logits and the optimiser's tensors are saved beside it."""
        learnt = [estimator.state() for estimator in (self.of_task, self.of_latency, self.of_late)]
        return {"turn": self.turn, "dual_weight": self.dual.weight, "estimators": learnt}

    def recall(self, memory: dict[str, Any], *, same_estimator: bool = True) -> None:
        """Stand where another one stood; an estimator of another kind starts without memory."""
        self.turn, self.dual.weight = memory["turn"], memory["dual_weight"]
        if same_estimator:
            for estimator, learnt in zip((self.of_task, self.of_latency, self.of_late), memory["estimators"]):
                estimator.load_state(learnt)


def cosine(done: float, end: float) -> float:
    """Share of a learning rate when the share `done` of its steps is: from 1 down to `end` along half a cosine."""
    return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * done))


class AdditiveControl:
    """A value a candidate of each slot, whose sum follows the costs drawn so far: ridge regression that forgets.

    Its mean under any distribution, and its gradient, are in closed form. So a draw from one distribution teaches
    every other, and unbiasedness does not depend on how well.
    """

    def __init__(self, space: SearchSpace, decay: float = 0.98, ridge: float = 1.0):
        """`decay` a draw: the weights learn meanwhile, and an old loss says little."""
        self.shape, self.decay, self.ridge = space.mask.shape, decay, ridge
        n = space.mask.numel()
        self.moments = ridge * torch.eye(n, dtype=torch.float64)
        self.products = torch.zeros(n, dtype=torch.float64)
        self.level = torch.zeros(2, dtype=torch.float64)  # sum of weights, and of weighted costs: a running mean

    def values(self) -> Tensor:
        """(S, K), in the cost's unit."""
        return torch.linalg.solve(self.moments, self.products).reshape(self.shape).float()

    def learn(self, sampled: Sequence[int], cost: float) -> None:
        """From one architecture, the candidate of each slot, and what it cost."""
        drawn = torch.zeros(self.shape, dtype=torch.float64)
        drawn[range(len(sampled)), list(sampled)] = 1.0
        drawn = drawn.flatten()
        self.level = self.decay * self.level + torch.tensor([1.0, cost], dtype=torch.float64)
        above = cost - (self.level[1] / self.level[0]).item()
        forgotten = (1 - self.decay) * self.ridge * torch.eye(len(drawn), dtype=torch.float64)
        self.moments = self.decay * self.moments + torch.outer(drawn, drawn) + forgotten
        self.products = self.decay * self.products + above * drawn

    def tensors(self) -> dict[str, Tensor]:
        """All that it has learnt, for a checkpoint."""
        return {"moments": self.moments, "products": self.products, "level": self.level}

    def load(self, tensors: dict[str, Tensor]) -> None:
        self.moments, self.products, self.level = (tensors[name] for name in ("moments", "products", "level"))


def shared(gradient: Tensor, mine: int, dists: Sequence[ArchDistribution], values: Tensor) -> list[Tensor]:
    """What every distribution may take from an unbiased gradient (S, K) of one of them, `dists[mine]`.

    Each takes the gradient of the control's mean, in closed form. What the control leaves over goes to `mine` alone, as
    many times over as there are distributions. Turns being equally frequent, the mean over them is each one's own
    gradient, whatever the control's `values` (S, K).
    """
    exact = [torch.autograd.grad((dist.probs() * values.to(dist.logits)).sum(), dist.logits)[0] for dist in dists]
    left_over = len(dists) * (gradient - exact[mine])
    return [each + left_over if i == mine else each for i, each in enumerate(exact)]
