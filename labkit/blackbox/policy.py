"""Proposals drawn from policies that the unbiased gradient estimator trains, with a learned control.

Shapes: N trials, S slots, K candidates, J objectives (1 or 2), P policies.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labkit.blackbox.gaussian_process import Array, Rows
from labkit.blackbox.proposer import BLOCK, POLICIES, Goal, scalar
from labkit.spaces import Choices


class Policy:
    """The score function with a learned control: unbiased for any cost. For many calls, or a noisy cost.

    There is a policy for each of eight compromises. Each draw is of one of them at random, so it is a draw of their
    mixture, and serves all: its weight is the probability under the policy over that under the mixture, at most eight
    (the balance heuristic of Veach and Guibas 1995). The control is a linear model of the trials before the draw, whose
    expectation has a closed form. It is multiplied by the share of the variance that it explains on trials left out, so
    a control that has learned nothing changes nothing.

    Args:
        space: The choices.
        goal: The goal of the search.
        seed: Of all draws.
        lr: Learning rate of the logits.
    """

    repeats = True  # it draws, and what is probable may come again

    def __init__(self, space: Choices, goal: Goal, seed: int, *, lr: float = 0.25):
        self.space, self.goal, self.seed, self.lr = space, goal, seed, lr
        self.mask = space.mask.numpy()
        self.logits = np.zeros((POLICIES, *self.mask.shape))
        self.moments = np.zeros((2, *self.logits.shape))  # of Adam
        self.steps, self.policies = 0, POLICIES

    def propose(self, rows: Rows, costs: Array) -> Rows:
        # Not before the first block is full: it is drawn when no cost is known, and again by a run that resumes in it.
        if len(rows) >= BLOCK and (costs.shape[1] == 1 or self.goal.deadline is not None):
            self.policies = 1  # there is no compromise to be weighed
        while (self.steps + 1) * BLOCK <= len(rows):
            self._step(rows, costs)
        rng = np.random.default_rng((self.seed, self.steps))
        cumulative = self.chances()[rng.integers(self.policies, size=BLOCK)].cumsum(-1)
        drawn = (rng.random((BLOCK, len(self.mask), 1)) > cumulative / cumulative[..., -1:]).sum(-1)
        return drawn[len(rows) - self.steps * BLOCK :]

    def chances(self) -> Array:
        """Return the probabilities (P, S, K) of the policies in use."""
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
    """A linear model of the cost by ridge regression: what each candidate adds.

    Attributes:
        matrix: (S, K) what each candidate adds.
        offset: Constant term.
        share: R squared of leave-one-out predictions, clipped to [0, 1].
    """

    matrix: Array
    offset: float
    share: float

    @classmethod
    def fit(cls, rows: Rows, cost: Array, mask: NDArray[np.bool_], penalty: float = 1.0) -> "LinearControl":
        """Fit to trials; with fewer than two, or equal costs, the control is the mean with a share of 0.

        Args:
            rows: (N, S) trials.
            cost: (N,) a cost each.
            mask: (S, K) which candidates exist.
            penalty: Of the ridge regression.
        """
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
        """Return the mean of the control under a policy.

        Args:
            chance: (S, K) probabilities.

        Returns:
            A cost.
        """
        return self.offset + float((chance * self.matrix).sum())


def score_gradient(chance: Array, rows: Rows, cost: Array, control: LinearControl, ratio: Array | float = 1.0) -> Array:
    """Estimate d E[cost] / d logits of a policy, without bias, from independent draws.

    It is the mean of ratio x (cost - share x control) grad log p, plus share x the gradient of the control's
    expectation. The constant of the control is a baseline, to which these draws have not contributed.

    Args:
        chance: (S, K) probabilities of the policy.
        rows: (N, S) draws.
        cost: (N,) a cost each.
        control: Fitted to other trials.
        ratio: (N,) probability of each row under the policy over that under the distribution of the draw.

    Returns:
        (S, K) gradient.
    """
    score = (rows[:, :, None] == np.arange(chance.shape[1])) - chance  # (N, S, K) of log p
    baseline = control.share * control(rows) + (1 - control.share) * control.expected(chance)
    exact = chance * (control.matrix - (chance * control.matrix).sum(-1, keepdims=True))
    return ((ratio * (cost - baseline))[:, None, None] * score).mean(0) + control.share * exact
