"""Rank agreement against scipy's, intervals that cover, and tests and means against enumerations."""

import itertools

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from labkit.stats import agreement, expected_best, mean_interval, sign_flips, spearman
from labkit.system.errors import InputError


@pytest.mark.parametrize("ties", [False, True])
def test_tau_is_scipys(ties):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=60), rng.normal(size=60)
    b = a + b
    if ties:
        a, b = a.round(0), b.round(0)
    assert agreement(a, b).tau == pytest.approx(kendalltau(a, b).statistic, abs=1e-12)


def test_rho_is_scipys_with_ties():
    rows = np.random.default_rng(0).integers(0, 4, (3, 40))
    assert spearman(rows) == pytest.approx(spearmanr(rows, axis=1).statistic)


def test_the_ends():
    a = np.arange(20.0)
    assert agreement(a, 3 * a + 1).tau == 1 and agreement(a, -a).tau == -1
    assert agreement(a, np.zeros(20)).tau == 0, "a judge who ties all says nothing"


def test_the_interval_covers_what_other_networks_would_give():
    """Normal pairs with correlation r have tau = 2/pi arcsin(r) (Kendall): 95 % of the intervals should hold it."""
    r, n, rng = 0.7, 60, np.random.default_rng(1)
    true, hit = 2 / np.pi * np.arcsin(r), 0
    for trial in range(200):
        a = rng.normal(size=n)
        b = r * a + (1 - r * r) ** 0.5 * rng.normal(size=n)
        found = agreement(a, b, resamples=200, seed=trial)
        hit += found.low <= true <= found.high
    assert 0.88 <= hit / 200 <= 0.99


@pytest.mark.parametrize(("a", "b"), [([1, 2], [1, 2]), ([1, 2, 3], [1, 2]), ([1, 2, float("nan")], [1, 2, 3])])
def test_wrong_use_is_refused(a, b):
    with pytest.raises(InputError):
        agreement(a, b)


def test_sign_flips_against_all_flips_by_hand():
    differences = np.array([0.4, 0.1, 0.3, -0.05, 0.2, 0.25])
    means = [np.mean(differences * np.array(signs)) for signs in itertools.product((1, -1), repeat=6)]
    by_hand = np.mean(np.abs(means) >= abs(differences.mean()) - 1e-12)
    assert sign_flips(differences) == pytest.approx(by_hand)
    assert sign_flips(np.zeros(4)) == 1.0
    assert sign_flips(np.ones(6)) == pytest.approx(2 / 64)


def test_the_expected_best_against_all_draws_by_hand():
    costs = np.array([0.3, 0.1, 0.25, 0.7, 0.4, 0.4])
    for n in (1, 2, 4, 6):
        by_hand = np.mean([min(draw) for draw in itertools.combinations(costs, n)])
        assert expected_best(costs, n) == pytest.approx(by_hand)


def test_the_interval_of_a_mean_covers_and_narrows():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        low, high = mean_interval(rng.normal(1.0, 1.0, 20), resamples=400)
        covered += low <= 1.0 <= high
    assert 0.86 <= covered / 200 <= 0.99
    assert np.ptp(mean_interval(rng.normal(size=200))) < np.ptp(mean_interval(rng.normal(size=10)))
