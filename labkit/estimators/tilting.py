"""The nearest policy with a given expected latency and at least a given entropy.

Of all policies q with E_q[ms] = m, the one nearest to p (smallest KL(q || p)) has the logits of p minus a multiple of
each candidate's milliseconds: p is *tilted*. Where its entropy must be at least h, the logits of p are flattened
first: q ~ p^flat exp(-rate ms), with 0 <= flat <= 1. Both follow from the Lagrangian of the KL divergence.

In shapes: S slots, K candidates.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from labkit.estimators.distributions import ArchDistribution
from labkit.estimators.gradient_estimators import Cost

STEEPEST = 1e4  # nats between the fastest and the slowest candidate of the widest slot: as good as certain
ROUNDS = 8  # of a latency that is not a sum of slots, as in cells: its gradient follows the policy


def ms_gradient(dist: ArchDistribution, ms: Cost, logits: Tensor | None = None) -> Tensor:
    """Derivatives of the expected latency with respect to the probabilities.

    Args:
        dist: the policy.
        ms: milliseconds (N,) of op weights (N, S, K), linear in each slot.
        logits: (S, K) to use in place of those of the policy.

    Returns:
        (S, K) milliseconds; 0 where a slot has no such candidate.
    """
    with torch.enable_grad():
        probs = dist.probs(logits).detach().requires_grad_()
        (found,) = torch.autograd.grad(ms(probs[None]).sum(), probs)
    return found.masked_fill(~dist.mask, 0.0)


@torch.no_grad()
def tilt(
    dist: ArchDistribution,
    ms: Cost,
    expected_ms: float,
    *,
    at_most: bool = False,
    least_entropy: float = 0.0,
) -> None:
    """Move a policy in place to the nearest one with a given expected latency.

    A latency outside the range of the space becomes the nearest possible one. Where the latency is a product of slots,
    as in cells, the nearest factorised policy is found by fixed-point rounds, each along the derivatives of the one
    before.

    Args:
        dist: the policy; moved in place.
        ms: milliseconds (N,) of op weights (N, S, K), linear in each slot, such as a LatencyTable.
        expected_ms: the wanted expected latency.
        at_most: leave a policy unchanged that is faster.
        least_entropy: smallest entropy of the new policy, in nats; where it is not possible, the largest possible one.
    """
    old = dist.logits.detach().double()
    moved = _moved(dist, ms, old, expected_ms, at_most)
    if dist.entropy(moved) < least_entropy:
        flattened = lambda flat: _moved(dist, ms, flat * old, expected_ms, at_most)
        more = lambda flat: dist.entropy(flattened(flat)).item() - least_entropy
        moved = flattened(_zero(more, 0.0, 1.0) if more(0.0) > 0 else 0.0)
    dist.logits.copy_(moved)


def most_undecided(dist: ArchDistribution, ms: Cost, expected_ms: float) -> float:
    """The largest entropy of a policy with a given expected latency.

    Args:
        dist: gives the space and the softening.
        ms: milliseconds (N,) of op weights (N, S, K), linear in each slot.
        expected_ms: the expected latency.

    Returns:
        Nats.
    """
    return dist.entropy(_moved(dist, ms, torch.zeros_like(dist.logits).double(), expected_ms, False)).item()


@torch.no_grad()
def _moved(dist: ArchDistribution, ms: Cost, old: Tensor, expected_ms: float, at_most: bool) -> Tensor:
    """(S, K) the logits `old`, tilted."""
    expected = lambda logits: ms(dist.probs(logits)[None]).item()
    if at_most and expected(old) <= expected_ms:
        return old
    along, moved = ms_gradient(dist, ms, old), old
    for _ in range(ROUNDS):
        widest = (along.amax(-1) - along.amin(-1)).max().item()
        if widest == 0:
            break  # nothing changes the latency
        above = partial(lambda along, rate: expected(old - rate * along) - expected_ms, along)
        moved = old - _crossing(above, 1 / widest, STEEPEST / widest) * along
        again = ms_gradient(dist, ms, moved)
        if (again - along).abs().max() <= 1e-6 * widest:
            break
        along = again
    return moved


def _crossing(above: Callable[[float], float], width: float, end: float) -> float:
    """Where the falling function `above` is 0, looked for in steps that begin with `width`; at most `end` from 0."""
    sign = 1.0 if above(0.0) >= 0 else -1.0
    inner, outer = 0.0, width
    while sign * above(sign * outer) >= 0:
        inner, outer = outer, 2 * outer
        if inner >= end:
            return sign * end
    return sign * _zero(lambda size: above(sign * size), inner, outer)


def _zero(of: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that changes its sign between the two is 0 (Brent 1973)."""
    from scipy.optimize import brentq  # here, so that `import labkit` stays light

    return float(brentq(of, low, high, xtol=1e-12, rtol=1e-12))
