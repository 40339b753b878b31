"""Do two judges put the same networks in the same order? Kendall's tau with its uncertainty, and Spearman's rho."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from labkit.system.errors import InputError


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau-b of two orders: 1 the same, 0 unrelated, -1 reversed. A tie is neither."""

    tau: float
    low: float  # of the 95 % bootstrap interval over the networks
    high: float
    n: int  # networks ranked

    def __str__(self) -> str:
        return f"{self.tau:.2f} ({self.low:.2f} to {self.high:.2f})"


def spearman(rows: Sequence[Sequence[float]]) -> np.ndarray:
    """(R, R) Spearman's rank correlation of each two of R rows, a number a network each; ties share their mean rank."""
    from scipy.stats import rankdata  # here, so that `import labkit` stays light

    return np.corrcoef(rankdata(np.asarray(rows, dtype=float), axis=1))


def agreement(first: Sequence[float], second: Sequence[float], *, resamples: int = 400, seed: int = 0) -> Agreement:
    """Kendall's tau-b of `first` and `second`, one number a network each, with a 95 % bootstrap interval.

    The networks are resampled with replacement; a pair of a network with itself says nothing and is left out.
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 3:
        raise InputError(f"rank agreement needs two equal lists of at least 3 numbers; got {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("rank agreement needs finite numbers: leave failed evaluations out")
    order_a, order_b = np.sign(a[:, None] - a), np.sign(b[:, None] - b)

    def tau(counts: np.ndarray) -> float:  # counts[i]: how often network i is in the sample
        pairs = lambda signs: float(counts @ signs @ counts)
        both = np.sqrt(pairs(order_a**2) * pairs(order_b**2))
        return pairs(order_a * order_b) / both if both else 0.0

    n, rng = len(a), np.random.default_rng(seed)
    drawn = [tau(rng.multinomial(n, np.full(n, 1 / n)).astype(float)) for _ in range(resamples)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Agreement(tau(np.ones(n)), float(low), float(high), n)


def sign_flips(differences: np.ndarray) -> float:
    """Two-sided p-value of a paired permutation test: how often random signs make a mean as far from zero."""
    from scipy.stats import permutation_test

    if not differences.any():
        return 1.0
    mean = lambda x, axis: x.mean(axis)
    return float(permutation_test((differences,), mean, permutation_type="samples", n_resamples=9_999, rng=0).pvalue)


def band(values: np.ndarray, resamples: int = 2_000) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of `values` (N,) over seeds; InputError below two of them."""
    from scipy.stats import bootstrap

    if len(values) < 2:
        raise InputError(f"an interval over seeds needs at least 2 of them; got {len(values)}: add seeds")
    found = bootstrap((values,), np.mean, n_resamples=resamples, method="percentile", rng=0).confidence_interval
    return float(found.low), float(found.high)


def expected_best(costs: np.ndarray, n: int) -> float:
    """Mean of the least of `n` of the `costs` (A,), drawn without repeats: what luck alone finds if it is told which.

    The k-th best of A wins when it is drawn and no better one is: in C(A-k, n-1) of C(A, n) draws.
    """
    total = comb(len(costs), n)
    wins = [comb(len(costs) - k, n - 1) / total for k in range(1, len(costs) + 1)]
    return float(np.sort(costs) @ wins)
