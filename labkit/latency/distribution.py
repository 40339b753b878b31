"""The exact distribution of the latency of a policy's samples, and samples inside a band of it.

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
    """A latency table and, where measurements exist, their difference to it, linear in each slot as the table is.

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
        """Slots whose choice is independent of all others, with the milliseconds (K,) or (K, K) that they add."""
        extra = torch.zeros_like(self.table.matrix) if self.extra is None else self.extra.double()
        found = []
        for slots, ms in self.table.parts:
            own = [extra[s, :n] for s, n in zip(slots, ms.shape)]
            found.append((slots, ms + (own[0] if len(own) == 1 else own[0][:, None] + own[1])))
        return tuple(found)

    def range_ms(self) -> tuple[float, float]:
        """The range of the space.

        Returns:
            Milliseconds of the fastest and of the slowest architecture.
        """
        fixed = self.table.overhead_ms + self.level_ms
        return tuple(fixed + sum(end(ms).item() for _, ms in self.parts) for end in (torch.min, torch.max))  # type: ignore[return-value]


class LatencyDistribution:
    """The distribution of the latency of a policy's samples.

    The slots of a policy are independent, and the latency is a sum of parts, each of one slot or, in a cell, of two. So
    the distribution is the convolution of those of the parts, computed on a grid of `BINS` steps. A part between two
    steps is shared between them so that its mean is kept: the mean is exact, and a probability is exact up to one step
    per part.

    Args:
        model: latency of the architectures.
        probs: (S, K) probabilities of the policy.
    """

    def __init__(self, model: LatencyModel, probs: Tensor):
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
        """The probability that a sample takes longer than a limit.

        Args:
            limit_ms: the limit.

        Returns:
            A share from 0 to 1.
        """
        return float(1.0 - self._share(0, limit_ms - self.low))

    def quantile(self, share: float) -> float:
        """A quantile of the latency.

        Args:
            share: share of the samples that take no longer.

        Returns:
            Milliseconds.
        """
        return float(self.ms[min(len(self.masses) - 1, int(np.searchsorted(self._below[0], share - 1e-12)))])

    def draw(
        self, space: SearchSpace, n: int, least_ms: float, most_ms: float, generator: torch.Generator
    ) -> list[Architecture]:
        """Sample different architectures from the policy, given that their latency lies in a band.

        Slot after slot, each candidate by its probability times that of the later slots to end inside the band.

        Args:
            space: the search space of the policy.
            n: how many.
            least_ms: lower end of the band.
            most_ms: upper end of the band.
            generator: random numbers, on the CPU.

        Returns:
            At most `n` architectures; fewer where 20 n samples hold fewer different ones.
        """
        inside: dict[Architecture, None] = {}
        for _ in range(20 * n):
            if len(inside) == n:
                break
            if (architecture := self._drawn(space, least_ms, most_ms, generator)) is not None:
                inside[architecture] = None
        return list(inside)

    def _drawn(
        self, space: SearchSpace, least_ms: float, most_ms: float, generator: torch.Generator
    ) -> Architecture | None:
        """One sample; None where the grid, which is coarse by its step, led to where nothing fits."""
        chosen = [0] * len(space.slots)
        left_ms = sum(float(v.min()) for v in self.values)  # the least that the parts to come take
        taken = self.low - left_ms  # what no choice changes
        for i, ((slots, ms), values, chances) in enumerate(zip(self.model.parts, self.values, self.chances)):
            left_ms -= float(values.min())
            ends = taken + values + left_ms
            fits = [self._share(i + 1, most_ms - x) - self._share(i + 1, least_ms - x, before=True) for x in ends]
            weights = torch.from_numpy(chances * np.maximum(fits, 0.0))
            if weights.sum() <= 0:
                return None
            k = int(torch.multinomial(weights, 1, generator=generator))
            for s, choice in zip(slots, np.unravel_index(k, tuple(ms.shape))):
                chosen[s] = int(choice)
            taken += float(values[k])
        if not least_ms <= taken <= most_ms * (1 + 1e-12):
            return None
        return space.architecture(slot[k] for slot, k in zip(space.slots, chosen))

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
