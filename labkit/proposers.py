"""Which architecture to evaluate next, from those evaluated so far: by a model of the cost, or by a policy.

A proposer keeps nothing that its trials do not say, so a search that was stopped goes on as if it had not been.
In shapes: N trials, S slots, K candidates, J objectives (1 or 2), P policies, M candidates for the next trial.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from labkit.gaussian_process import Array, GaussianProcess, Rows
from labkit.spaces import Choices

INITIAL = 10  # balanced designs before anything is modelled
BLOCK = 5  # trials between two fits of the model, or two steps of a policy
POLICIES = 8  # compromises between two costs that are looked for at once


@dataclass(frozen=True)
class Goal:
    """What is looked for: the least cost, the front of two inside `worst`, or the least first one within a deadline."""

    worst: tuple[float | None, ...] = ()  # one an objective; None where only the trials can tell
    deadline: float | None = None  # on the second objective

    def box(self, costs: Array) -> Array:
        """(J,) costs from which on nothing counts: where they were not given, the largest of the first designs."""
        given = (*self.worst, None, None)[: costs.shape[1]]
        return np.array([seen if worst is None else worst for worst, seen in zip(given, costs[:INITIAL].max(0))])


class Proposer(Protocol):
    def propose(self, rows: Rows, costs: Array) -> Rows:
        """One row (S,) a trial, at least one, after the trials `rows` (N, S) with `costs` (N, J)."""
        ...


class Model:
    """Bayesian optimisation over factorised choices: not UNAS, but what is best when few calls are to be had.

    A Gaussian process an objective. Candidates come from policies, annealed on random weightings of the two posterior
    means, and from mutations of the front; of five trials two go to the largest expected gain in hypervolume, two to
    the best that a weighting finds, and one to a mutation that no model has approved.
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
        if self._block is None or self._block[0] != start:
            self._refit(last_fit(first, start), rows, costs)
            fitted = _Fitted.of(rows[:start], costs[:start], self.goal, self._kernels, self.mask, (self.seed, start))
            self._block = start, fitted
        fitted = self._block[1].with_trials(rows, costs)
        seen = set(map(bytes, rows))
        parents = fitted.parents()
        turn = (n - first) % BLOCK
        if turn == BLOCK - 1:
            mutated = fresh(mutations(parents, self.mask, 64, rng), seen)
            if len(mutated):
                return mutated[:1]
        pools = [fitted.drawn(rng, 16), mutations(parents, self.mask, 160, rng), uniform(self.mask, 32, rng)]
        candidates = fresh(np.concatenate(pools), seen)
        while not len(candidates):  # hardly any is left
            candidates = fresh(uniform(self.mask, 256, rng), seen)
        merit = fitted.gain(candidates) if turn % 2 == 0 else fitted.promise(candidates, rng)
        return candidates[[int(merit.argmax())]]

    def _refit(self, at: int, rows: Rows, costs: Array) -> None:
        """Correlations and noises by the trials before `at`, unless that is what they are."""
        if self._fitted_at != at:
            clipped = np.minimum(costs[:at], self.goal.box(costs[:at]))
            models = [GaussianProcess.fit(rows[:at], column) for column in clipped.T]
            self._kernels, self._fitted_at = tuple((m.rho, m.noise) for m in models), at


def last_fit(first: int, now: int) -> int:
    """The latest not after `now` of: first, then a fifth more each time. Correlations settle, and fits grow dear."""
    while (later := first + max(BLOCK, first // 5)) <= now:
        first = later
    return first


@dataclass(frozen=True, eq=False)
class _Fitted:
    """Surrogates of each objective, and policies that are good under random weightings of them."""

    goal: Goal
    rows: Rows
    costs: Array  # clipped to the box: how bad a bad one is says little about good ones
    models: tuple[GaussianProcess, ...]
    box: Array  # (J,)
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
        rng, box = np.random.default_rng(seed), goal.box(costs)
        clipped = np.minimum(costs, box)
        models = tuple(GaussianProcess.given(rows, y, *kernel) for y, kernel in zip(clipped.T, kernels))
        made = cls(goal, rows, clipped, models, box, np.empty(0))
        weights = made.weightings(POLICIES, rng)
        return cls(goal, rows, clipped, models, box, anneal(models, weights / made.ranges, mask, rng))

    def with_trials(self, rows: Rows, costs: Array) -> "_Fitted":
        """The same correlations and policies, with all trials seen."""
        if len(rows) == len(self.rows):
            return self
        clipped = np.minimum(costs, self.box)
        models = tuple(GaussianProcess.given(rows, y, m.rho, m.noise) for m, y in zip(self.models, clipped.T))
        return _Fitted(self.goal, rows, clipped, models, self.box, self.policies)

    @property
    def ranges(self) -> Array:
        """(J,) what each objective spans between the best trial and the box."""
        return np.maximum(self.box - self.costs.min(0), 1e-12)

    def weightings(self, n: int, rng: np.random.Generator) -> Array:
        """(n, J) that sum to 1, spread over all compromises."""
        if self.costs.shape[1] == 1:
            return np.ones((n, 1))
        share = (rng.permutation(n) + rng.random(n)) / n
        return np.stack([share, 1 - share], 1)

    def parents(self) -> Rows:
        """The trials that nothing beats; with a deadline, the best few in time."""
        if self.goal.deadline is not None:
            late = np.maximum(self.costs[:, 1] - self.goal.deadline, 0)
            return self.rows[np.lexsort((self.costs[:, 0], late))[:5]]
        return self.rows[front(self.costs)]

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
            return likely * (_improvement(*predicted[0], in_time.min()) if len(in_time) else 1.0)
        if len(predicted) == 1:
            return _improvement(*predicted[0], self.costs.min())
        return expected_hypervolume_gain(*predicted, self.costs[front(self.costs)], self.box)

    def promise(self, rows: Rows, rng: np.random.Generator) -> Array:
        """(M,) how good the posterior means are under one random weighting, or in time."""
        means = np.stack([model.predict(rows)[0] for model in self.models], 1)
        if self.goal.deadline is not None:
            return -means[:, 0] - 10 * self.ranges[0] * (means[:, 1] > self.goal.deadline)
        return -(means / self.ranges) @ self.weightings(POLICIES, rng)[0]


def anneal(
    models: Iterable[GaussianProcess], weights: Array, mask: NDArray[np.bool_], rng: np.random.Generator
) -> Array:
    """(P, S, K) policies, each of low expected cost under its row of `weights` (P, J), found slot by slot.

    Given the other slots, the expected posterior mean is linear in a slot's probabilities, so the best ones at a
    temperature are a softmax of exact means: no draw is needed. The temperature falls.
    """
    models, policies = tuple(models), np.repeat((mask / mask.sum(1, keepdims=True))[None], len(weights), 0)
    hot = [(m.rows[:, :, None] == np.arange(mask.shape[1])).astype(float) for m in models]  # (N, S, K)
    parts = [m.agreement(policies) for m in models]  # (P, S, N)
    duals = [weights[:, j, None] * m.scale * m.alpha for j, m in enumerate(models)]  # (P, N)
    size = sum(np.abs(weights[:, j]) * m.scale for j, m in enumerate(models))[:, None]  # (P, 1) of a usual difference
    for temperature in np.geomspace(0.5, 0.02, 6):
        for s in rng.permutation(len(mask)):
            cost = np.zeros((len(weights), mask.shape[1]))
            for j, model in enumerate(models):
                rest = duals[j] * parts[j].prod(1) / parts[j][:, s]
                cost += (1 - model.rho) * (rest @ hot[j][:, s])
            logits = np.where(mask[s], -cost / (temperature * size), -np.inf)
            chance = np.exp(logits - logits.max(1, keepdims=True))
            policies[:, s] = chance / chance.sum(1, keepdims=True)
            for j, model in enumerate(models):
                parts[j][:, s] = model.rho + (1 - model.rho) * (policies[:, s] @ hot[j][:, s].T)
    return policies


class Policy:
    """The score function with a learned control: unbiased whatever the cost is. For many calls, or a noisy cost.

    A policy for each of eight compromises. Each draw is of one of them at random, so it is one of their mixture, and
    serves all: weighted by how much likelier a policy makes it than the mixture does, which is at most eight times
    (the balance heuristic of Veach and Guibas 1995). The control is a linear model of the trials before the draw, whose
    expectation is in closed form; it counts by a factor in [0, 1], the share of the variance that it explains on trials
    left out, so that a control that has learnt nothing costs nothing.
    """

    def __init__(self, space: Choices, goal: Goal, seed: int, *, lr: float = 0.25):
        self.space, self.goal, self.seed, self.lr = space, goal, seed, lr
        self.mask = space.mask.numpy()
        self.logits = np.zeros((POLICIES, *self.mask.shape))
        self.moments = np.zeros((2, *self.logits.shape))  # of Adam
        self.steps, self.policies = 0, POLICIES

    def propose(self, rows: Rows, costs: Array) -> Rows:
        if len(rows) and (costs.shape[1] == 1 or self.goal.deadline is not None):
            self.policies = 1  # there is no compromise to be weighed
        while (self.steps + 1) * BLOCK <= len(rows):
            self._step(rows, costs)
        rng = np.random.default_rng((self.seed, self.steps))
        cumulative = self.chances()[rng.integers(self.policies, size=BLOCK)].cumsum(-1)
        drawn = (rng.random((BLOCK, len(self.mask), 1)) > cumulative / cumulative[..., -1:]).sum(-1)
        return drawn[len(rows) - self.steps * BLOCK :]

    def chances(self) -> Array:
        """(P, S, K) probabilities of the policies in use."""
        logits = np.where(self.mask, self.logits[: self.policies], -np.inf)
        chance = np.exp(logits - logits.max(-1, keepdims=True))
        return chance / chance.sum(-1, keepdims=True)

    def _step(self, rows: Rows, costs: Array) -> None:
        """One step of Adam for every policy, with the trials of a block; the controls know the earlier ones only."""
        start, chances = self.steps * BLOCK, self.chances()
        block = rows[start : start + BLOCK]
        likelihood = chances[:, np.arange(len(self.mask)), block].prod(-1)  # (P, N)
        ratios = likelihood / likelihood.mean(0)
        self.steps += 1
        for policy, (chance, ratio) in enumerate(zip(chances, ratios)):
            share = (policy + 0.5) / self.policies
            weighting = np.array([share, 1 - share]) if costs.shape[1] == 2 else np.ones(1)
            cost = scalar(costs[: start + BLOCK], self.goal, weighting)
            control = LinearControl.fit(rows[:start], cost[:start], self.mask)
            gradient = score_gradient(chance, block, cost[start:], control, ratio)
            first, second = self.moments[:, policy]
            first += 0.1 * (gradient - first)
            second += 0.01 * (gradient**2 - second)
            unbiased = (first / (1 - 0.9**self.steps)) / (np.sqrt(second / (1 - 0.99**self.steps)) + 1e-8)
            self.logits[policy] -= self.lr * unbiased


@dataclass(frozen=True, eq=False)
class LinearControl:
    """What each candidate adds to the cost, by ridge; with the share of the variance that it explains unseen."""

    matrix: Array  # (S, K)
    offset: float
    share: float  # in [0, 1]: R squared of leave-one-out predictions

    @classmethod
    def fit(cls, rows: Rows, cost: Array, mask: NDArray[np.bool_], penalty: float = 1.0) -> "LinearControl":
        if len(rows) < 2 or np.ptp(cost) == 0:
            return cls(np.zeros(mask.shape), float(cost.mean()) if len(cost) else 0.0, 0.0)
        x = (rows[:, :, None] == np.arange(mask.shape[1])).reshape(len(rows), -1).astype(float)
        centre, offset = x.mean(0), float(cost.mean())
        x, y = x - centre, cost - offset
        solve = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T)
        weights, leverage = solve @ y, np.einsum("ni,in->n", x, solve) + 1 / len(rows)
        left_out = (y - x @ weights) / np.maximum(1 - leverage, 1e-6)
        share = float(np.clip(1 - (left_out**2).mean() / y.var(), 0, 1))
        return cls(weights.reshape(mask.shape), offset - float(centre @ weights), share)

    def __call__(self, rows: Rows) -> Array:
        return self.offset + self.matrix[np.arange(len(self.matrix)), rows].sum(-1)

    def expected(self, chance: Array) -> float:
        """Its mean under a policy (S, K)."""
        return self.offset + float((chance * self.matrix).sum())


def score_gradient(chance: Array, rows: Rows, cost: Array, control: LinearControl, ratio: Array | float = 1.0) -> Array:
    """(S, K) unbiased estimate of d E[cost] / d logits of the policy `chance` from independent draws `rows`.

    Mean of ratio x (cost - share x control) grad log p, plus share x the gradient of the control's expectation; the
    control's constant is a baseline, which no draw of these has had a part in.

    Args:
        ratio: (N,) probability of each row under the policy over that under what it was drawn from.
    """
    score = (rows[:, :, None] == np.arange(chance.shape[1])) - chance  # (N, S, K) of log p
    baseline = control.share * control(rows) + (1 - control.share) * control.expected(chance)
    exact = chance * (control.matrix - (chance * control.matrix).sum(-1, keepdims=True))
    return ((ratio * (cost - baseline))[:, None, None] * score).mean(0) + control.share * exact


def scalar(costs: Array, goal: Goal, weighting: Array) -> Array:
    """(N,) one cost of several, each in units of what it spans; what is late counts as the worst there is."""
    box = goal.box(costs)
    scaled = np.minimum(costs, box) / np.maximum(box - costs.min(0), 1e-12)
    if goal.deadline is not None:
        return np.where(costs[:, 1] <= goal.deadline, scaled[:, 0], box[0] / np.maximum(box - costs.min(0), 1e-12)[0])
    return scaled @ weighting


# --- rivals -------------------------------------------------------------------------------------------------


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
        return unseen(lambda mask, n, rng: mutations(parent, mask, 2 * n, rng)[::2], rows, self.mask, rng)


class ArchiveMutation:
    """A random one of those that nothing beats, changed in one slot or in two."""

    def __init__(self, space: Choices, goal: Goal, seed: int):
        self.mask, self.goal, self.seed = space.mask.numpy(), goal, seed

    def propose(self, rows: Rows, costs: Array) -> Rows:
        rng = np.random.default_rng((self.seed, len(rows)))
        if len(rows) < INITIAL:
            return unseen(uniform, rows, self.mask, rng)
        if self.goal.deadline is not None:
            late = np.maximum(costs[:, 1] - self.goal.deadline, 0)
            parents = rows[np.lexsort((costs[:, 0], late))[:3]]
        else:
            parents = rows[front(costs)]
        return unseen(lambda mask, n, rng: rng.permutation(mutations(parents, mask, n, rng)), rows, self.mask, rng)


def unseen(draw: Callable[..., Rows], rows: Rows, mask: NDArray[np.bool_], rng: np.random.Generator) -> Rows:
    """(1, S) the first row of `draw(mask, n, rng)` that is not among `rows`; a uniform one when they run out."""
    seen = set(map(bytes, rows))
    for source in (draw, draw, uniform, uniform, uniform):
        if len(found := fresh(source(mask, 32, rng), seen)):
            return found[:1]
    every = np.stack(np.unravel_index(np.arange(int(mask.sum(1).prod())), tuple(mask.sum(1))), 1)
    return fresh(rng.permutation(every), seen)[:1]


# --- rows and fronts ----------------------------------------------------------------------------------------


def balanced(mask: NDArray[np.bool_], n: int, rng: np.random.Generator) -> Rows:
    """(n, S) different rows in which the candidates of a slot occur equally often, to one."""
    for _ in range(100):
        columns = [rng.permutation(np.resize(rng.permutation(width), n)) for width in mask.sum(1)]
        rows = np.stack(columns, 1)
        if len(np.unique(rows, axis=0)) == n:
            return rows
    every = np.stack(np.unravel_index(rng.permutation(int(mask.sum(1).prod())), tuple(mask.sum(1))), 1)
    return every[:n]


def uniform(mask: NDArray[np.bool_], n: int, rng: np.random.Generator) -> Rows:
    return np.stack([rng.integers(width, size=n) for width in mask.sum(1)], 1)


def mutations(parents: Rows, mask: NDArray[np.bool_], n: int, rng: np.random.Generator) -> Rows:
    """(n, S) random parents, one half changed in one slot, the other in two."""
    rows, widths = parents[rng.integers(len(parents), size=n)], mask.sum(1)
    free = np.flatnonzero(widths > 1)
    places = free[rng.random((n, len(free))).argsort(1)[:, :2]]  # two slots of each, in random order
    for turn, slots in enumerate(places.T):
        at = np.arange(turn, n, turn + 1)  # all rows in the first slot, every other one in the second as well
        widest = widths[slots[at]]
        rows[at, slots[at]] = (rows[at, slots[at]] + rng.integers(1, widest)) % widest
    return rows


def fresh(rows: Rows, seen: set[bytes]) -> Rows:
    """Those that were not seen, once each, in their order."""
    kept = {row.tobytes(): row for row in rows if row.tobytes() not in seen}
    return np.array(list(kept.values()), dtype=np.int64).reshape(-1, rows.shape[1])


def front(costs: Array) -> NDArray[np.int64]:
    """Indices of the rows that no other beats, in rising order of the first cost; of equals the first."""
    if costs.shape[1] == 1:
        return costs[:, 0].argmin(keepdims=True)
    order = np.lexsort((costs[:, 1], costs[:, 0]))
    second = costs[order, 1]
    before = np.concatenate([[np.inf], np.minimum.accumulate(second)[:-1]])
    return order[second < before]


def expected_hypervolume_gain(
    first: tuple[Array, Array], second: tuple[Array, Array], front: Array, box: Array
) -> Array:
    """(M,) expected growth of the area that the front dominates inside the box, for independent normal costs.

    The area that the front leaves free is cut into strips along the first cost, in each of which the second has one
    bound. A point at (a, b) fills (u' - max(u, a))+ (bound - b)+ of the strip from u to u', and the two factors are
    independent, each with an expectation in closed form.

    Args:
        first, second: means and standard deviations (M,) of the two costs.
        front: (F, 2) in rising order of the first cost.
    """
    inside = front[(front < box).all(1)]
    edges = np.minimum(np.append(inside[:, 0], box[0]), box[0])  # right ends of the strips
    bounds = np.append(box[1], inside[:, 1])
    below = _improvement(first[0][:, None], first[1][:, None], edges)  # (M, strips), from minus infinity to each edge
    widths = np.diff(below, axis=1, prepend=0.0)
    return (widths * _improvement(second[0][:, None], second[1][:, None], bounds)).sum(1)


def _improvement(mean: Array, spread: Array, than: Array | float) -> Array:
    """E[(than - y)+] of a normal y."""
    z = (than - mean) / spread
    return spread * (z * _normal_cdf(z) + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi))


def _normal_cdf(z: Array) -> Array:
    from scipy.special import ndtr  # here, so that `import labkit` stays light

    return ndtr(z)
