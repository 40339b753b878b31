"""An additive model of the costs of sampled architectures.

In shapes: S slots, K candidates.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from labkit.spaces import SearchSpace


class AdditiveControl:
    """One value per candidate of each slot; their sum predicts the cost of an architecture.

    Ridge regression with exponential forgetting. The mean of the model under any distribution, and its gradient, are in
    closed form, so a sample of one distribution teaches all others. The model is a control variate: its accuracy
    changes the variance of a gradient, never the mean.
    """

    def __init__(self, space: SearchSpace, decay: float = 0.98, ridge: float = 1.0):
        """Start with all values at 0.

        Args:
            space: the search space; the values have the shape (S, K) of its mask.
            decay: weight of the past after one more sample. The shared weights learn meanwhile, so old costs say
                little.
            ridge: strength of the ridge penalty on each value.
        """
        self.shape, self.decay, self.ridge = space.mask.shape, decay, ridge
        n = space.mask.numel()
        self.moments = ridge * torch.eye(n, dtype=torch.float64)
        self.products = torch.zeros(n, dtype=torch.float64)
        self.level = torch.zeros(2, dtype=torch.float64)  # sum of weights, and of weighted costs: a running mean

    def values(self) -> Tensor:
        """Solve for the values.

        Returns:
            (S, K), in the unit of the cost, relative to `mean`.
        """
        return torch.linalg.solve(self.moments, self.products).reshape(self.shape).float()

    @property
    def mean(self) -> float:
        """Weighted mean of the costs so far; `values` are relative to it. 0 before the first."""
        return (self.level[1] / self.level[0]).item() if self.level[0] else 0.0

    def learn(self, sampled: Sequence[int], cost: float) -> None:
        """Update the model with one architecture.

        Args:
            sampled: index of the chosen candidate in each slot; S numbers.
            cost: what the architecture cost.
        """
        drawn = torch.zeros(self.shape, dtype=torch.float64)
        drawn[range(len(sampled)), list(sampled)] = 1.0
        drawn = drawn.flatten()
        self.level = self.decay * self.level + torch.tensor([1.0, cost], dtype=torch.float64)
        above = cost - self.mean
        forgotten = (1 - self.decay) * self.ridge * torch.eye(len(drawn), dtype=torch.float64)
        self.moments = self.decay * self.moments + torch.outer(drawn, drawn) + forgotten
        self.products = self.decay * self.products + above * drawn

    def tensors(self) -> dict[str, Tensor]:
        """The state of the model, for a checkpoint.

        Returns:
            Tensors by name, as `load` takes them.
        """
        return {"moments": self.moments, "products": self.products, "level": self.level}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Restore the state of another model of this space.

        Args:
            tensors: what `tensors` returned.
        """
        self.moments, self.products, self.level = (tensors[name] for name in ("moments", "products", "level"))
