"""Rank agreement against scipy's, intervals that cover, and tests and means against enumerations."""

import itertools

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr, ttest_1samp

from labkit.stats import agreement, expected_best, mean_interval, paired, sign_flips, spearman
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


def test_a_paired_comparison_is_scipys():
    values = np.random.default_rng(0).normal(0.3, 1, 7)
    found, theirs = paired(values), ttest_1samp(values, 0)
    low, high = theirs.confidence_interval()
    assert (found.mean, found.low, found.high, found.p) == pytest.approx((values.mean(), low, high, theirs.pvalue))
    assert found.n == 7 and found.shown == (theirs.pvalue < 0.05)


def test_three_pairs_can_show_a_difference_and_few_signs_cannot():
    values = np.array([0.02, 0.021, 0.019])
    assert paired(values).shown and paired(-values).mean < 0
    assert sign_flips(values) == pytest.approx(0.25)


def test_a_paired_comparison_is_wrong_as_often_as_it_says():
    rng = np.random.default_rng(2)
    wrong = sum(paired(rng.normal(size=3)).shown for _ in range(2_000)) / 2_000
    assert 0.035 <= wrong <= 0.065
    assert sum(paired(rng.normal(3, 1, size=5)).shown for _ in range(200)) > 190, "it can see"


def test_equal_differences_below_what_can_be_seen_are_no_proof():
    assert paired([0.01, 0.01, 0.01]).p == 0
    assert paired([0.01, 0.01, 0.01], resolution=0.01).p > 0.05
    assert paired([0.1, 0.1, 0.1], resolution=0.01).shown
    assert paired([0.0, 0.0]).p == 1


@pytest.mark.parametrize("values", [[0.1], [], [0.1, float("nan")]])
def test_too_little_is_not_compared(values):
    with pytest.raises(InputError, match="at least two finite differences"):
        paired(values)
