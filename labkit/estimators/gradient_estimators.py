"""Gradient estimators of the expected cost of an architecture distribution.

Each estimates d E[cost(z)] / d logits for z drawn from the distribution, and all are called the same way:

    gradient, cost = estimator(cost, dist, n, generator, control=None)

`cost` maps op weights (N, S, K) to N costs. `control` is a differentiable stand-in that also accepts relaxed
weights; it defaults to `cost` itself, which must then be differentiable. Nothing here touches a `.grad`.
A call asks `cost` about its `n` draws once, where it asks at all; as a control, `cost` is asked in addition.

    estimator        cost       control                  bias    variance
    Reinforce        any        unused                   none    high; its baseline decides
    GumbelSoftmax    unused     required                 yes     low
    StraightThrough  unused     required                 yes     low
    DartsSoftmax     unused     required                 yes     none: nothing is drawn
    Rebar            differentiable, is its own control  none    low, with a scale that fits
    Unas             any        required                 none    low when the control follows the cost
    FittedUnas       any        required                 none    the least that a constant scale gives
    ClosedForm       any        required, multilinear    none    none when the control is exact

`Unas` with control = cost is `Rebar` at scale 1; with control = 0 it is `Reinforce` without a baseline; its
pathwise term alone is `GumbelSoftmax`.

References: Williams 1992 (REINFORCE); Kool et al. 2019 (leave-one-out baseline); Jang et al. 2017 (Gumbel-Softmax,
straight-through); Liu et al. 2019 (DARTS); Tucker et al. 2017 (REBAR); Vahdat et al., UNAS, CVPR 2020 (one-hot
network as cost, mixed network as control). `ClosedForm` is this library's own.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from labkit.estimators.distributions import ArchDistribution
from labkit.system.errors import InputError
from labkit.system.registry import Registry

Cost = Callable[[Tensor], Tensor]


class Estimate(NamedTuple):
    """A gradient estimate."""

    gradient: Tensor  # (S, K), like the logits
    cost: float  # mean cost of what was drawn; Gumbel-Softmax: of the relaxed samples


class Estimator:
    """Base class of all estimators. Its class attributes say what a search needs to know of one.

    An own estimator is a subclass with a `__call__`, registered with `labkit.register_estimator`. A search makes one
    without arguments for each of its costs.
    """

    unbiased: ClassVar[bool] = True  # its mean is the exact gradient, whatever the control
    needs_gradient: ClassVar[bool] = False  # follows the gradient of the cost; a measured latency has none
    needs_control: ClassVar[bool] = False  # raises without a control where the cost has no gradient
    relaxes: ClassVar[bool] = True  # evaluates the control on relaxed weights, and shared weights can learn from that
    refuses_control: ClassVar[bool] = False  # its control is the cost itself

    @property
    def least_draws(self) -> int:
        """The smallest number of draws per call."""
        return 1

    def __call__(
        self,
        cost: Cost,
        dist: ArchDistribution,
        n: int,
        generator: torch.Generator,
        control: Cost | None = None,
    ) -> Estimate:
        """Estimate d E[cost(z)] / d logits.

        Args:
            cost: op weights (N, S, K) -> (N,) costs.
            dist: the distribution; its logits are (S, K).
            n: draws.
            generator: of the draws, on the CPU.
            control: a differentiable stand-in for `cost`.

        Returns:
            The gradient (S, K), and the mean cost of the draws.
        """
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """State that the estimator has learned from its calls, for a checkpoint.

        Returns:
            A JSON object; empty for most.
        """
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the state of another estimator of this kind.

        Args:
            state: what `state` returned.
        """


@dataclass(frozen=True)
class Unas(Estimator):
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

    needs_gradient: ClassVar[bool] = True
    refuses_control: ClassVar[bool] = True

    def __call__(self, cost, dist, n, generator, control=None) -> Estimate:
        if control is not None:
            raise InputError("Rebar's control is the cost itself; use Unas for a cost with another control")
        return super().__call__(cost, dist, n, generator)


@dataclass
class FittedUnas(Estimator):
    """UNAS with the scale of its control fitted on the way: REBAR's eta, by REBAR's rule.

    The estimate is `plain + scale * shift`, where `plain` is REINFORCE without a baseline and `shift` has mean zero, so
    E|estimate|^2 is least at scale = -E[plain . shift] / E[shift . shift] (Tucker et al. 2017, section 3.2). Both
    moments are running means of earlier calls, never of this one: that would be a bias.
    """

    temperature: float = 0.4
    decay: float = 0.99
    _moments: tuple[float, float] = field(default=(0.0, 0.0), repr=False)  # of plain . shift and shift . shift

    def state(self) -> dict[str, Any]:
        """The moments that the scale follows from.

        Returns:
            A JSON object.
        """
        return {"moments": list(self._moments)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the moments.

        Args:
            state: what `state` returned.
        """
        self._moments = tuple(state["moments"])

    @property
    def scale(self) -> float:
        """What the next call will use; 1, the paper's, before there was one."""
        along, size = self._moments
        return -along / size if size > 0 else 1.0

    def __call__(self, cost, dist, n, generator, control=None) -> Estimate:
        sample = dist.sample(n, self.temperature, generator)
        with torch.no_grad():
            value = cost(sample.hard)
        weights = sample.soft - sample.soft_given_hard + sample.soft_given_hard.detach()
        relaxed = (control or cost)(weights)
        derive = lambda surrogate: torch.autograd.grad(surrogate.mean(), dist.logits, retain_graph=True)[0]
        plain = derive(value * sample.log_prob)
        shift = derive(relaxed - relaxed.detach() * sample.log_prob)
        gradient = plain + self.scale * shift
        new = ((plain * shift).sum().item(), (shift * shift).sum().item())
        self._moments = tuple(self.decay * old + (1 - self.decay) * x for old, x in zip(self._moments, new))
        return Estimate(gradient, value.mean().item())


@dataclass(frozen=True)
class ClosedForm(Estimator):
    """Score function of what a multilinear control leaves over, plus the control's own gradient in closed form.

    A control that is linear in each slot's op weights (a latency table, a `TabularCost`) has its mean under the
    distribution at hand: it is control(probabilities). So `(cost(z) - control(z)) grad log p(z) + grad control(p)` is
    unbiased, needs no relaxed sample, and has no variance at all where the control is exact. Not in the paper.
    Requires: a multilinear control. One that is not (a hinge, a network) makes it biased.
    """

    needs_control: ClassVar[bool] = True

    def __call__(self, cost, dist, n, generator, control=None) -> Estimate:
        if control is None:
            raise InputError("ClosedForm needs a control that is linear in each slot, such as a latency table")
        sample = dist.sample(n, 1.0, generator)
        with torch.no_grad():
            value = cost(sample.hard)
            left = value - control(sample.hard)
        return _estimate(left * sample.log_prob + control(dist.probs()[None]), dist, value)


class _OfTheControl(Estimator):
    """What follows the gradient of the control alone: biased, and of no use for a cost without a gradient."""

    unbiased: ClassVar[bool] = False
    needs_gradient: ClassVar[bool] = True


@dataclass(frozen=True)
class GumbelSoftmax(_OfTheControl):
    """The pathwise gradient of the relaxed cost.

    Approximates: d E[control(relaxed z)] / d logits, which is biased for E[cost(z)] and never sees the cost.
    Requires: a differentiable control.
    """

    temperature: float = 0.4

    def __call__(self, cost, dist, n, generator, control=None) -> Estimate:
        sample = dist.sample(n, self.temperature, generator)
        relaxed = (control or cost)(sample.soft)
        return _estimate(relaxed, dist, relaxed)


@dataclass(frozen=True)
class StraightThrough(_OfTheControl):
    """The gradient at the one-hot sample, passed on as if it had been taken at the relaxed one.

    Approximates: nothing exactly; biased, and at low temperature noisy as well.
    Requires: a differentiable control.
    """

    temperature: float = 0.4

    def __call__(self, cost, dist, n, generator, control=None) -> Estimate:
        sample = dist.sample(n, self.temperature, generator)
        value = (control or cost)(sample.hard + sample.soft - sample.soft.detach())
        return _estimate(value, dist, value)


@dataclass(frozen=True)
class DartsSoftmax(_OfTheControl):
    """The gradient of the cost of the mixture itself, with the probabilities as op weights.

    Approximates: d control(E[z]) / d logits, which is that of E[cost(z)] only for a multilinear cost.
    Requires: a differentiable control. Draws nothing: `n` and the generator are not used.
    """

    def __call__(self, cost, dist, n, generator, control=None) -> Estimate:
        value = (control or cost)(dist.probs()[None])
        return _estimate(value, dist, value)


@dataclass
class Reinforce(Estimator):
    """The score function, minus a baseline.

    Approximates: d E[cost(z)] / d logits, without bias: no draw is in its own baseline. The running mean is used
    before this call updates it; leave-one-out takes the mean of the call's other draws.
    Requires: nothing of the cost.
    """

    relaxes: ClassVar[bool] = False

    baseline: str = "running-mean"  # or "none", or "leave-one-out"
    decay: float = 0.9
    _mean: float | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.baseline not in BASELINES:
            raise InputError(f"a baseline is one of {', '.join(BASELINES)}; got {self.baseline!r}")

    @property
    def least_draws(self) -> int:
        """Two where a draw's baseline is the mean of the others."""
        return 2 if self.baseline == "leave-one-out" else 1

    def state(self) -> dict[str, Any]:
        """The running mean of the cost.

        Returns:
            A JSON object.
        """
        return {"mean": self._mean}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the running mean.

        Args:
            state: what `state` returned.
        """
        self._mean = state["mean"]

    def __call__(self, cost, dist, n, generator, control=None) -> Estimate:
        if self.baseline == "leave-one-out" and n < 2:
            raise InputError(f"a leave-one-out baseline needs at least 2 draws a call; got {n}")
        sample = dist.sample(n, 1.0, generator)
        with torch.no_grad():
            value = cost(sample.hard)
        return _estimate((value - self._baseline(value)) * sample.log_prob, dist, value)

    def _baseline(self, value: Tensor) -> Tensor | float:
        if self.baseline == "none":
            return 0.0
        if self.baseline == "leave-one-out":
            return (value.sum() - value) / (len(value) - 1)
        mean, before = value.mean().item(), self._mean
        self._mean = mean if before is None else self.decay * before + (1 - self.decay) * mean
        return before or 0.0


BASELINES = ("none", "running-mean", "leave-one-out")


def exact_gradient(cost: Cost, dist: ArchDistribution) -> Tensor:
    """The exact gradient of the expected cost, by enumeration; for small spaces.

    Args:
        cost: op weights (N, S, K) -> (N,) costs.
        dist: the distribution.

    Returns:
        (S, K).
    """
    z = torch.stack([dist.space.encode(architecture) for architecture in dist.space]).to(dist.logits)
    with torch.no_grad():
        value = cost(z)
    probability = (z * dist.log_probs()).sum((-1, -2)).exp()
    return torch.autograd.grad((probability * value).sum(), dist.logits)[0]


def _estimate(surrogate: Tensor, dist: ArchDistribution, value: Tensor) -> Estimate:
    (gradient,) = torch.autograd.grad(surrogate.mean(), dist.logits)
    return Estimate(gradient, value.mean().item())


EstimatorMaker = Callable[[], Estimator]
ESTIMATORS: Registry[EstimatorMaker] = Registry("estimator", "labkit.register_estimator")


def register_estimator(name: str, make: EstimatorMaker | None = None, *, replace: bool = False) -> Any:
    """Add a gradient estimator by name. It works as a call and as a decorator of a class.

    Args:
        name: what `SearchConfig(estimator=...)` and the command line call it.
        make: a subclass of `Estimator`, or a function without arguments that returns one.
        replace: take the place of an estimator of this name.

    Returns:
        `make`, or a decorator for it.

    Raises:
        InputError: the name is taken or cannot be used, or what is made is no `Estimator`.
    """

    def register(make: EstimatorMaker) -> EstimatorMaker:
        if not isinstance(made := make(), Estimator):
            raise InputError(f"an estimator is a subclass of labkit.estimators.Estimator; {name!r} makes {made!r:.80}")
        return ESTIMATORS.register(name, make, replace=replace)

    return register if make is None else register(make)


_BUILT_IN: dict[str, EstimatorMaker] = {
    "unas": Unas,
    "unas-fitted": FittedUnas,
    "rebar": Rebar,
    "reinforce": Reinforce,
    "reinforce-no-baseline": lambda: Reinforce(baseline="none"),
    "reinforce-leave-one-out": lambda: Reinforce(baseline="leave-one-out"),
    "gumbel": GumbelSoftmax,
    "straight-through": StraightThrough,
    "darts": DartsSoftmax,
}
for _name, _make in _BUILT_IN.items():
    ESTIMATORS.register(_name, _make)
