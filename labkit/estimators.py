"""Gradient estimators of the expected cost of an architecture distribution.

Each estimates d E[cost(z)] / d logits for z drawn from the distribution, and all are called the same way:

    gradient, cost = estimator(cost, dist, n, generator, control=None)

`cost` maps op weights (N, S, K) to N costs. `control` is a differentiable stand-in that also accepts relaxed
weights; it defaults to `cost` itself, which must then be differentiable. Nothing here touches a `.grad`.

    estimator        cost       control                  bias    variance
    Reinforce        any        unused                   none    high
    GumbelSoftmax    unused     required                 yes     low
    Rebar            differentiable, is its own control  none    low, with a scale that fits
    Unas             any        required                 none    low when the control follows the cost

`Unas` with control = cost is `Rebar` at scale 1; with control = 0 it is `Reinforce` without a baseline; its
pathwise term alone is `GumbelSoftmax`.

References: Williams 1992 (REINFORCE); Jang et al. 2017 (Gumbel-Softmax); Tucker et al. 2017 (REBAR);
Vahdat et al., UNAS, CVPR 2020 (one-hot network as cost, mixed network as control).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from labkit.distributions import ArchDistribution
from labkit.errors import InputError

Cost = Callable[[Tensor], Tensor]


class Estimate(NamedTuple):
    gradient: Tensor  # (S, K), like the logits
    cost: float  # mean cost of what was drawn; Gumbel-Softmax: of the relaxed samples


class Estimator(Protocol):
    def __call__(
        self,
        cost: Cost,
        dist: ArchDistribution,
        n: int,
        generator: torch.Generator,
        control: Cost | None = None,
    ) -> Estimate: ...


@dataclass(frozen=True)
class Unas:
    """Score function minus a relaxed control variate, plus the control's own gradient.

    Approximates: d E[cost(z)] / d logits, without bias whatever the control and the scale.
    Requires: a control that is differentiable in the op weights. A control that follows the cost lowers the
    variance; a bad one raises it and moves nothing else.
    """

    temperature: float = 0.4
    scale: float = 1.0  # of the control; 1 is the paper's, another constant is REBAR's eta

    def __call__(self, cost, dist, n, generator, control=None) -> Estimate:
        sample = dist.sample(n, self.temperature, generator)
        with torch.no_grad():
            value = cost(sample.hard)
        # Equal in value to `soft`; its gradient is that of `soft` minus that of `soft_given_hard`.
        weights = sample.soft - sample.soft_given_hard + sample.soft_given_hard.detach()
        relaxed = self.scale * (control or cost)(weights)
        return _estimate((value - relaxed).detach() * sample.log_prob + relaxed, dist, value)


@dataclass(frozen=True)
class Rebar(Unas):
    """UNAS with the cost as its own control: the multivariate categorical REBAR of Tucker et al. 2017.

    Requires: a differentiable cost, so no measured latency. `scale` is their eta.
    """

    def __call__(self, cost, dist, n, generator, control=None) -> Estimate:
        if control is not None:
            raise InputError("Rebar's control is the cost itself; use Unas for a cost with another control")
        return super().__call__(cost, dist, n, generator)


@dataclass(frozen=True)
class GumbelSoftmax:
    """The pathwise gradient of the relaxed cost.

    Approximates: d E[control(relaxed z)] / d logits, which is biased for E[cost(z)] and never sees the cost.
    Requires: a differentiable control.
    """

    temperature: float = 0.4

    def __call__(self, cost, dist, n, generator, control=None) -> Estimate:
        sample = dist.sample(n, self.temperature, generator)
        relaxed = (control or cost)(sample.soft)
        return _estimate(relaxed, dist, relaxed)


@dataclass
class Reinforce:
    """The score function, minus a baseline.

    Approximates: d E[cost(z)] / d logits, without bias: the running mean is used before this draw updates it.
    Requires: nothing of the cost.
    """

    baseline: str = "running-mean"  # or "none"
    decay: float = 0.9
    _mean: float | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.baseline not in ("none", "running-mean"):
            raise InputError(f"a baseline is 'none' or 'running-mean'; got {self.baseline!r}")

    def __call__(self, cost, dist, n, generator, control=None) -> Estimate:
        sample = dist.sample(n, 1.0, generator)
        with torch.no_grad():
            value = cost(sample.hard)
        mean = value.mean().item()
        baseline = 0.0 if self._mean is None else self._mean
        if self.baseline == "running-mean":
            self._mean = mean if self._mean is None else self.decay * self._mean + (1 - self.decay) * mean
        return _estimate((value - baseline) * sample.log_prob, dist, value)


def exact_gradient(cost: Cost, dist: ArchDistribution) -> Tensor:
    """(S, K) gradient by enumerating the space: the truth, for spaces small enough to list."""
    z = torch.stack([dist.space.encode(architecture) for architecture in dist.space]).to(dist.logits)
    with torch.no_grad():
        value = cost(z)
    probability = (z * dist.log_probs()).sum((-1, -2)).exp()
    return torch.autograd.grad((probability * value).sum(), dist.logits)[0]


def _estimate(surrogate: Tensor, dist: ArchDistribution, value: Tensor) -> Estimate:
    (gradient,) = torch.autograd.grad(surrogate.mean(), dist.logits)
    return Estimate(gradient, value.mean().item())


ESTIMATORS: dict[str, Callable[[], Estimator]] = {
    "unas": Unas,
    "rebar": Rebar,
    "reinforce": Reinforce,
    "reinforce-no-baseline": lambda: Reinforce(baseline="none"),
    "gumbel": GumbelSoftmax,
}
