"""Bayesian optimisation whose candidates are drawn from policies.

Shapes: N trials, S slots, K candidates, J objectives (1 or 2), P policies, M candidates for the next trial.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from labkit.blackbox.gaussian_process import Array, GaussianProcess, Rows
from labkit.blackbox.proposer import BLOCK, INITIAL, POLICIES, Goal, balanced, fresh, mutations, parents, uniform
from labkit.pareto import frontier_rows
from labkit.spaces import Choices


class Model:
    """Bayesian optimisation over factorised choices, for few calls. It is not UNAS.

    There is a Gaussian process for each objective. Candidates come from policies, annealed on random weightings of the
    posterior means, and from mutations of the front. Of five trials two maximise the expected gain in hypervolume, two
    are the best under a random weighting, and one is a mutation that does not depend on the model.
    """

    def __init__(self, space: Choices, goal: Goal, seed: int):
        self.space, self.goal, self.seed = space, goal, seed
        self.mask = space.mask.numpy()
        self._block: tuple[int, _Fitted] | None = None
        self._kernels: tuple[tuple[float, float], ...] = ()  # correlation and noise of each objective
        self._fitted_at = 0

    def propose(self, rows: Rows, costs: Array) -> Rows:
        n = len(rows)
        rng = np.random.default_rng((self.seed, n))
        first = min(INITIAL, self.space.size)
        if n < first:
            return balanced(self.mask, first, np.random.default_rng(self.seed))[n:]
        start = first + (n - first) // BLOCK * BLOCK
        goal, costs = (self.goal, costs) if self.goal.deadline is None else in_logarithms(self.goal, costs, start)
        if self._block is None or self._block[0] != start:
            self._refit(last_fit(first, start), rows, costs, goal)
            fitted = _Fitted.of(rows[:start], costs[:start], goal, self._kernels, self.mask, (self.seed, start))
            self._block = start, fitted
        fitted = self._block[1].with_trials(rows, costs)
        seen = set(map(bytes, rows))
        best = parents(rows, fitted.costs, goal, most=5)
        turn = (n - first) % BLOCK
        if turn == BLOCK - 1:
            mutated = fresh(mutations(best, self.mask, 64, rng), seen)
            if len(mutated):
                return mutated[:1]
        pools = [fitted.drawn(rng, 16), mutations(best, self.mask, 160, rng), uniform(self.mask, 32, rng)]
        candidates = fresh(np.concatenate(pools), seen)
        while not len(candidates):  # hardly any is left
            candidates = fresh(uniform(self.mask, 256, rng), seen)
        merit = fitted.gain(candidates) if turn % 2 == 0 else fitted.promise(candidates, rng)
        return candidates[[int(merit.argmax())]]

    def _refit(self, at: int, rows: Rows, costs: Array, goal: Goal) -> None:
        """Correlations and noises by the trials before `at`, unless that is what they are."""
        if self._fitted_at != at:
            clipped = np.minimum(costs[:at], goal.reference(costs[:at]))
            models = [GaussianProcess.fit(rows[:at], column) for column in clipped.T]
            self._kernels, self._fitted_at = tuple((m.rho, m.noise) for m in models), at


def in_logarithms(goal: Goal, costs: Array, start: int) -> tuple[Goal, Array]:
    """Put errors on a logarithmic scale that separates the small ones, for a search under a deadline.

    Only the least error counts, and most trials are far from it: on the plain scale a surrogate fits the large errors.
    The logarithm is that of the excess over the least error before `start`, plus a tenth of the median excess.

    Args:
        goal: The goal of the search, with a deadline.
        costs: (N, 2) errors and milliseconds.
        start: Trials that the scale is made from.

    Returns:
        The goal and the costs on that scale.
    """
    least, middle = costs[:start, 0].min(), np.median(costs[:start, 0])
    small = 0.1 * (middle - least) + 1e-12
    # A trial since then may lie below the least: it counts as half the small excess until the next start.
    bent = lambda error: np.log(np.maximum(error - least + small, small / 2))
    worst = tuple(None if bound is None else float(bent(bound)) for bound in goal.worst[:1])
    return replace(goal, worst=(*worst, *goal.worst[1:])), np.stack([bent(costs[:, 0]), costs[:, 1]], 1)


def last_fit(first: int, now: int) -> int:
    """Return the trial of the last fit: fits are at `first`, then after a fifth more trials each time.

    Args:
        first: Trial of the first fit.
        now: Trials so far.

    Returns:
        A number from `first` to `now`. Correlations settle, and fits become costly.
    """
    while (later := first + max(BLOCK, first // 5)) <= now:
        first = later
    return first


@dataclass(frozen=True, eq=False)
class _Fitted:
    """Surrogates of each objective, and policies that are good under random weightings of them."""

    goal: Goal
    rows: Rows
    costs: Array  # clipped to the reference: how bad a bad one is says little about good ones
    models: tuple[GaussianProcess, ...]
    reference: Array  # (J,)
    policies: Array  # (P, S, K)

    @classmethod
    def of(
        cls,
        rows: Rows,
        costs: Array,
        goal: Goal,
        kernels: tuple[tuple[float, float], ...],
        mask: NDArray[np.bool_],
        seed: tuple[int, int],
    ) -> "_Fitted":
        rng, reference = np.random.default_rng(seed), goal.reference(costs)
        clipped = np.minimum(costs, reference)
        models = tuple(GaussianProcess.given(rows, y, *kernel) for y, kernel in zip(clipped.T, kernels))
        made = cls(goal, rows, clipped, models, reference, np.empty(0))
        weights = made.weightings(POLICIES, rng)
        return cls(goal, rows, clipped, models, reference, anneal(models, weights / made.ranges, mask, rng))

    def with_trials(self, rows: Rows, costs: Array) -> "_Fitted":
        """The same correlations and policies, with all trials seen."""
        if len(rows) == len(self.rows):
            return self
        clipped = np.minimum(costs, self.reference)
        models = tuple(GaussianProcess.given(rows, y, m.rho, m.noise) for m, y in zip(self.models, clipped.T))
        return _Fitted(self.goal, rows, clipped, models, self.reference, self.policies)

    @property
    def ranges(self) -> Array:
        """(J,) what each objective spans between the best trial and the reference."""
        return np.maximum(self.reference - self.costs.min(0), 1e-12)

    def weightings(self, n: int, rng: np.random.Generator) -> Array:
        """(n, J) that sum to 1, spread over all compromises."""
        if self.costs.shape[1] == 1:
            return np.ones((n, 1))
        share = (rng.permutation(n) + rng.random(n)) / n
        return np.stack([share, 1 - share], 1)

    def drawn(self, rng: np.random.Generator, each: int) -> Rows:
        """`each` rows of every policy."""
        cumulative = self.policies.cumsum(-1)
        throws = rng.random((each, *self.policies.shape[:2], 1))
        picked = (throws > cumulative[None] / cumulative[None, ..., -1:]).sum(-1)
        return picked.reshape(-1, self.policies.shape[1])

    def gain(self, rows: Rows) -> Array:
        """(M,) expected improvement: of the hypervolume, of a single objective, or of the error in time."""
        predicted = [model.predict(rows) for model in self.models]
        if self.goal.deadline is not None:
            in_time = self.costs[self.costs[:, 1] <= self.goal.deadline, 0]
            likely = _normal_cdf((self.goal.deadline - predicted[1][0]) / predicted[1][1])
            return likely * (expected_improvement(*predicted[0], in_time.min()) if len(in_time) else 1.0)
        if len(predicted) == 1:
            return expected_improvement(*predicted[0], self.costs.min())
        first, second = predicted
        return expected_hypervolume_gain(first, second, self.costs[frontier_rows(self.costs)], self.reference)

    def promise(self, rows: Rows, rng: np.random.Generator) -> Array:
        """(M,) how good the posterior means are under one random weighting, or in time."""
        means = np.stack([model.predict(rows)[0] for model in self.models], 1)
        if self.goal.deadline is not None:
            return -means[:, 0] - 10 * self.ranges[0] * (means[:, 1] > self.goal.deadline)
        return -(means / self.ranges) @ self.weightings(POLICIES, rng)[0]


def anneal(
    models: Iterable[GaussianProcess], weights: Array, mask: NDArray[np.bool_], rng: np.random.Generator
) -> Array:
    """Find policies of low expected cost, slot by slot.

    Given the other slots, the expected posterior mean is linear in the probabilities of a slot, so the best ones at a
    temperature are a softmax of exact means: no draw is needed. The temperature falls.

    Args:
        models: A Gaussian process for each objective.
        weights: (P, J) weights of the objectives.
        mask: (S, K) which candidates exist.
        rng: Order of the slots.

    Returns:
        (P, S, K) probabilities.
    """
    models, policies = tuple(models), np.repeat((mask / mask.sum(1, keepdims=True))[None], len(weights), 0)
    hot = [(m.rows[:, :, None] == np.arange(mask.shape[1])).astype(float) for m in models]  # (N, S, K)
    parts = [m.agreement(policies) for m in models]  # (P, S, N)
    duals = [weights[:, j, None] * m.scale * m.alpha for j, m in enumerate(models)]  # (P, N)
    usual = np.sum([np.abs(weights[:, j]) * m.scale for j, m in enumerate(models)], axis=0)[:, None]  # (P, 1)
    for temperature in np.geomspace(0.5, 0.02, 6):
        for s in rng.permutation(len(mask)):
            cost = np.zeros((len(weights), mask.shape[1]))
            for j, model in enumerate(models):
                rest = duals[j] * parts[j].prod(1) / parts[j][:, s]
                cost += (1 - model.rho) * (rest @ hot[j][:, s])
            logits = np.where(mask[s], -cost / (temperature * usual), -np.inf)
            chance = np.exp(logits - logits.max(1, keepdims=True))
            policies[:, s] = chance / chance.sum(1, keepdims=True)
            for j, model in enumerate(models):
                parts[j][:, s] = model.rho + (1 - model.rho) * (policies[:, s] @ hot[j][:, s].T)
    return policies


def expected_hypervolume_gain(
    first: tuple[Array, Array], second: tuple[Array, Array], front: Array, reference: Array
) -> Array:
    """Return the expected growth of the area that the front dominates, for independent normal costs.

    The area that the front leaves free is cut into strips along the first cost, in each of which the second has one
    bound. A point at (a, b) fills (u' - max(u, a))+ (bound - b)+ of the strip from u to u', and the two factors are
    independent, each with an expectation in closed form.

    Args:
        first, second: Means and standard deviations, (M,) each, of the two costs.
        front: (F, 2) costs in rising order of the first.
        reference: (2,) the reference point.

    Returns:
        (M,) areas.
    """
    inside = front[(front < reference).all(1)]
    edges = np.minimum(np.append(inside[:, 0], reference[0]), reference[0])  # right ends of the strips
    bounds = np.append(reference[1], inside[:, 1])
    below = expected_improvement(
        first[0][:, None], first[1][:, None], edges
    )  # (M, strips), from minus infinity to each edge
    widths = np.diff(below, axis=1, prepend=0.0)
    return (widths * expected_improvement(second[0][:, None], second[1][:, None], bounds)).sum(1)


def expected_improvement(mean: Array, spread: Array, than: Array | float) -> Array:
    """Return the expected improvement of normal costs over one cost: E[(than - y)+].

    Args:
        mean: (M,) means of the costs.
        spread: (M,) standard deviations.
        than: the cost to improve on, one for all or one for each.

    Returns:
        (M,) expectations, at least 0.
    """
    z = (than - mean) / spread
    return spread * (z * _normal_cdf(z) + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi))


def _normal_cdf(z: Array) -> Array:
    from scipy.special import ndtr  # here, so that `import labkit` stays light

    return ndtr(z)
