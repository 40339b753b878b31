"""What all proposers share: the goal, one cost of several, and rows that are drawn or changed."""

import itertools

import numpy as np
import pytest

from labkit.blackbox.proposer import (
    INITIAL,
    Goal,
    balanced,
    fresh,
    mutations,
    neighbours,
    parents,
    scalar,
    uniform,
    unseen,
)
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


def test_the_reference_point_is_given_or_the_largest_of_the_first_trials(rng):
    costs = rng.uniform(0, 1, (INITIAL + 20, 2))
    costs[INITIAL + 5] = 9.0  # later ones do not move it
    assert Goal((0.4, 0.7)).reference(costs).tolist() == [0.4, 0.7]
    assert Goal((None, 0.7)).reference(costs).tolist() == [costs[:INITIAL, 0].max(), 0.7]
    assert Goal().reference(costs[:, :1]).tolist() == [costs[:INITIAL, 0].max()]


def test_one_cost_of_several_against_a_plain_loop(rng):
    costs, goal, weighting = rng.uniform(0, 2, (30, 2)), Goal((1.5, 1.8)), np.array([0.3, 0.7])
    least = costs.min(0)
    by_hand = [
        sum(w * min(c, r) / (r - low) for c, r, low, w in zip(row, goal.worst, least, weighting)) for row in costs
    ]
    assert scalar(costs, goal, weighting) == pytest.approx(np.array(by_hand))
    limited = scalar(costs, Goal((1.5, 1.8), deadline=1.0), weighting)
    late = costs[:, 1] > 1.0
    assert late.any() and np.ptp(limited[late]) == 0 and limited[late][0] >= limited[~late].max()
    assert (np.argsort(limited[~late]) == np.argsort(np.minimum(costs[~late, 0], 1.5))).all()


def test_parents_are_the_front_or_the_best_in_time(rng):
    rows, costs = EVERY[:20], rng.uniform(0, 1, (20, 2))
    assert {tuple(r) for r in parents(rows, costs, Goal(), 3)} == {tuple(rows[i]) for i in frontier_rows(costs)}
    in_time = np.flatnonzero(costs[:, 1] <= 0.6)
    best = in_time[np.argsort(costs[in_time, 0])[:3]]
    assert parents(rows, costs, Goal(deadline=0.6), 3).tolist() == rows[best].tolist()
    nearest = np.argsort(costs[:, 1])[:3]
    assert parents(rows, costs, Goal(deadline=-1.0), 3).tolist() == rows[nearest].tolist(), "none is in time"


def test_neighbours_differ_in_one_slot_and_are_all_of_them():
    row = EVERY[17]
    around = neighbours(row, MASK)
    by_hand = {tuple(other) for other in EVERY if (other != row).sum() == 1}
    assert {tuple(other) for other in around} == by_hand and len(around) == len(by_hand) == 2 + 1 + 2 + 2


def test_uniform_rows_hold_every_architecture_equally_often(rng):
    rows = uniform(MASK, 54 * 200, rng)
    _, counts = np.unique(rows, axis=0, return_counts=True)
    assert len(counts) == 54 and abs(counts - 200).max() < 5 * 200**0.5


def test_fresh_rows_were_not_seen_and_come_once_in_their_order():
    rows = EVERY[[4, 2, 4, 7, 2, 9]]
    assert fresh(rows, {EVERY[7].tobytes()}).tolist() == EVERY[[4, 2, 9]].tolist()
    assert fresh(rows, set(map(bytes, EVERY))).shape == (0, 4)


def test_the_last_unseen_row_is_found_and_then_there_is_none(rng):
    draws = []

    def draw(mask, n, rng):
        draws.append(n)
        return EVERY[:n]  # nothing new

    assert unseen(draw, EVERY[:-1], MASK, rng).tolist() == EVERY[[-1]].tolist() and len(draws) == 2
    assert unseen(draw, EVERY, MASK, rng).shape == (0, 4)
