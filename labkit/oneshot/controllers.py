"""Distributions over architectures on their way: what moves one, and what several learn from each other's draws.

In shapes: S slots, K candidates.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from labkit.estimators.costs import duplicates
from labkit.estimators.distributions import ArchDistribution
from labkit.estimators.gradient_estimators import Cost
from labkit.latency.table import LatencyTable
from labkit.oneshot.config import SearchConfig
from labkit.oneshot.limits import Limit
from labkit.oneshot.task_cost import latency_gradient
from labkit.spaces import SearchSpace


class Controller:
    """One distribution, the latency that it minimises together with the task, and the optimiser of its logits.

    It lives on the CPU: a few dozen numbers are moved sooner there than a GPU is told to.
    """

    def __init__(self, space: SearchSpace, config: SearchConfig, turns: int):
        """Start with uniform probabilities.

        Args:
            space: the search space.
            config: objective and learning rates of this controller.
            turns: number of moves of the whole search; it sets the pace of a limit and of the learning rate.
        """
        self.config = config
        self.dist = ArchDistribution(space, config.softening)
        self.optimizer = torch.optim.Adam(self.dist.parameters(), config.logit_lr)
        self.of_task, self.of_latency = (config.make_estimator() for _ in range(2))  # a state for each
        self.limit = None
        if config.deadline is not None:
            self.limit = Limit(self.dist, config.deadline, may_be_faster=bool(config.latency_weight))
        self.turns, self.turn = turns, 0  # moves to make, and made

    def move(
        self, task_gradient: Tensor, table: LatencyTable, measured_ms: Cost | None, generator: torch.Generator
    ) -> float | None:
        """Make one step along the gradients of task and latency.

        Args:
            task_gradient: (S, K) gradient of the task cost, in the units of the task.
            table: latency of the operations.
            measured_ms: black-box latency (N,) of one-hot weights (N, S, K), if any.
            generator: random numbers of the samples.

        Returns:
            Under a limit, the share of the samples that exceed it; None without a limit.
        """
        config, dist = self.config, self.dist
        cost = config.latency_cost_at(self.turn)
        latency = latency_gradient(
            self.of_latency, dist, cost, table, measured_ms, generator, self.of_latency.least_draws
        )
        if self.limit is not None:
            if measured_ms is not None:
                self.limit.ask(table, measured_ms, generator)
            self.limit.note(task_gradient, table)
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
        return None if self.limit is None else self.limit.hold(table, self.turn / max(1, self.turns))

    # --- what the next move depends on ------------------------------------------------------------------

    def memory(self) -> dict[str, Any]:
        """The state as JSON; `tensors` and the tensors of the optimiser are saved separately.

        Returns:
            What `recall` takes.
        """
        learnt = [estimator.state() for estimator in (self.of_task, self.of_latency)]
        return {"turn": self.turn, "limit": self.limit and self.limit.memory(), "estimators": learnt}

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that the next move depends on, without those of the optimiser.

        Returns:
            Tensors by name.
        """
        beyond = {} if self.limit is None else self.limit.beyond.tensors()
        return {"logits": self.dist.logits.detach(), **{f"beyond.{name}": value for name, value in beyond.items()}}

    def recall(self, memory: dict[str, Any], tensors: dict[str, Tensor], *, same_estimator: bool = True) -> None:
        """Restore the state of another controller.

        Args:
            memory: what `memory` returned.
            tensors: what `tensors` returned.
            same_estimator: False where the other controller used another estimator; then its state is not taken over.
        """
        self.turn = memory["turn"]
        with torch.no_grad():
            self.dist.logits.copy_(tensors["logits"])
        if self.limit is not None and memory["limit"] is not None:
            self.limit.recall(memory["limit"])
            self.limit.beyond.load(
                {name.removeprefix("beyond."): t for name, t in tensors.items() if "beyond." in name}
            )
        if same_estimator:
            for estimator, learnt in zip((self.of_task, self.of_latency), memory["estimators"]):
                estimator.load_state(learnt)


def cosine(done: float, end: float) -> float:
    """Cosine schedule from 1 down to `end`.

    Args:
        done: share of the steps that are done, from 0 to 1.
        end: value at the end.

    Returns:
        The factor on the learning rate.
    """
    return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * done))


def shared(gradient: Tensor, mine: int, dists: Sequence[ArchDistribution], values: Tensor) -> list[Tensor]:
    """What every distribution may take from an unbiased gradient of one of them.

    Each takes the gradient of the control's mean, in closed form. What the control leaves over goes to `dists[mine]`
    alone, multiplied by the number of distributions. All have equally many turns, so the mean over the turns is the
    gradient of each, whatever the values of the control.

    Args:
        gradient: (S, K) unbiased gradient of `dists[mine]`.
        mine: index of the distribution that sampled.
        dists: all distributions.
        values: (S, K) of the additive control.

    Returns:
        (S, K) for each distribution.
    """
    exact = [torch.autograd.grad((dist.probs() * values.to(dist.logits)).sum(), dist.logits)[0] for dist in dists]
    left_over = len(dists) * (gradient - exact[mine])
    return [each + left_over if i == mine else each for i, each in enumerate(exact)]
