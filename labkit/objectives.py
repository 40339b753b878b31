"""What a search minimises: the generalisation loss, and latency as a cost."""

import math
from dataclasses import dataclass

from torch import Tensor

from labkit.errors import InputError


def generalisation_loss(train: Tensor, valid: Tensor, gap_weight: float) -> Tensor:
    """L_gen = L_train + gap_weight |L_valid - L_train| of two batches' mean losses, in nats (UNAS, section 3.2)."""
    return train + gap_weight * (valid - train).abs()


@dataclass(frozen=True)
class LatencyCost:
    """Milliseconds as a cost in error fraction: `weight` a millisecond, all of them or those beyond the target.

    Without a target the cost is linear; with one it is the paper's hinge, which gives nothing for being faster.
    """

    weight: float  # error fraction per millisecond
    target_ms: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise InputError(f"a latency weight is at least 0 (error fraction per millisecond); got {self.weight}")
        if self.target_ms is not None and not (math.isfinite(self.target_ms) and self.target_ms > 0):
            raise InputError(f"a latency target is a positive number of milliseconds; got {self.target_ms}")

    @property
    def linear(self) -> bool:
        return self.target_ms is None

    def __call__(self, ms: Tensor) -> Tensor:
        """Cost (N,) of latencies (N,) in milliseconds."""
        return self.weight * (ms if self.target_ms is None else (ms - self.target_ms).clamp_min(0))
