"""Black-box searches to compare with: random, regularised evolution, and mutations of the archive."""

import numpy as np

from labkit.gaussian_process import Array, Rows
from labkit.proposals import INITIAL, Goal, mutations, parents, scalar, uniform, unseen
from labkit.spaces import Choices


class Random:
    """Different architectures, uniformly."""

    def __init__(self, space: Choices, goal: Goal, seed: int):
        self.mask, self.seed = space.mask.numpy(), seed

    def propose(self, rows: Rows, costs: Array) -> Rows:
        return unseen(uniform, rows, self.mask, np.random.default_rng((self.seed, len(rows))))


class Evolution:
    """Regularised evolution (Real et al. 2019): of 10 drawn from the last 50, the best has a child; the oldest die.

    Which of two costs counts for how much is drawn anew for every tournament.
    """

    def __init__(self, space: Choices, goal: Goal, seed: int, *, population: int = 50, tournament: int = 10):
        self.mask, self.goal, self.seed = space.mask.numpy(), goal, seed
        self.population, self.tournament = population, tournament

    def propose(self, rows: Rows, costs: Array) -> Rows:
        rng = np.random.default_rng((self.seed, len(rows)))
        if len(rows) < self.population // 2:
            return unseen(uniform, rows, self.mask, rng)
        alive = np.arange(max(0, len(rows) - self.population), len(rows))
        drawn = rng.choice(alive, size=min(self.tournament, len(alive)), replace=False)
        share = rng.random()
        cost = scalar(costs, self.goal, np.array([share, 1 - share])[: costs.shape[1]])
        parent = rows[[drawn[cost[drawn].argmin()]]]
        return unseen(lambda mask, n, rng: mutations(parent, mask, n, rng, most=1), rows, self.mask, rng)


class ArchiveMutation:
    """A random one of those that nothing beats, changed in one slot or in two."""

    def __init__(self, space: Choices, goal: Goal, seed: int):
        self.mask, self.goal, self.seed = space.mask.numpy(), goal, seed

    def propose(self, rows: Rows, costs: Array) -> Rows:
        rng = np.random.default_rng((self.seed, len(rows)))
        if len(rows) < INITIAL:
            return unseen(uniform, rows, self.mask, rng)
        best = parents(rows, costs, self.goal, most=3)
        return unseen(lambda mask, n, rng: rng.permutation(mutations(best, mask, n, rng)), rows, self.mask, rng)
