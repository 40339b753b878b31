"""A distribution over architectures: one categorical a slot, stored as logits (S, K).

In shapes: S slots, K candidates, N samples.
"""

import heapq
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from labkit.spaces import Architecture, SearchSpace
from labkit.system.errors import InputError


class ArchSample(NamedTuple):
    """N sampled architectures in four forms.

    `soft` and `soft_given_hard` have equal values and different gradients. That difference is the correction term
    that makes UNAS (and REBAR) unbiased.
    """

    hard: Tensor  # (N, S, K) one-hot, no gradient
    soft: Tensor  # (N, S, K) relaxed, differentiable in the logits at fixed noise
    soft_given_hard: Tensor  # (N, S, K) relaxed given `hard`, differentiable in the logits at fixed conditional noise
    log_prob: Tensor  # (N,) log-probability of `hard`, in nats, differentiable in the logits


class ArchDistribution(nn.Module):
    """Independent categorical distributions, one per slot; uniform at first.

    A candidate that a slot lacks has probability 0.

    Args:
        space: gives the slots and their candidates.
        softening: if above 0, each distribution is mixed with the uniform one, in sampling and in log p: with k
            candidates, a probability p becomes (p + softening) / (1 + k softening), so that no candidate is excluded
            (UNAS, for the large spaces).

    Raises:
        InputError: the softening is negative or not finite.
    """

    mask: Tensor  # (S, K) bool, true where a slot has the candidate

    def __init__(self, space: SearchSpace, softening: float = 0.0):
        super().__init__()
        if not (math.isfinite(softening) and softening >= 0):
            raise InputError(f"softening is 0 or more, such as 0.08; got {softening!r}")
        self.space = space
        self.softening = softening
        self.logits = nn.Parameter(torch.zeros(space.mask.shape))
        self.register_buffer("mask", space.mask.clone())

    def log_probs(self, logits: Tensor | None = None) -> Tensor:
        """Log-probabilities of the candidates.

        Args:
            logits: (S, K) to use in place of those of the distribution.

        Returns:
            (S, K); a large negative number where a slot has no such candidate.
        """
        log_p = (self.logits if logits is None else logits).masked_fill(~self.mask, -1e9).log_softmax(-1)
        if not self.softening:
            return log_p
        p = (log_p.exp() + self.softening).masked_fill(~self.mask, 0.0)
        p = p / p.sum(-1, keepdim=True)
        return (
            p.masked_fill(~self.mask, 1.0).log().masked_fill(~self.mask, -1e9)
        )  # no log 0, whose gradient is not a number

    def probs(self, logits: Tensor | None = None) -> Tensor:
        """Probabilities of the candidates.

        Args:
            logits: (S, K) to use in place of those of the distribution.

        Returns:
            (S, K).
        """
        return self.log_probs(logits).exp()

    def sample(self, n: int, temperature: float, generator: torch.Generator) -> ArchSample:
        """Sample architectures with the Gumbel trick, with their relaxation and its coupled conditional.

        The code uses the exponential noise e = -log u, in float64 on the CPU, so that a seed gives the same
        architectures on every device and rare candidates keep their probability.
        Relaxation: Jang et al. 2017. Conditional: Tucker et al. 2017, appendix B; coupled as they recommend.

        Args:
            n: number of samples.
            temperature: of the relaxation.
            generator: random numbers, on the CPU.

        Returns:
            The samples.
        """
        log_p = self.log_probs().double()
        e = torch.empty(n, *log_p.shape, dtype=torch.float64).exponential_(generator=generator).to(log_p.device)
        e = e.clamp_min(torch.finfo(torch.float64).tiny)

        h = log_p - e.log()  # the perturbed logits: their argmax is an exact categorical sample
        winner = h.argmax(-1, keepdim=True)
        hard = torch.zeros_like(h).scatter_(-1, winner, 1.0)

        # The noise that would have given this same h had `hard` been fixed first. The winner's part, the smallest
        # e / p, is Exp(1) and independent of which candidate won; what exceeds it in the others is Exp(1) again.
        with torch.no_grad():
            p = log_p.exp()
            log_first = -h.gather(-1, winner)
            excess = (e - p * log_first.exp()).clamp_min(torch.finfo(torch.float64).tiny)
        h_given = torch.where(
            hard.bool(),
            -log_first,
            -torch.logaddexp(excess.log() - log_p, log_first.expand_as(log_p.expand_as(e))),
        )

        dtype = self.logits.dtype
        return ArchSample(
            hard=hard.to(dtype),
            soft=(h / temperature).softmax(-1).to(dtype),
            soft_given_hard=(h_given / temperature).softmax(-1).to(dtype),
            log_prob=(hard * log_p).sum((-1, -2)).to(dtype),
        )

    def entropy(self, logits: Tensor | None = None) -> Tensor:
        """Entropy, summed over the slots.

        Args:
            logits: (S, K) to use in place of those of the distribution.

        Returns:
            A scalar, in nats.
        """
        log_p = self.log_probs(logits)
        return -(log_p.exp() * log_p).sum()

    def mode(self) -> Architecture:
        """The most probable architecture.

        Returns:
            The architecture; in each slot the first of equals.
        """
        return self.space.decode(self.log_probs())

    def by_probability(self) -> Iterator[Architecture]:
        """Enumerate architectures by probability; the space may have any size.

        Returns:
            An iterator from the most probable down, each once.
        """
        log_p = self.log_probs().detach().double().cpu()
        ranked = [log_p[s, : len(slot)].sort(descending=True, stable=True) for s, slot in enumerate(self.space.slots)]
        values, names = [r.values.tolist() for r in ranked], [r.indices.tolist() for r in ranked]
        at = (0,) * len(ranked)  # places in each slot's order; a child is one place further in one slot
        waiting, seen = [(-sum(v[0] for v in values), at)], {at}
        while waiting:
            cost, at = heapq.heappop(waiting)
            yield self.space.architecture(slot[names[s][at[s]]] for s, slot in enumerate(self.space.slots))
            for s, place in enumerate(at):
                child = (*at[:s], place + 1, *at[s + 1 :])
                if place + 1 < len(values[s]) and child not in seen:
                    seen.add(child)
                    heapq.heappush(waiting, (cost + values[s][place] - values[s][place + 1], child))
