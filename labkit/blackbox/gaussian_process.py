"""A Gaussian process over factorised choices: what a few evaluations say about all the others, with an interval.

In shapes: N evaluated architectures, M others, S slots, K candidates, P policies.
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

    Interactions of every order are in it, the higher the smaller; and its mean under a factorised policy is a product
    over the slots too, so an expectation over all architectures takes no samples (`expected`).
    """

    rows: Rows  # (N, S)
    rho: float
    noise: float
    centre: float  # taken off the values, which are then divided by the scale
    scale: float
    alpha: Array  # (N,) of the posterior mean
    inverse: Array  # (N, N) of kernel plus noise
    amplitude: float  # variance of the function before anything was seen, by marginal likelihood

    @classmethod
    def fit(cls, rows: Rows, values: Array) -> "GaussianProcess":
        """rho and noise by marginal likelihood over a grid, the amplitude in closed form."""
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
        """With the correlation and the noise of an earlier fit."""
        y, centre, scale = _standard(values)
        kernel = rho ** differences(rows, rows) + noise * np.eye(len(y))
        inverse: Array = np.asarray(np.linalg.inv(kernel), dtype=np.float64)
        alpha: Array = inverse @ y
        return cls(rows, rho, noise, centre, scale, alpha, inverse, max(float(y @ alpha) / len(y), 1e-12))

    def predict(self, rows: Rows) -> tuple[Array, Array]:
        """Mean and standard deviation (M,) of the function at `rows` (M, S), without noise."""
        k = self.rho ** differences(rows, self.rows)
        left = self.amplitude * (1 - ((k @ self.inverse) * k).sum(1))
        return self.centre + self.scale * (k @ self.alpha), self.scale * np.sqrt(np.maximum(left, 1e-12))

    def expected(self, policies: Array) -> Array:
        """Mean (P,) of the posterior mean under factorised policies (P, S, K), exactly."""
        return self.centre + self.scale * (self.agreement(policies).prod(1) @ self.alpha)

    def agreement(self, policies: Array) -> Array:
        """(P, S, N): expected kernel of each slot with each of the rows, rho + (1 - rho) x its probability."""
        slots = np.arange(self.rows.shape[1])[:, None]
        return self.rho + (1 - self.rho) * policies[:, slots, self.rows.T]


def differences(a: Rows, b: Rows) -> Array:
    """(A, B) number of slots in which rows of `a` (A, S) and `b` (B, S) differ."""
    one_hot = np.eye(1 + max(a.max(), b.max()))
    flat = lambda rows: one_hot[rows].reshape(len(rows), -1)
    return a.shape[1] - flat(a) @ flat(b).T  # a product of matrices is what processors do best


def _standard(values: Array) -> tuple[Array, float, float]:
    centre, scale = float(values.mean()), float(values.std())
    scale = scale if scale > 1e-12 * max(1.0, abs(centre)) else 1.0
    return (values - centre) / scale, centre, scale
