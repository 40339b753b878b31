"""Statistics of rankings and of results over seeds: rank correlations, intervals, a permutation test.

In shapes, N is a number of networks or of seeds, R a number of rankings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from labkit.system.errors import InputError


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau-b of two rankings, with a 95 % bootstrap interval over the networks.

    Attributes:
        tau: 1 for the same order, 0 for unrelated ones, -1 for reversed ones; ties count as neither.
        low: lower end of the interval.
        high: upper end of the interval.
        n: number of networks.
    """

    tau: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.tau:.2f} ({self.low:.2f} to {self.high:.2f})"


def spearman(rows: Sequence[Sequence[float]]) -> np.ndarray:
    """Compute Spearman's rank correlation of every two rankings. Ties get their mean rank.

    Args:
        rows: (R, N) one number for each network.

    Returns:
        (R, R) correlations; NaN for a row whose numbers are all equal.
    """
    from scipy.stats import rankdata  # imported here so that `import labkit` stays light

    return np.corrcoef(rankdata(np.asarray(rows, dtype=float), axis=1))


def agreement(first: Sequence[float], second: Sequence[float], *, resamples: int = 400, seed: int = 0) -> Agreement:
    """Compute Kendall's tau-b of two rankings with a 95 % bootstrap interval.

    The bootstrap resamples networks with replacement and leaves out pairs of a network with itself.

    Args:
        first: (N,) one number for each network.
        second: (N,) likewise.
        resamples: number of bootstrap resamples.
        seed: of the resamples.

    Returns:
        The correlation with its interval.

    Raises:
        InputError: the lengths differ, there are fewer than 3 networks, or a number is not finite.
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 3:
        raise InputError(f"rank agreement needs two equal lists of at least 3 numbers; got {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("rank agreement needs finite numbers: leave failed evaluations out")
    order_a, order_b = np.sign(a[:, None] - a), np.sign(b[:, None] - b)

    def tau(counts: np.ndarray) -> float:  # counts[i]: number of times that the sample has network i
        pairs = lambda signs: float(counts @ signs @ counts)
        both = np.sqrt(pairs(order_a**2) * pairs(order_b**2))
        return pairs(order_a * order_b) / both if both else 0.0

    n, rng = len(a), np.random.default_rng(seed)
    drawn = [tau(rng.multinomial(n, np.full(n, 1 / n)).astype(float)) for _ in range(resamples)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Agreement(tau(np.ones(n)), float(low), float(high), n)


def sign_flips(differences: np.ndarray) -> float:
    """Compute the p-value of a paired, two-sided permutation test of the mean, by random signs.

    Args:
        differences: (N,) one difference for each pair.

    Returns:
        The p-value; 1.0 where all differences are 0.
    """
    from scipy.stats import permutation_test

    if not differences.any():
        return 1.0
    mean = lambda x, axis: x.mean(axis)
    return float(permutation_test((differences,), mean, permutation_type="samples", n_resamples=9_999, rng=0).pvalue)


@dataclass(frozen=True)
class Paired:
    """The mean of paired differences.

    Attributes:
        mean: of the differences.
        low: lower end of its 95 % interval.
        high: upper end.
        p: two-sided, of a mean of zero.
        n: pairs.
    """

    mean: float
    low: float
    high: float
    p: float
    n: int

    @property
    def shown(self) -> bool:
        """Whether p is below .05: the interval does not hold zero."""
        return self.p < 0.05


def paired(differences: Sequence[float], resolution: float = 0.0) -> Paired:
    """The paired t-test: for few pairs whose differences are about normal, such as errors of repeated trainings.

    Signs that are flipped at random, as in `sign_flips`, cannot have a p below .05 with fewer than six pairs.

    Args:
        differences: at least two, one a pair.
        resolution: the smallest difference that can be seen, such as one image of those tested. A standard deviation
            below it is taken for it, so a few equal differences are no proof.

    Raises:
        InputError: there are fewer than two, or one is not finite.
    """
    from scipy.stats import t  # here, so that `import labkit` stays light

    values = np.asarray(differences, dtype=float)
    n = len(values)
    if n < 2 or not np.isfinite(values).all():
        raise InputError(f"a paired comparison needs at least two finite differences; got {values.tolist()}")
    mean, error = float(values.mean()), max(float(values.std(ddof=1)), resolution) / n**0.5
    if error == 0:
        return Paired(mean, mean, mean, 1.0 if mean == 0 else 0.0, n)
    reach = float(t.ppf(0.975, n - 1)) * error
    return Paired(mean, mean - reach, mean + reach, float(2 * t.sf(abs(mean) / error, n - 1)), n)


def mean_interval(values: np.ndarray, resamples: int = 2_000) -> tuple[float, float]:
    """Compute the 95 % bootstrap interval of a mean over seeds.

    Args:
        values: (N,) one value for each seed.
        resamples: number of bootstrap resamples.

    Returns:
        The lower and the upper end.

    Raises:
        InputError: there are fewer than 2 values.
    """
    from scipy.stats import bootstrap

    if len(values) < 2:
        raise InputError(f"an interval over seeds needs at least 2 of them; got {len(values)}: add seeds")
    found = bootstrap((values,), np.mean, n_resamples=resamples, method="percentile", rng=0).confidence_interval
    return float(found.low), float(found.high)


def expected_best(costs: np.ndarray, n: int) -> float:
    """Compute the expected minimum of `n` costs drawn without replacement: the result of uniform random search.

    The k-th best of N is the minimum in C(N - k, n - 1) of C(N, n) draws.

    Args:
        costs: (N,) costs of all candidates.
        n: number of draws, at most N.

    Returns:
        The expected minimum, in the unit of the costs.
    """
    total = comb(len(costs), n)
    wins = [comb(len(costs) - k, n - 1) / total for k in range(1, len(costs) + 1)]
    return float(np.sort(costs) @ wins)
