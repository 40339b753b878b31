"""The model of a black-box search: its gain, its policies and its scale, against enumeration or many draws."""

import itertools

import numpy as np
import pytest

import labkit as lk
from labkit.blackbox import model
from labkit.blackbox.gaussian_process import GaussianProcess
from labkit.blackbox.model import anneal, last_fit
from labkit.blackbox.proposer import BLOCK, Goal
from labkit.pareto import frontier_rows

MASK = np.array([[True] * 3, [True, True, False], [True] * 3, [True] * 3])
EVERY = np.array([row for row in itertools.product(range(3), repeat=4) if row[1] < 2])  # (54, 4)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


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


def test_fits_are_a_fifth_more_trials_apart_and_a_block_at_least():
    """Every number of trials belongs to the fit before it, and each fit is that many trials after the last."""
    fits = sorted({last_fit(10, now) for now in range(10, 400)})
    assert fits[:4] == [10, 15, 20, 25]
    assert all(later - first == max(BLOCK, first // 5) for first, later in itertools.pairwise(fits))
    assert all(last_fit(10, now) == max(fit for fit in fits if fit <= now) for now in range(10, 400))


def test_trials_take_turns_between_gain_promise_and_mutation(rng, monkeypatch):
    asked = []
    for name in ("gain", "promise"):
        real = getattr(model._Fitted, name)
        monkeypatch.setattr(model._Fitted, name, lambda *a, name=name, real=real: asked.append(name) or real(*a))
    rows = EVERY[rng.permutation(len(EVERY))[:25]]
    costs = np.stack([rows.sum(1) + rng.normal(size=25), rows[:, 0] + 1.0], 1)
    space = lk.Choices("small", tuple(tuple("abc"[:w]) for w in MASK.sum(1)))
    proposer = model.Model(space, Goal((20.0, 20.0)), seed=3)
    for n in range(10, 20):
        before = len(asked)
        proposer.propose(rows[:n], costs[:n])
        turn = (n - min(model.INITIAL, space.size)) % model.BLOCK
        expected = [] if turn == model.BLOCK - 1 else [("gain", "promise")[turn % 2]]
        assert asked[before:] == expected, n
