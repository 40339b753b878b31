"""Whom a policy proposes under a limit: networks just inside it, its most probable ones and others that it draws."""

import itertools

import torch

from labkit.estimators.descent import LOOK
from labkit.estimators.distributions import ArchDistribution
from labkit.latency.distribution import LatencyDistribution, LatencyModel
from labkit.oneshot.limits import USED
from labkit.spaces import Architecture

NEAR = 0.9  # share of the limit that is just inside


@torch.no_grad()
def just_inside(
    dist: ArchDistribution, model: LatencyModel, limit_ms: float, n: int, generator: torch.Generator
) -> list[Architecture]:
    """At most `n` different architectures that use their time: the half of them the most probable, the others drawn.

    The most probable of a policy that is still undecided are variations of one network. What is drawn, with the same
    preferences, differs.

    Args:
        model: of the milliseconds.
        limit_ms: none takes longer. None is much faster either than the limit, or than the policy where that may be
            faster and has become so.
        generator: of the draws.

    Returns:
        The most probable first; fewer than `n`, or none, where the policy hardly ever draws such.
    """
    spread = LatencyDistribution(model, dist.probs())
    least_ms = NEAR * min(limit_ms, spread.mean / USED)
    takes = lambda a: model(dist.space.encode(a).double()[None]).item()
    inside = lambda a: least_ms <= takes(a) <= limit_ms * (1 + 1e-12)
    likely = filter(inside, itertools.islice(dist.by_probability(), LOOK))
    found = dict.fromkeys(itertools.islice(likely, (n + 1) // 2))
    for a in itertools.chain(spread.draw(dist.space, n, least_ms, limit_ms, generator), likely):
        if len(found) == n:
            break
        found[a] = None
    return list(found)
