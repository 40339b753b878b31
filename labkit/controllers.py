"""A distribution over architectures on its way: what it minimises, what moves it, and what it remembers."""

from typing import Any

import torch
from torch import Tensor

from labkit import estimators
from labkit.distributions import ArchDistribution
from labkit.estimators import ESTIMATORS, Cost
from labkit.latency import LatencyTable
from labkit.objectives import DualWeight
from labkit.search_config import SearchConfig
from labkit.search_gradients import latency_gradient, lateness
from labkit.spaces import SearchSpace


class Controller:
    """One distribution, the latency that it minimises beside the task, and the optimiser of its logits."""

    def __init__(self, space: SearchSpace, config: SearchConfig, device: torch.device, turns: int):
        """`turns`: how often it will move, which sets the pace of a deadline's dual weight."""
        self.config = config
        self.dist = ArchDistribution(space).to(device)
        self.optimizer = torch.optim.Adam(self.dist.parameters(), config.logit_lr)
        make = ESTIMATORS[config.estimator]
        self.of_task, self.of_latency, self.of_late = make(), make(), make()  # a baseline, or a scale, for each
        self.dual = DualWeight(rate=8 / max(1, turns))
        self.turn = 0  # moves made

    def move(
        self, task_gradient: Tensor, table: LatencyTable, measured_ms: Cost | None, generator: torch.Generator
    ) -> float | None:
        """One step down a task gradient (S, K), in nats, and the slope of latency; the share of late draws, if any."""
        config, dist = self.config, self.dist
        cost = config.latency_cost_at(self.turn)
        latency = latency_gradient(self.of_latency, dist, cost, table, measured_ms, generator)
        late = None
        if config.deadline is not None:
            being_late, late = lateness(self.of_late, dist, config.deadline, table, measured_ms, generator)
            latency = latency + self.dual.weight * being_late
            self.dual.update(late, config.deadline.allowed)
        dist.logits.grad = task_gradient + config.nats_per_error * latency
        self.optimizer.step()
        self.turn += 1
        return late

    # --- what the next move depends on ------------------------------------------------------------------

    def memory(self) -> dict[str, Any]:
        learnt = [estimators.memory(e) for e in (self.of_task, self.of_latency, self.of_late)]
        return {"turn": self.turn, "dual_weight": self.dual.weight, "estimators": learnt}

    def recall(self, memory: dict[str, Any], *, same_estimator: bool = True) -> None:
        """Stand where another one stood; an estimator of another kind starts without memory."""
        self.turn, self.dual.weight = memory["turn"], memory["dual_weight"]
        if same_estimator:
            for estimator, learnt in zip((self.of_task, self.of_latency, self.of_late), memory["estimators"]):
                estimators.recall(estimator, learnt)
