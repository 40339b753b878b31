"""What the black-box search is made of, each part against enumeration or a great many draws."""

import itertools

import numpy as np
import pytest

import labkit as lk
from labkit.blackbox import model
from labkit.blackbox import proposer as proposals
from labkit.blackbox.gaussian_process import GaussianProcess
from labkit.blackbox.model import anneal
from labkit.blackbox.policy import LinearControl, Policy, score_gradient
from labkit.blackbox.proposer import Goal, balanced, mutations
from labkit.pareto import frontier_rows

MASK = np.array([[True] * 3, [True, True, False], [True] * 3, [True] * 3])
EVERY = np.array([row for row in itertools.product(range(3), repeat=4) if row[1] < 2])  # (54, 4)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_the_front_is_what_no_row_beats(rng):
    costs = rng.integers(0, 12, (60, 2)).astype(float)  # many ties
    beaten = lambda a: any((b <= a).all() and (b < a).any() for b in costs)
    best = {tuple(a) for a in costs if not beaten(a)}
    found = costs[frontier_rows(costs)]
    assert {tuple(a) for a in found} == best and len(found) == len(best)
    assert (np.diff(found[:, 0]) > 0).all()


def area(points, box):
    inside = points[(points < box).all(1)]
    if not len(inside):
        return 0.0
    inside = inside[frontier_rows(inside)]
    return ((np.append(inside[1:, 0], box[0]) - inside[:, 0]) * (box[1] - inside[:, 1])).sum()


def test_the_expected_gain_in_hypervolume_is_that_of_many_draws(rng):
    costs, box = rng.uniform(0, 1.3, (12, 2)), np.array([1.0, 1.1])
    edge = costs[frontier_rows(costs)]
    for mean, spread in (((0.3, 0.3), (0.1, 0.2)), ((0.9, 0.05), (0.3, 0.05)), ((1.2, 1.2), (0.2, 0.2))):
        draws = rng.normal(mean, spread, (4_000, 2))
        gains = [area(np.vstack([edge, draw]), box) - area(edge, box) for draw in draws]
        exact = model.expected_hypervolume_gain(
            *((np.array([m]), np.array([s])) for m, s in zip(mean, spread)), edge, box
        )
        assert exact[0] == pytest.approx(np.mean(gains), abs=4 * np.std(gains) / len(gains) ** 0.5 + 1e-6)


def test_first_designs_are_balanced_and_different(rng):
    for n in (4, 10, 54):
        rows = balanced(MASK, n, rng)
        assert len(np.unique(rows, axis=0)) == n and (rows < MASK.sum(1)).all()
    rows = balanced(MASK, 10, rng)
    for s, width in enumerate(MASK.sum(1)):
        counts = np.bincount(rows[:, s], minlength=width)
        assert counts.max() - counts.min() <= 1


def test_mutations_change_one_slot_or_two(rng):
    parent = EVERY[[17]]
    changed = (mutations(parent, MASK, 200, rng) != parent).sum(1)
    assert set(changed[::2]) == {1} and set(changed[1::2]) == {2}
    assert (mutations(parent, MASK, 200, rng) < MASK.sum(1)).all()


def test_annealed_policies_lower_the_exact_expectation_to_near_the_least(rng):
    rows = EVERY[rng.permutation(54)[:30]]
    models = [GaussianProcess.fit(rows, rng.normal(size=30)) for _ in range(2)]
    weights = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    policies = anneal(models, weights, MASK, rng)
    assert np.allclose(policies.sum(-1), 1) and (policies[:, ~MASK] == 0).all()
    means = np.stack([m.predict(EVERY)[0] for m in models], 1) @ weights.T  # (54, P)
    expected = np.stack([m.expected(policies) for m in models], 1)  # (P, J)
    for p, weight in enumerate(weights):
        least, usual = means[:, p].min(), means[:, p].mean()
        assert expected[p] @ weight < least + 0.25 * (usual - least)


def test_within_a_deadline_errors_are_told_apart_where_they_are_small(rng):
    costs = np.stack([0.05 + rng.exponential(0.2, 40), rng.uniform(1, 2, 40)], 1)
    goal = Goal(worst=(0.9, 2.0), deadline=1.5)
    bent, scaled = model.in_logarithms(goal, costs, 30)
    assert bent.deadline == goal.deadline and (scaled[:, 1] == costs[:, 1]).all() and bent.worst[1] == 2.0
    known = costs[:30, 0]
    small = 0.1 * (np.median(known) - known.min())
    order = np.argsort(costs[:, 0])
    apart = costs[order, 0] > known.min() - small / 2  # what is better still counts as one until the next fit
    assert (np.diff(scaled[order[apart], 0]) > 0).all()
    assert scaled[costs[:, 0] < 0.9, 0].max() < bent.worst[0], "what the box takes, it takes still"

    best, second, worst = np.sort(scaled[:30, 0])[[0, 1, -1]]
    plain_best, plain_second, plain_worst = np.sort(known)[[0, 1, -1]]
    assert (second - best) / (worst - best) > 3 * (plain_second - plain_best) / (plain_worst - plain_best)


def test_what_is_proposed_within_a_deadline_minds_no_unit_of_the_error(rng, monkeypatch):
    parts, together = rng.uniform(0, 1, (4, 3)), rng.normal(size=(3, 3, 3, 3))
    error = lambda row: 0.1 + 0.1 * float(parts[np.arange(4), row].sum() + 0.3 * together[tuple(row)])
    ms = lambda row: 1.0 + float(row.sum())
    rows = EVERY[rng.permutation(len(EVERY))[:25]]
    space = lk.Choices("small", tuple(tuple("abc"[:w]) for w in MASK.sum(1)))
    asked = []
    for scale, shift, worst in ((1.0, 0.0, (0.9, 20.0)), (1024.0, 2.0, (923.6, 20.0)), (1.0, 0.0, (None, None))):
        costs = np.array([[shift + scale * error(row), ms(row)] for row in rows])
        proposer = model.Model(space, Goal(worst, deadline=5.0), seed=3)
        asked.append([proposer.propose(rows[:n], costs[:n]).tolist() for n in range(10, 26)])
    assert asked[0] == asked[1]
    assert all(tuple(row) not in set(map(tuple, rows[:n])) for n, (row,) in zip(range(10, 26), asked[2]))
    monkeypatch.setattr(model, "in_logarithms", lambda goal, costs, start: (goal, costs))
    plain = model.Model(space, Goal((None, None), deadline=5.0), seed=3)
    assert [plain.propose(rows[:n], costs[:n]).tolist() for n in range(10, 26)] != asked[2], "the scale is in use"


def test_errors_that_are_all_alike_stop_no_search_within_a_deadline():
    rows = EVERY[:12]
    costs = np.stack([np.full(12, 0.5), np.arange(12.0)], 1)
    space = lk.Choices("small", tuple(tuple("abc"[:w]) for w in MASK.sum(1)))
    (row,) = model.Model(space, Goal((0.9, 20.0), deadline=5.0), seed=0).propose(rows, costs)
    assert tuple(row) not in set(map(tuple, rows))


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
