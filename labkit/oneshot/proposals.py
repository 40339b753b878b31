"""Architectures that a policy proposes under a limit: its most probable ones just inside the limit, and samples."""

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
    """Propose architectures that use the time of a limit: one half the most probable ones, the other half samples.

    The most probable architectures of a broad policy are variations of a single one. Samples follow the same
    preferences and differ more.

    Args:
        dist: the policy.
        model: latency of the architectures.
        limit_ms: no proposal takes longer. None is much faster than the limit either, or than the policy where the
            policy may be faster.
        n: how many.
        generator: random numbers of the samples.

    Returns:
        At most `n` different architectures, the most probable first; fewer, or none, where the policy rarely samples
        such.
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
