"""Costs of what was drawn, as a value a candidate of each slot.

In shapes: S slots, K candidates.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from labkit.spaces import SearchSpace


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

    @property
    def mean(self) -> float:
        """Of what was drawn, weighted as it is remembered: `values` are what candidates add to it."""
        return (self.level[1] / self.level[0]).item() if self.level[0] else 0.0

    def learn(self, sampled: Sequence[int], cost: float) -> None:
        """From one architecture, the candidate of each slot, and what it cost."""
        drawn = torch.zeros(self.shape, dtype=torch.float64)
        drawn[range(len(sampled)), list(sampled)] = 1.0
        drawn = drawn.flatten()
        self.level = self.decay * self.level + torch.tensor([1.0, cost], dtype=torch.float64)
        above = cost - self.mean
        forgotten = (1 - self.decay) * self.ridge * torch.eye(len(drawn), dtype=torch.float64)
        self.moments = self.decay * self.moments + torch.outer(drawn, drawn) + forgotten
        self.products = self.decay * self.products + above * drawn

    def tensors(self) -> dict[str, Tensor]:
        """All that it has learnt, for a checkpoint."""
        return {"moments": self.moments, "products": self.products, "level": self.level}

    def load(self, tensors: dict[str, Tensor]) -> None:
        self.moments, self.products, self.level = (tensors[name] for name in ("moments", "products", "level"))
