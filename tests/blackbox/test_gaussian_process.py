"""The surrogate of black boxes, against scikit-learn, enumeration and functions that it should learn."""

import itertools

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Kernel, StationaryKernelMixin

from labkit.blackbox.gaussian_process import GaussianProcess, differences
from labkit.system.errors import InputError

EVERY = np.array(list(itertools.product(range(3), repeat=4)))  # (81, 4)


class Agreement(StationaryKernelMixin, Kernel):
    """rho ** differences, slot by slot, for scikit-learn."""

    def __init__(self, rho=0.8):
        self.rho = rho

    def __call__(self, X, Y=None, eval_gradient=False):
        Y = X if Y is None else Y
        return np.prod([np.where(X[:, None, s] == Y[None, :, s], 1.0, self.rho) for s in range(X.shape[1])], axis=0)

    def diag(self, X):
        return np.ones(len(X))


@pytest.fixture
def some():
    rng = np.random.default_rng(0)
    rows = EVERY[rng.permutation(81)[:25]]
    return rows, rng.normal(size=25) + rows[:, 0] - 2.0 * rows[:, 1] * rows[:, 2]


def test_the_posterior_is_scikit_learns(some):
    rows, values = some
    gp = GaussianProcess.given(rows, values, 0.8, 0.1)
    y = (values - values.mean()) / values.std()
    other = GaussianProcessRegressor(Agreement(0.8), alpha=0.1, optimizer=None).fit(rows, y)
    mean, spread = other.predict(EVERY, return_std=True)
    ours, ours_spread = gp.predict(EVERY)
    np.testing.assert_allclose(ours, values.mean() + values.std() * mean, atol=1e-9)
    np.testing.assert_allclose(ours_spread, values.std() * spread * gp.amplitude**0.5, atol=1e-9)


def test_the_fit_has_the_largest_likelihood_of_the_grid(some):
    rows, values = some
    y = (values - values.mean()) / values.std()

    def likelihood(rho, noise, amplitude):
        covariance = amplitude * (rho ** differences(rows, rows) + noise * np.eye(len(y)))
        return -0.5 * (y @ np.linalg.solve(covariance, y) + np.linalg.slogdet(covariance)[1])

    gp = GaussianProcess.fit(rows, values)
    found = likelihood(gp.rho, gp.noise, gp.amplitude)
    for rho, noise, factor in itertools.product((0.3, 0.65, 0.89, 0.98), (1e-3, 3e-2, 0.3), (0.5, 1.0, 2.0)):
        amplitude = factor * GaussianProcess.given(rows, values, rho, noise).amplitude
        assert likelihood(rho, noise, amplitude) <= found + 1e-9


def test_the_expectation_under_a_policy_is_that_of_all_architectures(some):
    rows, values = some
    gp = GaussianProcess.fit(rows, values)
    policies = np.random.default_rng(1).dirichlet(np.ones(3), size=(5, 4))  # (P, S, K)
    probability = np.stack([policies[:, s, EVERY[:, s]] for s in range(4)]).prod(0)  # (P, 81)
    np.testing.assert_allclose(gp.expected(policies), probability @ gp.predict(EVERY)[0], rtol=1e-9)


def test_a_sum_of_parts_is_learnt_from_few_and_noise_is_called_noise():
    rng = np.random.default_rng(0)
    parts = rng.normal(size=(8, 4))
    rows = rng.integers(0, 4, (400, 8))
    values = parts[np.arange(8), rows].sum(1)
    gp = GaussianProcess.fit(rows[:100], values[:100])
    error = gp.predict(rows[100:])[0] - values[100:]
    assert error.std() < 0.15 * values.std() and gp.noise < 0.1 and gp.rho > 0.9
    assert GaussianProcess.fit(rows[:100], rng.normal(size=100)).noise >= 0.1 or gp.rho < 0.5


def test_intervals_hold_what_they_promise():
    """Values drawn from the prior: nineteen in twenty lie within 1.96 standard deviations."""
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(20):
        drawn = np.linalg.cholesky(0.75 ** differences(EVERY, EVERY) + 1e-9 * np.eye(81)) @ rng.normal(size=81)
        order = rng.permutation(81)
        gp = GaussianProcess.fit(EVERY[order[:40]], drawn[order[:40]])
        mean, spread = gp.predict(EVERY[order[40:]])
        inside.append(np.abs(mean - drawn[order[40:]]) < 1.96 * spread)
    assert 0.90 < np.mean(inside) < 0.99


@pytest.mark.parametrize("values", [[1.0], [1.0, np.nan], [1.0, 2.0, 3.0]])
def test_too_few_or_broken_values_are_refused(values):
    with pytest.raises(InputError, match="at least two rows and a finite value for each"):
        GaussianProcess.fit(EVERY[:2], np.array(values))


def test_equal_values_are_no_division_by_zero():
    mean, spread = GaussianProcess.fit(EVERY[:5], np.full(5, 3.0)).predict(EVERY)
    np.testing.assert_allclose(mean, 3.0)
    assert np.isfinite(spread).all()
