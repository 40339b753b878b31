"""Gaussian process over factorised choices: the mean and the uncertainty of all architectures from few evaluations.

Shapes: N evaluated architectures, M others, S slots, K candidates, P policies.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labkit.system.errors import InputError

Array = NDArray[np.float64]
Rows = NDArray[np.int64]  # architectures as indices of candidates
RHOS = (0.3, 0.5, 0.65, 0.75, 0.83, 0.89, 0.93, 0.96, 0.98)  # correlation of two that differ in one slot
NOISES = (1e-6, 1e-3, 1e-2, 3e-2, 0.1, 0.3)  # variance of the noise over that of the function


@dataclass(frozen=True, eq=False)
class GaussianProcess:
    """Posterior under the kernel k(x, y) = product over slots of (1 where they agree, else rho) = rho ** differences.

    The kernel has interactions of every order, the higher the smaller. Its mean under a factorised policy is a product
    over the slots too, so an expectation over all architectures needs no samples (`expected`).

    Attributes:
        rows: (N, S) evaluated architectures as indices of candidates.
        rho: Correlation of two architectures that differ in one slot.
        noise: Variance of the noise over that of the function.
        centre, scale: Subtracted from the values, which are then divided by the scale.
        alpha: (N,) weights of the posterior mean.
        inverse: (N, N) inverse of kernel plus noise.
        amplitude: Prior variance of the function, by marginal likelihood.
    """

    rows: Rows
    rho: float
    noise: float
    centre: float
    scale: float
    alpha: Array
    inverse: Array
    amplitude: float

    @classmethod
    def fit(cls, rows: Rows, values: Array) -> "GaussianProcess":
        """Fit rho and the noise by marginal likelihood over a grid; the amplitude has a closed form.

        Args:
            rows: (N, S) at least two.
            values: (N,) finite.

        Raises:
            InputError: Fewer than two rows, or a value that is not finite.
        """
        if len(rows) != len(values) or len(values) < 2 or not np.isfinite(values).all():
            raise InputError(f"a surrogate needs at least two rows and a finite value for each; got {len(values)}")
        y, apart, best = _standard(values)[0], differences(rows, rows), (-np.inf, RHOS[0], NOISES[0])
        for rho in RHOS:
            eigenvalues, vectors = np.linalg.eigh(rho**apart)  # one decomposition serves every noise
            along = (vectors.T @ y) ** 2
            for noise in NOISES:
                variances = np.maximum(eigenvalues, 0.0) + noise
                amplitude = max((along / variances).mean(), 1e-12)
                likelihood = -0.5 * (len(y) * np.log(amplitude) + np.log(variances).sum())
                best = max(best, (likelihood, rho, noise))
        return cls.given(rows, values, best[1], best[2])

    @classmethod
    def given(cls, rows: Rows, values: Array, rho: float, noise: float) -> "GaussianProcess":
        """Condition on values with the correlation and the noise of an earlier fit.

        Args:
            rows: (N, S) evaluated architectures.
            values: (N,) their values.
            rho: Correlation of two architectures that differ in one slot.
            noise: Variance of the noise over that of the function.
        """
        y, centre, scale = _standard(values)
        kernel = rho ** differences(rows, rows) + noise * np.eye(len(y))
        inverse: Array = np.asarray(np.linalg.inv(kernel), dtype=np.float64)
        alpha: Array = inverse @ y
        return cls(rows, rho, noise, centre, scale, alpha, inverse, max(float(y @ alpha) / len(y), 1e-12))

    def predict(self, rows: Rows) -> tuple[Array, Array]:
        """Predict the function without noise.

        Args:
            rows: (M, S) architectures.

        Returns:
            Mean and standard deviation, (M,) each, in the unit of the values.
        """
        k = self.rho ** differences(rows, self.rows)
        left = self.amplitude * (1 - ((k @ self.inverse) * k).sum(1))
        return self.centre + self.scale * (k @ self.alpha), self.scale * np.sqrt(np.maximum(left, 1e-12))

    def expected(self, policies: Array) -> Array:
        """Return the exact mean of the posterior mean under factorised policies.

        Args:
            policies: (P, S, K) probabilities.

        Returns:
            (P,) means.
        """
        return self.centre + self.scale * (self.agreement(policies).prod(1) @ self.alpha)

    def agreement(self, policies: Array) -> Array:
        """Return the expected kernel of each slot with each evaluated row: rho + (1 - rho) x its probability.

        Args:
            policies: (P, S, K) probabilities.

        Returns:
            (P, S, N) factors; their product over the slots is the expected kernel.
        """
        slots = np.arange(self.rows.shape[1])[:, None]
        return self.rho + (1 - self.rho) * policies[:, slots, self.rows.T]


def differences(a: Rows, b: Rows) -> Array:
    """Count the slots in which rows differ.

    Args:
        a: (A, S) rows.
        b: (B, S) rows.

    Returns:
        (A, B) counts as floats.
    """
    one_hot = np.eye(1 + max(a.max(), b.max()))
    flat = lambda rows: one_hot[rows].reshape(len(rows), -1)
    return a.shape[1] - flat(a) @ flat(b).T  # a product of matrices is what processors do best


def _standard(values: Array) -> tuple[Array, float, float]:
    centre, scale = float(values.mean()), float(values.std())
    scale = scale if scale > 1e-12 * max(1.0, abs(centre)) else 1.0
    return (values - centre) / scale, centre, scale
