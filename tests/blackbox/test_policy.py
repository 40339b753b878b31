"""Policies that follow the score function, against exact expectations over a space that is enumerated."""

import itertools

import numpy as np
import pytest

import labkit as lk
from labkit.blackbox import proposer as proposals
from labkit.blackbox.policy import LinearControl, Policy, score_gradient
from labkit.blackbox.proposer import BLOCK, Goal

MASK = np.array([[True] * 3, [True, True, False], [True] * 3, [True] * 3])
EVERY = np.array([row for row in itertools.product(range(3), repeat=4) if row[1] < 2])  # (54, 4)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_the_policy_gradient_is_unbiased_with_a_frozen_control_whatever_its_share(rng):
    """One draw of every architecture, weighted by its probability, is the exact expectation: no statistics."""
    space = lk.Choices("masked", tuple(tuple(f"c{k}" for k in range(width)) for width in MASK.sum(1)))
    policy = Policy(space, Goal(), 0)
    policy.logits[:] = rng.normal(size=(proposals.POLICIES, *MASK.shape))
    chance = policy.chances()[0]
    probability = chance[np.arange(4), EVERY].prod(1)
    cost = rng.normal(size=54)
    score = (EVERY[:, :, None] == np.arange(3)) - chance
    exact = ((probability * cost)[:, None, None] * score).sum(0)
    fitted = LinearControl.fit(EVERY[:20], cost[:20], MASK)
    for control in (
        fitted,
        LinearControl(rng.normal(size=MASK.shape), 3.0, 0.7),
        LinearControl(fitted.matrix, 0.0, 1.0),
    ):
        mean = sum(p * score_gradient(chance, EVERY[[i]], cost[[i]], control) for i, p in enumerate(probability))
        np.testing.assert_allclose(mean, exact, atol=1e-12)
    cheat = LinearControl(cost.std() * score[0], 0.0, 1.0)  # a control that knows the draw is no control
    wrong = sum(
        p * score_gradient(chance, EVERY[[i]], cost[[i]], LinearControl(score[i], 0.0, 1.0))
        for i, p in enumerate(probability)
    )
    assert cheat.share == 1.0 and np.abs(wrong - exact).max() > 0.01


def test_draws_of_the_mixture_serve_every_policy_without_bias(rng):
    space = lk.Choices("masked", tuple(tuple(f"c{k}" for k in range(width)) for width in MASK.sum(1)))
    policy = Policy(space, Goal(), 0)
    policy.logits[:] = rng.normal(size=(proposals.POLICIES, *MASK.shape))
    chances, cost = policy.chances(), rng.normal(size=54)
    likelihood = chances[:, np.arange(4), EVERY].prod(-1)  # (P, 54)
    mixture = likelihood.mean(0)
    control = LinearControl(rng.normal(size=MASK.shape), 3.0, 0.7)
    for chance, likely in zip(chances, likelihood):
        exact = ((likely * cost)[:, None, None] * ((EVERY[:, :, None] == np.arange(3)) - chance)).sum(0)
        ratio = likely / mixture
        assert ratio.max() <= proposals.POLICIES
        draws = [score_gradient(chance, EVERY[[i]], cost[[i]], control, ratio[[i]]) for i in range(54)]
        np.testing.assert_allclose(np.tensordot(mixture, draws, 1), exact, atol=1e-12)


def test_a_control_is_trusted_by_what_it_explains_unseen(rng):
    additive = rng.normal(size=MASK.shape)[np.arange(4), EVERY].sum(1)
    assert LinearControl.fit(EVERY[::2], additive[::2], MASK).share > 0.9
    assert LinearControl.fit(EVERY[::2], rng.normal(size=27), MASK).share < 0.2
    assert LinearControl.fit(EVERY[:1], additive[:1], MASK).share == 0
    fitted = LinearControl.fit(EVERY, additive, MASK, penalty=1e-9)
    np.testing.assert_allclose(fitted(EVERY), additive, atol=1e-6)
    chance = MASK / MASK.sum(1, keepdims=True)
    assert fitted.expected(chance) == pytest.approx(additive.mean())


def test_policies_move_to_what_costs_less_and_stay_on_candidates_that_exist(rng):
    """A cost of one slot alone: after some blocks that slot is decided, and the others are not."""
    space = lk.Choices("masked", tuple(tuple(f"c{k}" for k in range(width)) for width in MASK.sum(1)))
    policy, rows = Policy(space, Goal(), 0), np.empty((0, 4), dtype=np.int64)
    cost = lambda drawn: (drawn[:, [2]] != 1).astype(float)
    for _ in range(30):
        rows = np.concatenate([rows, policy.propose(rows, cost(rows))])
    policy.propose(rows, cost(rows))
    (chance,) = policy.chances()
    assert policy.steps == 30 and len(rows) == 30 * BLOCK, "of one objective there is one policy"
    assert chance[2].argmax() == 1 and chance[2, 1] > 0.7 and (chance[~MASK] == 0).all()
    assert chance[0].max() < chance[2, 1] and np.allclose(chance.sum(-1), 1)


def test_two_objectives_have_a_policy_a_compromise_and_a_deadline_one():
    space = lk.Choices("masked", tuple(tuple(f"c{k}" for k in range(width)) for width in MASK.sum(1)))
    rows = EVERY[:BLOCK]
    costs = np.stack([np.linspace(0, 1, BLOCK), np.linspace(1, 0, BLOCK)], 1)
    both, limited = Policy(space, Goal((1.0, 1.0)), 0), Policy(space, Goal((1.0, 1.0), deadline=0.5), 0)
    for policy in (both, limited):
        assert policy.propose(rows, costs).shape == (BLOCK, 4)
    assert both.policies == proposals.POLICIES and limited.policies == 1
