"""What a policy's draws take: the exact distribution of a sum of independent parts, and draws inside a band of it.

In shapes: S slots, K candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from labkit.latency.table import LatencyTable
from labkit.spaces import Architecture, SearchSpace

BINS = 2_048  # of the grid on which parts are added up


@dataclass(frozen=True, eq=False)
class LatencyModel:
    """A latency table and, where a stopwatch was asked, what it says beyond the table: linear in each slot, as that is.

    So `model(probabilities)` is the expected latency.
    """

    table: LatencyTable
    extra: Tensor | None = None  # (S, K) milliseconds beyond the table's, of each candidate
    level_ms: float = 0.0  # and of every architecture

    def __call__(self, weights: Tensor) -> Tensor:
        """Milliseconds (N,) of op weights (N, S, K): one-hot, relaxed or probabilities alike."""
        ms = self.table(weights) + self.level_ms
        return ms if self.extra is None else ms + (weights * self.extra.to(weights)).sum((-1, -2))

    @cached_property
    def parts(self) -> tuple[tuple[tuple[int, ...], Tensor], ...]:
        """Slots whose choices are independent of all others', and the milliseconds (K,) or (K, K) that they add."""
        extra = torch.zeros_like(self.table.matrix) if self.extra is None else self.extra.double()
        found = []
        for slots, ms in self.table.parts:
            own = [extra[s, :n] for s, n in zip(slots, ms.shape)]
            found.append((slots, ms + (own[0] if len(own) == 1 else own[0][:, None] + own[1])))
        return tuple(found)

    def range_ms(self) -> tuple[float, float]:
        """The fastest and the slowest architecture's milliseconds."""
        fixed = self.table.overhead_ms + self.level_ms
        return tuple(fixed + sum(end(ms).item() for _, ms in self.parts) for end in (torch.min, torch.max))  # type: ignore[return-value]


class LatencyDistribution:
    """The distribution of the milliseconds of what a policy draws.

    The slots of a policy are independent and latency is a sum of parts, each of one slot or, in a cell, of two. So the
    distribution is the convolution of the parts' own, which are added up on a grid of `BINS` steps. A part that falls
    between two steps is shared among them so that its mean is kept: the mean is exact, and what lies below a time is
    right but for a step a part.
    """

    def __init__(self, model: LatencyModel, probs: Tensor):
        """`probs` (S, K) of the policy."""
        self.model, self.probs = model, probs.detach().double().cpu()
        low, high = model.range_ms()
        self.low, self.step = low, max(high - low, 1e-9) / (BINS - 1)
        self.values = [np.asarray(ms.flatten()) for _, ms in model.parts]  # of each part's outcomes
        self.chances = [np.asarray(self._of(slots).flatten()) for slots, _ in model.parts]
        below = np.zeros(BINS + len(self.values))  # what is shared with the next step may reach so far
        below[0] = 1.0
        rest = [below]  # rest[i]: the grid of the last i parts, each above its own least
        for values, chances in zip(reversed(self.values), reversed(self.chances)):
            rest.append(_added(rest[-1], (values - values.min()) / self.step, chances))
        self.masses = rest[-1]
        self._below = [np.cumsum(masses) for masses in rest[::-1]]  # of the parts from the i-th on

    def _of(self, slots: Sequence[int]) -> Tensor:
        sizes = [len(self.model.table.slots[s]) for s in slots]
        first, *more = (self.probs[s, :n] for s, n in zip(slots, sizes))
        return first if not more else first[:, None] * more[0]

    @property
    def ms(self) -> np.ndarray:
        """The milliseconds of the grid, whose probabilities are `masses`."""
        return self.low + self.step * np.arange(len(self.masses))

    @property
    def mean(self) -> float:
        """The expected milliseconds."""
        return float(self.masses @ self.ms)

    def late(self, limit_ms: float) -> float:
        """The probability of taking longer than that."""
        return float(1.0 - self._share(0, limit_ms - self.low))

    def quantile(self, share: float) -> float:
        """The milliseconds within which that share of the draws is."""
        return float(self.ms[min(len(self.masses) - 1, int(np.searchsorted(self._below[0], share - 1e-12)))])

    def draw(
        self, space: SearchSpace, n: int, least_ms: float, most_ms: float, generator: torch.Generator
    ) -> list[Architecture]:
        """At most `n` different architectures from the policy given that they take so long: fewer where few do.

        Slot after slot, each by its probability times that of the later ones to end inside.
        """
        inside: dict[Architecture, None] = {}
        floor = [sum(float(v.min()) for v in self.values[i:]) for i in range(len(self.values) + 1)]
        fixed = self.low - floor[0]
        for _ in range(20 * n):
            if len(inside) == n:
                break
            taken, chosen = fixed, [0] * len(space.slots)
            for i, ((slots, ms), values, chances) in enumerate(zip(self.model.parts, self.values, self.chances)):
                left = taken + values + floor[i + 1]
                fits = [self._share(i + 1, most_ms - x) - self._share(i + 1, least_ms - x, before=True) for x in left]
                weights = torch.from_numpy(chances * np.maximum(fits, 0.0))
                if weights.sum() <= 0:
                    return list(inside)
                k = int(torch.multinomial(weights, 1, generator=generator))
                for s, choice in zip(slots, np.unravel_index(k, tuple(ms.shape))):
                    chosen[s] = int(choice)
                taken += float(values[k])
            if least_ms <= taken <= most_ms * (1 + 1e-12):
                inside[space.architecture(slot[k] for slot, k in zip(space.slots, chosen))] = None
        return list(inside)

    def _share(self, part: int, ms: float, before: bool = False) -> float:
        """Of the parts from that on, what lies within `ms` above their least; with `before`, strictly below it."""
        at = ms / self.step - (1e-9 if before else -1e-9)
        if at < 0:
            return 0.0
        below, whole = self._below[part], int(at)
        return float(below[min(whole, len(below) - 1)])


def _added(masses: np.ndarray, places: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """Masses on the grid after an outcome was added that is `places` steps above, each with its chance."""
    total = np.zeros_like(masses)
    for place, chance in zip(places, chances):
        whole, part = int(place), place - int(place)
        for shift, share in ((whole, 1 - part), (whole + 1, part)):
            if share * chance > 0 and shift < len(masses):
                total[shift:] += share * chance * masses[: len(masses) - shift]
    return total
